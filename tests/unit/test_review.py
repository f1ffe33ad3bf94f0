"""The access review: each part of the report, its edges, and that order does not matter."""

import dataclasses
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain.access import PolicySource
from vault_service.domain.events import AuditEvent, EventGroup, canonical_bytes, new_event_id
from vault_service.domain.principals import Principal, PrincipalType
from vault_service.domain.review import Review, ReviewPlan
from vault_service.domain.review_report import ReviewReport

UNTIL = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
DAY = timedelta(days=1)
PLAN = ReviewPlan(UNTIL, days=7)
NOON = UNTIL - 4 * DAY  # a Thursday
HASH = "a" * 64
TOKENS = [f"tok_{number}" for number in range(20)]
ANN = Principal("ann", PrincipalType.PERSON, "main", {"duty": "audit"})
BOT = Principal("bot", PrincipalType.SERVICE, "main", {"duty": "load"})


@dataclass(frozen=True)
class Policy:
    source: PolicySource
    body: dict[str, Any]


def policy(name: str, effect: str = "permit", principal: str | None = None) -> Policy:
    scope: dict[str, Any] = {"op": "All"}
    if principal is not None:
        scope = {"op": "==", "entity": {"type": "Principal", "id": principal}}
    body = {"effect": effect, "principal": scope, "conditions": []}
    return Policy(PolicySource(name, "x.cedar", 7), body)


POLICIES = [policy("for-ann", principal="ann"), policy("for-all"), policy("never", "forbid")]


def reveal(
    principal: str | None = "ann",
    at: datetime = NOON,
    tokens: int = 1,
    form: str = "plain",
    **fields: Any,
) -> AuditEvent:
    group = EventGroup("ok", "pan", form, policies=("for-all",), tokens=tuple(TOKENS[:tokens]))
    settings: dict[str, Any] = {
        "id": new_event_id(),
        "occurred_at": at,
        "tenant": "main",
        "principal": principal,
        "action": "detokenize",
        "outcome": "ok",
        "request_id": "req",
        "policy_hash": HASH,
        "purpose": "chargeback",
        "groups": (group,),
        "inputs": {"type": "person"},
    }
    return AuditEvent(**{**settings, **fields})


def reviewed(*events: AuditEvent, plan: ReviewPlan = PLAN) -> ReviewReport:
    review = Review(plan, POLICIES, HASH)
    for event in events:
        review.add(canonical_bytes(event))
    return review.report([ANN, BOT], ["main"])


def test_periods_include_their_beginning_and_not_their_end() -> None:
    step = timedelta(microseconds=1)
    since, before = UNTIL - 7 * DAY, UNTIL - 14 * DAY
    times = [before - step, before, since - step, since, UNTIL - step, UNTIL]
    report = reviewed(*(reveal(at=at) for at in times))
    assert (report.period.since, report.period.until, report.period.events) == (since, UNTIL, 2)
    assert (report.before.since, report.before.until, report.before.events) == (before, since, 2)
    [figures] = report.reveals
    assert (figures.plain, figures.plain_before) == (2, 2)


def test_grants_policies_and_principals_without_use() -> None:
    log = reveal(
        "bot", action="read_audit", groups=(), purpose=None, detail={"policies": ["for-ann"]}
    )
    report = reviewed(reveal(), reveal("bot", NOON - 7 * DAY), log)
    grants = {grant.policy: (grant.principals, grant.unused) for grant in report.grants}
    # What bot did with for-ann is not ann's doing; what it did before is too long ago.
    assert grants == {"for-ann": (("ann",), ("ann",)), "for-all": (("ann", "bot"), ("bot",))}
    assert [(p.policy, p.effect, p.file, p.line) for p in report.silent_policies] == [
        ("never", "forbid", "x.cedar", 7)
    ]
    assert report.idle_principals == ()
    report = reviewed(reveal("bot", NOON - 7 * DAY))
    assert [(p.principal, p.type, p.seen_before) for p in report.idle_principals] == [
        ("ann", "person", False),
        ("bot", "service", True),
    ]
    assert len(report.silent_policies) == 3


def test_a_denial_by_a_policy_is_a_decision_by_it() -> None:
    group = EventGroup("denied", "pan", "plain", code="access_denied", policies=("never",))
    report = reviewed(reveal(groups=(group,), outcome="denied"))
    assert [p.policy for p in report.silent_policies] == ["for-ann", "for-all"]


def test_the_age_of_the_present_policies_is_told() -> None:
    other = "b" * 64
    events = [reveal(at=NOON), reveal(at=NOON - DAY), reveal(at=NOON - 2 * DAY, policy_hash=other)]
    assert reviewed(*events).policies_since == NOON - DAY
    assert reviewed(events[2]).policies_since is None


@pytest.mark.parametrize(
    ("before", "now", "ratio"),
    [(2, 4, None), (2, 5, 2.5), (3, 7, 2.33), (0, 1, "new"), (1, 0, None), (0, 0, None)],
)
def test_only_more_than_the_factor_is_a_rise(before: int, now: int, ratio: object) -> None:
    report = reviewed(reveal(at=NOON - 7 * DAY, tokens=before), reveal(tokens=now))
    found = [(r.form, r.before, r.now, r.ratio) for r in report.rises]
    if ratio is None:
        assert found == []
    else:
        times = None if ratio == "new" else ratio
        assert found == [("plain", before, now, times), ("any", before, now, times)]


