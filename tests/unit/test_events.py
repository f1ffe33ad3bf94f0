"""Audit events: one encoding, fixed for ever, with nothing lost."""

import dataclasses
import json
import re
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain.events import AuditEvent, EventGroup, canonical_bytes, new_event_id

AT = datetime(2026, 3, 1, 12, 0, 0, 42, tzinfo=UTC)

FULL = AuditEvent(
    id="evt_01234567890123456789abcdef",
    occurred_at=AT,
    tenant="main",
    principal="chargeback-service",
    action="detokenize",
    outcome="partial",
    request_id="req_1",
    policy_hash="ab" * 32,
    purpose="chargeback",
    case="CB-1042 “ü”",
    groups=(
        EventGroup(
            outcome="ok",
            data_class="pan",
            form="plain",
            tags=(("brand", "x"), ("region", "eu")),
            policies=("chargeback-plain-pan",),
            budget_left=0,
            tokens=("tok_1", "tok_2"),
            subjects=("cus_42",),
            count=2,
        ),
        EventGroup(
            outcome="denied", data_class="iban", form="plain", code="access_denied", count=1
        ),
    ),
    item_count=3,
    inputs={"type": "service", "tags": {"team": "payments", "clearance": "pci"}, "dry": False},
)

FULL_BYTES = (
    '{"action":"detokenize","case":"CB-1042 “ü”","groups":[{"budget_left":0,"count":2,'
    '"data_class":"pan","form":"plain","outcome":"ok","policies":["chargeback-plain-pan"],'
    '"subjects":["cus_42"],"tags":{"brand":"x","region":"eu"},"tokens":["tok_1","tok_2"]},'
    '{"code":"access_denied","count":1,"data_class":"iban","form":"plain","outcome":"denied"}],'
    '"id":"evt_01234567890123456789abcdef","inputs":{"dry":false,"tags":{"clearance":"pci",'
    '"team":"payments"},"type":"service"},"item_count":3,"outcome":"partial",'
    f'"policy_hash":"{"ab" * 32}","principal":"chargeback-service","purpose":"chargeback",'
    '"request_id":"req_1","tenant":"main","time":"2026-03-01T12:00:00.000042Z","v":1}'
).encode()

BARE = AuditEvent(
    id="evt_00000000000000000000000000",
    occurred_at=AT,
    tenant="",
    principal=None,
    action="authenticate",
    outcome="denied",
    request_id="req_2",
    policy_hash="",
    code="unauthenticated",
)

words = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
names = st.lists(words, max_size=3).map(tuple)
groups = st.builds(
    EventGroup,
    outcome=words,
    data_class=st.none() | words,
    form=st.none() | words,
    tags=st.dictionaries(words, words, max_size=3).map(lambda tags: tuple(sorted(tags.items()))),
    code=st.none() | words,
    policies=names,
    budget_left=st.none() | st.integers(0, 2**40),
    tokens=names,
    subjects=names,
    count=st.integers(0, 10_000),
)
events = st.builds(
    AuditEvent,
    id=words,
    occurred_at=st.datetimes(
        min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)
    ),
    tenant=words,
    principal=st.none() | words,
    action=words,
    outcome=words,
    request_id=words,
    policy_hash=words,
    purpose=st.none() | words,
    case=st.none() | words,
    code=st.none() | words,
    groups=st.lists(groups, max_size=3).map(tuple),
    item_count=st.integers(0, 10_000),
    inputs=st.dictionaries(words, words | st.integers(0, 9) | st.booleans(), max_size=3),
    detail=st.dictionaries(words, words, max_size=3),
)


def _read(encoded: bytes) -> AuditEvent:
    """The event that the bytes stand for, read with the standard library alone."""
    body: dict[str, Any] = json.loads(encoded)
    assert body.pop("v") == 1
    read_groups = tuple(
        EventGroup(
            **{
                **group,
                "tags": tuple(sorted(group.get("tags", {}).items())),
                **{name: tuple(group.get(name, ())) for name in ("policies", "tokens", "subjects")},
            }
        )
        for group in body.pop("groups", [])
    )
    moment = datetime.strptime(body.pop("time"), "%Y-%m-%dT%H:%M:%S.%f%z")
    body.setdefault("principal", None)
    return AuditEvent(occurred_at=moment, groups=read_groups, **body)


def test_the_bytes_of_a_full_event_are_fixed() -> None:
    """Known answer: these bytes are stored and hashed, so they may never change."""
    assert canonical_bytes(FULL) == FULL_BYTES


def test_the_bytes_of_an_event_without_a_principal_are_fixed() -> None:
    assert canonical_bytes(BARE) == (
        b'{"action":"authenticate","code":"unauthenticated","id":"evt_00000000000000000000000000",'
        b'"outcome":"denied","policy_hash":"","request_id":"req_2","tenant":"",'
        b'"time":"2026-03-01T12:00:00.000042Z","v":1}'
    )


@given(events)
def test_an_event_comes_back_whole(event: AuditEvent) -> None:
    assert _read(canonical_bytes(event)) == event


@given(events)
def test_reading_and_writing_again_gives_the_same_bytes(event: AuditEvent) -> None:
    encoded = canonical_bytes(event)
    assert canonical_bytes(_read(encoded)) == encoded


@given(events, events)
def test_different_events_have_different_bytes(first: AuditEvent, second: AuditEvent) -> None:
    assert (canonical_bytes(first) == canonical_bytes(second)) is (first == second)


@given(events)
def test_keys_are_sorted_at_every_depth_and_nothing_is_spaced(event: AuditEvent) -> None:
    def check(value: object) -> None:
        if isinstance(value, dict):
            keys = [key.encode() for key in value]
            assert keys == sorted(keys)
            for inner in value.values():
                check(inner)
        elif isinstance(value, list):
            for inner in value:
                check(inner)

    body = json.loads(canonical_bytes(event))
    check(body)
    compact = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    assert json.loads(compact) == body
    assert len(compact.encode()) >= len(canonical_bytes(event))


def test_the_time_is_written_in_utc_wherever_the_clock_is() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert canonical_bytes(dataclasses.replace(FULL, occurred_at=elsewhere)) == FULL_BYTES


def test_the_order_in_which_inputs_were_collected_does_not_matter() -> None:
    turned = dict(reversed(list(FULL.inputs.items())))
    assert canonical_bytes(dataclasses.replace(FULL, inputs=turned)) == FULL_BYTES


def test_an_event_knows_what_it_is_about() -> None:
    assert FULL.tokens == ["tok_1", "tok_2"]
    assert FULL.subjects == ["cus_42"]
    assert FULL.data_classes == ["iban", "pan"]
    assert BARE.tokens == BARE.subjects == BARE.data_classes == []


def test_event_ids_are_distinct_and_sort_by_time() -> None:
    before = time.time_ns() // 1_000_000
    ids = [new_event_id() for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    assert len(set(ids)) == 1000
    for event_id in ids:
        assert re.fullmatch(r"evt_[0-9a-hjkmnp-tv-z]{26}", event_id)
        number = 0
        for character in event_id[4:]:
            number = number << 5 | "0123456789abcdefghjkmnpqrstvwxyz".index(character)
        assert before <= number >> 82 <= after
    stamps = [event_id[4:13] for event_id in ids]
    assert stamps == sorted(stamps)


def test_an_event_cannot_be_changed_after_the_fact() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.outcome = "ok"  # type: ignore[misc]
