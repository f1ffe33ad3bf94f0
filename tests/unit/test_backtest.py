"""The backtest: the recorded decision against the new one."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.replayed import (
    BUNDLE,
    DISPUTES,
    NO_DISPUTES,
    NOON,
    backtest,
    changed,
    group,
    only,
    reasons,
    reveal,
)
from vault_service.domain.events import AuditEvent, EventGroup
from vault_service.services.backtest_report import Change


def test_what_is_newly_denied_is_told_with_counts_and_samples() -> None:
    events = [reveal() for _ in range(7)]
    report = backtest(events, NO_DISPUTES)
    assert only(report) == Change(
        effect="newly_denied",
        tenant="main",
        principal="chargeback-service",
        action="detokenize",
        data_class="pan",
        purpose="chargeback",
        form="plain",
        events=7,
        items=21,
        tokens=14,
        policies_then=("disputes-reveal-pan",),
        policies_now=(),
        failing_now=(),
        event_ids=tuple(event.id for event in events[:5]),
    )
    assert (report.events, report.replayed, report.decisions) == (7, 7, 7)
    assert report.changed


def test_what_is_newly_allowed_is_told_with_the_policy_that_allows_it() -> None:
    denied = group(outcome="denied", code="access_denied", policies=())
    event = reveal(denied, principal="crm")
    opened = changed('["disputes", "merchant"]', '["disputes", "capture"]')
    change = only(backtest([event], opened))
    assert (change.effect, change.principal, change.events) == ("newly_allowed", "crm", 1)
    assert (change.policies_then, change.policies_now) == ((), ("disputes-reveal-pan",))


def test_the_same_policies_change_nothing() -> None:
    report = backtest([reveal()])
    assert not report.changed
    assert report.replayed == 1


def test_the_old_decision_is_the_recorded_one() -> None:
    # Decided under policies that neither directory has: today's would deny it.
    event = reveal(group(policies=("long-gone",)), principal="crm")
    change = only(backtest([event]))
    assert (change.effect, change.policies_then) == ("newly_denied", ("long-gone",))


def test_parts_of_one_event_are_one_event() -> None:
    first, second = group(tags=(("region", "eu"),)), group(tags=(("region", "us"),), count=1)
    change = only(backtest([reveal(first, second), reveal(first)], NO_DISPUTES))
    assert (change.events, change.items, change.tokens) == (2, 7, 6)


@pytest.mark.parametrize("outcome", ["failed", "integrity_failure"])
def test_what_failed_after_the_decision_was_allowed(outcome: str) -> None:
    event = reveal(group(outcome=outcome, code="internal"))
    assert not backtest([event]).changes
    assert only(backtest([event], NO_DISPUTES)).effect == "newly_denied"


@pytest.mark.parametrize(
    ("policies", "left", "then_allowed"),
    [
        (("reveal-stays-within-budget",), 1, False),
        (("disputes-reveal-pan",), 2, True),  # others drew on the budget meanwhile
        (("long-gone",), 2, True),
        (("long-gone",), 1, False),
        (("reveal-stays-within-budget",), 2, False),
    ],
)
def test_a_spent_budget_is_a_denial_where_a_policy_said_so(
    policies: tuple[str, ...], left: int, then_allowed: bool
) -> None:
    denied = group(outcome="denied", code="budget_exceeded", policies=policies, budget_left=left)
    found = [change.effect for change in backtest([reveal(denied)], NO_DISPUTES).changes]
    assert found == (["newly_denied"] if then_allowed else [])


def test_a_budget_is_an_input_and_items_are_distinct_tokens() -> None:
    # Of 9 items two tokens were decided on: as many as the budget had left.
    within = reveal(group(budget_left=2), item_count=9)
    assert not backtest([within]).changes
    tight = changed("context.item_count > context.budget_left", "context.item_count >= 2")
    assert only(backtest([within], tight)).policies_now == ("reveal-stays-within-budget",)
    two_forms = reveal(
        group(budget_left=3, form="masked", tokens=("tok_1", "tok_2")),
        group(budget_left=3, tokens=("tok_2", "tok_3")),
        EventGroup(outcome="failed", code="not_found", count=5),
        item_count=9,
    )
    assert not backtest([two_forms]).changes


def test_time_and_tags_are_inputs() -> None:
    night = changed(DISPUTES, f"{DISPUTES} && context.hour >= 8")
    early = reveal(occurred_at=NOON.replace(hour=7, minute=59, second=59, microsecond=999999))
    assert only(backtest([reveal(), early], night)).event_ids == (early.id,)
    regional = changed(DISPUTES, f'{DISPUTES} && !(resource.hasTag("region"))')
    tagged = reveal(group(tags=(("region", "eu"),)))
    assert only(backtest([reveal(), tagged], regional)).event_ids == (tagged.id,)


def test_principals_are_those_of_the_new_directory() -> None:
    principal = BUNDLE.principals["chargeback-service"]
    demoted = replace(principal, tags={**principal.tags, "duty": "support"})
    new = replace(BUNDLE, principals={**BUNDLE.principals, principal.name: demoted})
    assert only(backtest([reveal()], new)).effect == "newly_denied"


def test_a_principal_that_is_gone_keeps_what_was_recorded_and_is_told() -> None:
    left = {n: p for n, p in BUNDLE.principals.items() if n != "chargeback-service"}
    report = backtest([reveal(), reveal()], replace(BUNDLE, principals=left))
    assert not report.changes
    (absent,) = report.absent_principals
    assert (absent.principal, absent.removed, absent.events) == ("chargeback-service", True, 2)
    assert report.changed
    inputs = {"type": "service", "tags": {"duty": "disputes"}}
    stranger = backtest([reveal(principal="of-old", inputs=inputs)])
    assert [each.removed for each in stranger.absent_principals] == [False]
    assert not stranger.changed


def test_reading_the_log_is_decided_without_groups() -> None:
    none = AuditEvent(**{**fields_of("auditor"), "detail": {"policies": ["auditors-read-the-log"]}})
    assert not backtest([none]).changed
    closed = changed('"audit" };', '"administer" };')
    assert only(backtest([none], closed)).effect == "newly_denied"
    refused = AuditEvent(**{**fields_of("crm"), "code": "access_denied", "detail": {}})
    opened = changed('principal.getTag("duty") == "audit"', "true")
    assert only(backtest([refused], opened)).effect == "newly_allowed"
    # A receipt of one's own is given whatever the policies say.
    own = AuditEvent(**{**fields_of("crm"), "detail": {"proof_of": "evt_1", "policies": []}})
    assert reasons(backtest([own], opened)) == {"no_decision": (1, 0)}


def fields_of(principal: str) -> Mapping[str, Any]:
    event = reveal(principal=principal, action="read_audit", purpose=None, item_count=0)
    return {**{name: getattr(event, name) for name in event.__slots__}, "groups": ()}


def test_the_limits_are_the_first_moment_in_and_the_first_out() -> None:
    at = [NOON + timedelta(microseconds=step) for step in range(4)]
    events = [reveal(occurred_at=each) for each in at]
    report = backtest(events, NO_DISPUTES, since=at[1], until=at[3])
    assert report.events == 2
    assert only(report).event_ids == (events[1].id, events[2].id)


REPORT = {
    "name": "access_review",
    "purpose": "operations",
    "data_classes": [],
    "forms": [],
    "classifications": ["figure"],
    "row_cap": 10,
    "needs_approval": False,
    "scheduled": True,
}


def on_report(principal: str, action: str, **fields: Any) -> AuditEvent:
    event = reveal(principal=principal, action=action, purpose=None)
    detail = {"policies": [], "report": REPORT} | fields.pop("detail", {})
    return replace(event, groups=(), detail=detail, **fields)


def test_decisions_on_reports_are_replayed() -> None:
    runs = on_report(
        "compliance-officer", "run_report", detail={"policies": ["compliance-runs-reports"]}
    )
    denied = on_report("auditor", "run_report", code="access_denied", outcome="denied")
    report = backtest([runs, denied])
    assert (report.replayed, report.changed) == (2, False)
    no_more = changed('== "run-reports" };', '== "runs-no-more" };')
    change = only(backtest([runs, denied], no_more))
    assert (change.effect, change.action) == ("newly_denied", "run_report")


def test_a_rule_beside_the_policies_is_no_denial_of_theirs() -> None:
    """The policies allowed it; that the approver had asked for it stood in the way."""
    event = on_report(
        "compliance-lead",
        "approve_report",
        code="access_denied",
        outcome="denied",
        detail={"policies": ["compliance-lead-approves-reports"], "rule": "template_changed"},
    )
    report = backtest([event])
    assert (report.replayed, report.changed) == (1, False)


def test_what_was_recorded_without_its_report_cannot_be_replayed() -> None:
    event = on_report("compliance-officer", "run_report")
    told = [
        replace(event, detail={"policies": ["compliance-runs-reports"]}),
        replace(event, detail={}),
    ]
    assert reasons(backtest(told)) == {"no_report": (2, 6)}