def test_plain_reveals_can_rise_where_all_do_not() -> None:
    report = reviewed(
        reveal(at=NOON - 7 * DAY, tokens=9, form="masked"),
        reveal(at=NOON - 7 * DAY, tokens=1),
        reveal(tokens=5, form="masked"),
        reveal(tokens=4),
    )
    assert [(r.form, r.before, r.now, r.ratio) for r in report.rises] == [("plain", 1, 4, 4.0)]
    [figures] = report.reveals
    assert dataclasses.astuple(figures) == ("main", "ann", 4, 9, 1, 10)


def test_only_what_was_shown_is_a_reveal() -> None:
    denied = EventGroup("denied", "pan", "plain", code="access_denied", tokens=("tok_1",))
    made = EventGroup("ok", "pan", tokens=("tok_1",))
    report = reviewed(
        reveal(groups=(denied,), outcome="denied", at=NOON.replace(hour=23)),
        reveal(groups=(made,), action="tokenize", at=NOON.replace(hour=23)),
    )
    assert not report.reveals
    assert not report.out_of_hours
    assert not report.rises


@pytest.mark.parametrize(
    ("at", "zone", "late"),
    [
        ("2026-02-26T07:59:59", "UTC", True),
        ("2026-02-26T08:00:00", "UTC", False),
        ("2026-02-26T17:59:59", "UTC", False),
        ("2026-02-26T18:00:00", "UTC", True),
        ("2026-02-28T12:00:00", "UTC", True),  # Saturday
        ("2026-03-01T12:00:00", "UTC", True),  # Sunday
        ("2026-02-27T23:30:00", "Pacific/Auckland", True),  # Saturday there
        ("2026-03-01T20:00:00", "Pacific/Auckland", False),  # Monday, 9 o'clock there
        ("2026-02-26T07:30:00", "Europe/Berlin", False),
        ("2026-02-26T17:30:00", "Europe/Berlin", True),
    ],
)
def test_working_hours_are_local(at: str, zone: str, late: bool) -> None:
    plan = dataclasses.replace(PLAN, zone=ZoneInfo(zone), timezone=zone)
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    found = reviewed(reveal(at=moment, tokens=2), plan=plan).out_of_hours
    assert [(o.requests, o.plain, o.first, o.last) for o in found] == (
        [(1, 2, moment, moment)] if late else []
    )


def test_people_out_of_hours_come_first_with_the_first_events_named() -> None:
    night = NOON.replace(hour=2)
    events = [reveal(at=night + timedelta(minutes=minute)) for minute in range(5)]
    weekend = reveal(at=datetime(2026, 2, 28, 12, tzinfo=UTC), form="masked")
    busy = reveal("bot", night, 9, inputs={"type": "service"})
    ann, bot = reviewed(busy, weekend, *reversed(events)).out_of_hours
    assert (ann.principal, ann.type, ann.requests, ann.weekend) == ("ann", "person", 6, 1)
    assert (ann.plain, ann.total) == (5, 6)
    assert ann.event_ids == tuple(event.id for event in events[:3])
    assert (bot.principal, bot.type, bot.plain) == ("bot", "service", 9)


def test_a_purpose_not_named_in_the_period_before_is_a_first() -> None:
    first = reveal(at=NOON, purpose="payout", tokens=2)
    report = reviewed(
        reveal(at=NOON - 7 * DAY),
        reveal("bot", NOON - 7 * DAY, purpose="payout"),
        reveal(at=NOON + DAY, purpose="payout", tokens=3),
        first,
        reveal(),
    )
    [found] = report.first_purposes
    assert (found.principal, found.purpose, found.requests, found.revealed) == (
        *("ann", "payout", 2, 5),
    )
    assert (found.first, found.event_id) == (NOON, first.id)


def test_denials_are_counted_by_request_and_code() -> None:
    shown = EventGroup("ok", "pan", "masked", tokens=("tok_1",))
    denied = EventGroup("denied", "pan", "plain", code="access_denied", tokens=("tok_1",), count=9)
    missing = EventGroup("failed", code="not_found", count=1)
    report = reviewed(
        reveal(groups=(shown, denied, dataclasses.replace(denied, data_class="iban"))),
        reveal(groups=(denied,), outcome="denied"),
        reveal(groups=(), outcome="denied", code="purpose_required"),
        reveal(groups=(missing,), outcome="failed"),
        reveal(None, groups=(), outcome="denied", code="unauthenticated", action="authenticate"),
    )
    ann, nobody = report.denials
    assert (ann.principal, ann.requests) == ("ann", 3)
    assert ann.codes == {"access_denied": 2, "purpose_required": 1}
    assert (nobody.principal, nobody.codes) == (None, {"unauthenticated": 1})


def test_tenants_are_apart() -> None:
    report = reviewed(reveal(), reveal(tenant="other", tokens=3))
    assert [(r.tenant, r.plain) for r in report.reveals] == [("other", 3), ("main", 1)]


def test_findings_are_counted_and_figures_are_not() -> None:
    report = reviewed(reveal(at=NOON.replace(hour=2)))
    # ann's for-ann and bot's for-all; for-ann and never; bot; plain and any; the night;
    # the purpose.
    assert report.findings == 2 + 2 + 1 + 2 + 1 + 1


events = st.builds(
    reveal,
    st.sampled_from(["ann", "bot", None]),
    st.datetimes(datetime(2026, 2, 14), datetime(2026, 3, 4), timezones=st.just(UTC)),
    st.integers(0, 20),
    st.sampled_from(["plain", "masked"]),
    purpose=st.sampled_from(["chargeback", "payout", None]),
)


@given(st.lists(events, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_events_does_not_matter(made: list[AuditEvent], by: random.Random) -> None:
    shuffled = list(made)
    by.shuffle(shuffled)
    assert reviewed(*shuffled) == reviewed(*made)
