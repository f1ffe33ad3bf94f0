"""How fast recorded decisions are replayed against changed policies, on one core."""

import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from vault_service.adapters.cedar import CedarEngine
from vault_service.adapters.policy_files import PolicyBundle, load_bundle
from vault_service.adapters.policy_questions import RememberedDecisions
from vault_service.domain.events import AuditEvent, EventGroup, canonical_bytes, new_event_id
from vault_service.domain.tokens import new_opaque
from vault_service.services.backtest import Backtest, PolicyDirectory

EVENTS: Final = 50_000
_POLICIES: Final = Path(__file__).parents[1] / "policies"
_START: Final = datetime(2026, 1, 5, tzinfo=UTC)
# Who does what with which class, in which form and why; budgets run down as they are used.
_KINDS: Final = (
    ("checkout", "tokenize", "pan", None, None, "capture-tokenizes-its-clearance"),
    ("crm", "tokenize", "email", None, None, "capture-tokenizes-its-clearance"),
    ("warehouse-loader", "tokenize", "iban", None, None, "loader-tokenizes-all"),
    ("crm", "lookup", "email", None, None, "capture-looks-up-its-clearance"),
    ("chargeback-service", "detokenize", "pan", "plain", "chargeback", "disputes-reveal-pan"),
    ("payout-service", "detokenize", "iban", "plain", "payout", "payouts-reveal-iban"),
    (
        "support-agent",
        "detokenize",
        "email",
        "masked",
        "customer_support",
        "support-reveals-masked",
    ),
)


def events_per_second() -> float:
    """Events of a mixed log replayed a second, decoding included, against policies in which
    the chargeback service loses card numbers."""
    current = load_bundle(_POLICIES, None)
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
    log = _log(current)
    started = time.perf_counter()
    for body in log:
        replay.add(body)
    seconds = time.perf_counter() - started
    report = replay.report()
    if report.replayed != EVENTS or len(report.changes) != 1:
        raise RuntimeError("the backtest found something other than the change that was made")
    return EVENTS / seconds


def _known(engine: CedarEngine) -> PolicyDirectory:
    bundle = engine.bundle
    effects = {name: policy.body["effect"] for name, policy in engine.policies.items()}
    return PolicyDirectory(bundle.hash, bundle.catalog, bundle.principals, effects)


def _log(bundle: PolicyBundle) -> list[bytes]:
    source = random.Random(1)  # synthetic data, not secrets
    left = dict.fromkeys(bundle.principals, 10**9)
    return [_event(bundle, source, number, left) for number in range(EVENTS)]


def _event(bundle: PolicyBundle, source: random.Random, number: int, left: dict[str, int]) -> bytes:
    name, action, data_class, form, purpose, policy = source.choice(_KINDS)
    principal = bundle.principals[name]
    count = source.choice((1, 1, 1, 10)) if action != "lookup" else 1
    budgeted = purpose is not None and bool(principal.budgets_for(purpose))
    group = EventGroup(
        outcome="ok",
        data_class=data_class,
        form=form,
        tags=(("region", source.choice(("eu", "us"))),),
        policies=(policy,),
        budget_left=left[name] if budgeted else None,
        tokens=tuple(new_opaque(data_class, count)),
        subjects=(f"cus_{source.randrange(10**6)}",),
        count=count,
    )
    if budgeted:
        left[name] -= count
    event = AuditEvent(
        id=new_event_id(),
        occurred_at=_START + timedelta(milliseconds=400 * number),
        tenant=principal.tenant,
        principal=name,
        action=action,
        outcome="ok",
        request_id=f"req-{number}",
        policy_hash=bundle.hash,
        purpose=purpose,
        groups=(group,),
        item_count=count,
        inputs={"type": principal.type.value, "tags": dict(principal.tags)},
    )
    return canonical_bytes(event)
