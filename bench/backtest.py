"""How fast recorded decisions are replayed against changed policies, on one core."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from bench.traffic import Traffic, sample_policies
from vault_service.adapters.cedar import CedarEngine
from vault_service.adapters.policy_files import PolicyBundle
from vault_service.adapters.policy_questions import RememberedDecisions
from vault_service.domain.events import canonical_bytes
from vault_service.services.backtest import Backtest, PolicyDirectory

_PEOPLE: Final = 10**6
_START: Final = datetime(2026, 1, 5, tzinfo=UTC)


def events_per_second(events: int) -> float:
    """Of a mixed log of so many events, how many are replayed a second, decoding included,
    against policies in which the chargeback service loses card numbers."""
    current = sample_policies()
    texts = dict(current.policies_text)
    texts["reveal.cedar"] = texts["reveal.cedar"].replace(
        '["disputes", "merchant"].contains(principal.getTag("duty"))',
        'principal.getTag("duty") == "merchant"',
    )
    engine = CedarEngine(replace(current, policies_text=texts))
    replay = Backtest(
        RememberedDecisions(engine).decide,
        current=_known(CedarEngine(current)),
        new=_known(engine),
    )
    log = _log(current, events)
    started = time.perf_counter()
    for body in log:
        replay.add(body)
    seconds = time.perf_counter() - started
    report = replay.report()
    if report.replayed != events or len(report.changes) != 1:
        raise RuntimeError("the backtest found something other than the change that was made")
    return events / seconds


def _known(engine: CedarEngine) -> PolicyDirectory:
    bundle = engine.bundle
    effects = {name: policy.body["effect"] for name, policy in engine.policies.items()}
    return PolicyDirectory(bundle.hash, bundle.catalog, bundle.principals, effects)


def _log(bundle: PolicyBundle, events: int) -> list[bytes]:
    traffic = Traffic(bundle, _PEOPLE, seed=1)
    return [
        canonical_bytes(traffic.event(number, _START + timedelta(milliseconds=400 * number)))
        for number in range(events)
    ]
