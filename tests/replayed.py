"""Events as the use cases record them, and their backtest, for tests of it."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vault_service.adapters.cedar import CedarEngine
from vault_service.adapters.policy_files import PolicyBundle, load_bundle
from vault_service.adapters.policy_questions import RememberedDecisions
from vault_service.domain.events import AuditEvent, EventGroup, canonical_bytes, new_event_id
from vault_service.services.backtest import Backtest, PolicyDirectory
from vault_service.services.backtest_report import BacktestReport, Change

BUNDLE = load_bundle(Path(__file__).parents[1] / "policies", None)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
DISPUTES = '["disputes", "merchant"].contains(principal.getTag("duty"))'


def changed(old: str, new: str, **fields: Any) -> PolicyBundle:
    """The sample policies with one text for another."""
    texts = {name: text.replace(old, new) for name, text in BUNDLE.policies_text.items()}
    assert texts != BUNDLE.policies_text
    return replace(BUNDLE, policies_text=texts, **fields)


NO_DISPUTES = changed(DISPUTES, "false")


def known(bundle: PolicyBundle) -> PolicyDirectory:
    """What the backtest knows of the bundle."""
    policies = CedarEngine(bundle).policies.items()
    effects = {name: policy.body["effect"] for name, policy in policies}
    return PolicyDirectory(bundle.hash, bundle.catalog, bundle.principals, effects)


def backtest(
    bodies: Iterable[AuditEvent | bytes], new: PolicyBundle = BUNDLE, **limits: datetime
) -> BacktestReport:
    """The report on these events, replayed against ``new``."""
    decide = RememberedDecisions(CedarEngine(new)).decide
    run = Backtest(decide, current=known(BUNDLE), new=known(new), **limits)
    for body in bodies:
        run.add(body if isinstance(body, bytes) else canonical_bytes(body))
    return run.report()


def group(**fields: Any) -> EventGroup:
    """A group of three items, allowed unless said otherwise."""
    plain: dict[str, Any] = {
        "outcome": "ok",
        "data_class": "pan",
        "form": "plain",
        "policies": ("disputes-reveal-pan",),
        "tokens": ("tok_1", "tok_2"),
        "count": 3,
    }
    return EventGroup(**{**plain, **fields})


def reveal(*groups: EventGroup, principal: str = "chargeback-service", **fields: Any) -> AuditEvent:
    """A detokenize event of the groups."""
    who = BUNDLE.principals.get(principal)
    plain: dict[str, Any] = {
        "id": new_event_id(),
        "occurred_at": NOON,
        "tenant": "main",
        "principal": principal,
        "action": "detokenize",
        "outcome": "ok",
        "request_id": "req",
        "policy_hash": BUNDLE.hash,
        "purpose": "chargeback",
        "groups": groups or (group(),),
        "item_count": 3,
        "inputs": {} if who is None else {"type": who.type.value, "tags": dict(who.tags)},
    }
    return AuditEvent(**{**plain, **fields})


def only(report: BacktestReport) -> Change:
    """The report's one change."""
    (change,) = report.changes
    return change


def reasons(report: BacktestReport) -> dict[str, tuple[int, int]]:
    """Events and items that were not replayed, by reason."""
    return {each.reason: (each.events, each.items) for each in report.unreplayed}
