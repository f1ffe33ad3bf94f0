"""The backtest: nothing is lost on the way, and exactly what differs is reported."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.replayed import BUNDLE, NO_DISPUTES, NOON, backtest, changed, group, reasons, reveal
from vault_service.adapters.cedar import CedarEngine
from vault_service.adapters.policy_files import PolicyBundle
from vault_service.domain.access import AccessRequest, Action
from vault_service.domain.events import AuditEvent, EventGroup, canonical_bytes
from vault_service.domain.principals import Principal, PrincipalType


def without(catalog_part: str, name: str) -> PolicyBundle:
    parts = dict(getattr(BUNDLE.catalog, catalog_part))
    del parts[name]
    return replace(BUNDLE, catalog=replace(BUNDLE.catalog, **{catalog_part: parts}))


def no_plain_pan() -> PolicyBundle:
    pan = replace(BUNDLE.catalog.data_classes["pan"], forms=("masked",))
    classes = {**BUNDLE.catalog.data_classes, "pan": pan}
    return replace(BUNDLE, catalog=replace(BUNDLE.catalog, data_classes=classes))


@pytest.mark.parametrize(
    ("event", "new", "reason", "items", "is_change"),
    [
        (reveal(), without("data_classes", "pan"), "class_removed", 3, True),
        (reveal(group(data_class="fax")), BUNDLE, "class_unknown", 3, False),
        (reveal(), without("purposes", "chargeback"), "purpose_removed", 3, True),
        (reveal(purpose="fun"), BUNDLE, "purpose_unknown", 3, False),
        (reveal(), no_plain_pan(), "form_removed", 3, True),
        (reveal(group(form="year")), BUNDLE, "form_unknown", 3, False),
        (reveal(action="rotate_data_key"), BUNDLE, "not_a_decision", 3, False),
        (reveal(principal="operator:eve", action="read_audit"), BUNDLE, "no_inputs", 3, False),
        (reveal(inputs={}), BUNDLE, "no_inputs", 3, False),
        (reveal(groups=(), code="purpose_required"), BUNDLE, "no_decision", 3, False),
        (
            reveal(group(outcome="failed", code="invalid_value", policies=(), count=2)),
            *(BUNDLE, "no_decision", 2, False),
        ),
        (
            reveal(group(outcome="failed", code="expired", data_class=None)),
            *(BUNDLE, "no_decision", 3, False),
        ),
        (b'{"v":2,"id":"evt_2"}', BUNDLE, "unknown_version", 0, False),
        (b'{"v":1,"id":"evt_2"}', BUNDLE, "unreadable", 0, False),
        (b"\xff", BUNDLE, "unreadable", 0, False),
    ],
)
def test_what_cannot_be_replayed_is_counted_by_reason(
    event: AuditEvent | bytes, new: PolicyBundle, reason: str, items: int, is_change: bool
) -> None:
    report = backtest([event, event], new)
    assert reasons(report) == {reason: (2, 2 * items)}
    assert (report.events, report.not_replayed) == (2, 2)
    assert report.changed is is_change


def test_a_newer_encoding_is_not_guessed_at() -> None:
    body = json.loads(canonical_bytes(reveal()))
    report = backtest([json.dumps({**body, "v": 2}).encode()], NO_DISPUTES)
    assert reasons(report) == {"unknown_version": (1, 0)}
    assert not report.changes


def test_an_event_can_be_replayed_in_part() -> None:
    lost = EventGroup(outcome="failed", code="not_found", count=4)
    report = backtest([reveal(group(), lost), reveal()])
    assert (report.replayed, report.replayed_in_part, report.not_replayed) == (1, 1, 0)
    assert reasons(report) == {"no_decision": (1, 4)}


_PRINCIPALS = [*BUNDLE.principals.values(), Principal("gone", PrincipalType.JOB, "main")]
_QUESTIONS = st.builds(
    AccessRequest,
    principal=st.sampled_from(_PRINCIPALS),
    action=st.just(Action.DETOKENIZE),
    data_class=st.sampled_from(["pan", "email"]),
    token_tags=st.sampled_from([(), (("region", "eu"),)]),
    purpose=st.sampled_from(["chargeback", "customer_support", "data_quality"]),
    form=st.sampled_from(["masked", "plain"]),
    item_count=st.integers(1, 3),
    budget_left=st.sampled_from([None, 1, 2]),
    at=st.sampled_from([NOON, NOON.replace(hour=3)]),
)
_CURRENT = CedarEngine(BUNDLE)
_NEW_BUNDLE = changed('context.form == "masked"', "context.hour > 5 && context.item_count < 3")
_NEW = CedarEngine(_NEW_BUNDLE)


@given(st.lists(_QUESTIONS, max_size=30))
@settings(max_examples=60)
def test_exactly_the_decisions_that_differ_are_reported(questions: list[AccessRequest]) -> None:
    asked = [
        replace(q, class_tags=BUNDLE.catalog.data_classes[q.data_class or ""].tags)
        for q in questions
    ]
    events = [_recorded(question) for question in asked]
    assert not backtest(events).changed
    report = backtest(events, _NEW_BUNDLE)
    differ = [q for q in asked if _CURRENT.decide(q).allowed != _NEW.decide(q).allowed]
    assert sum(change.events for change in report.changes) == len(differ)
    assert sum(change.items for change in report.changes) == sum(q.item_count for q in differ)
    newly = {(c.principal, c.data_class, c.form, c.effect) for c in report.changes}
    assert newly == {
        (
            q.principal.name,
            q.data_class,
            q.form,
            "newly_denied" if _CURRENT.decide(q).allowed else "newly_allowed",
        )
        for q in differ
    }
    assert report.replayed == report.events == len(events)


def _recorded(question: AccessRequest) -> AuditEvent:
    decision = _CURRENT.decide(question)
    part = group(
        outcome="ok" if decision.allowed else "denied",
        code=None if decision.allowed else "access_denied",
        data_class=question.data_class,
        form=question.form,
        tags=question.token_tags,
        policies=decision.policies,
        budget_left=question.budget_left,
        tokens=tuple(f"tok_{number}" for number in range(question.item_count)),
        count=question.item_count,
    )
    who = question.principal
    return reveal(
        part,
        principal=who.name,
        tenant=who.tenant,
        purpose=question.purpose,
        occurred_at=question.at,
        inputs={"type": who.type.value, "tags": dict(who.tags)},
    )
