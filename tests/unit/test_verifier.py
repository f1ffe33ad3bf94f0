"""The offline verifier on bundles: what holds, what is found, and what is never missed."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bundles import KEY, START, SealedLog, event, events, verified
from tests.reference_log import root_of
from tests.spoiled_bundles import LOG, MIXED, SIZES, Spoiled, good, spoiled
from vault_service.domain import bundle
from vault_service.verifier.findings import Kind, Verdict
from vault_service.verifier.seen import SeenIds
from vault_service.verifier.summary import told_bundle

SMALL = SealedLog(events(7))
SMALL_MIXED = SealedLog([event(n, tenant="main" if n % 3 else "other") for n in range(7)])


def test_a_whole_log_verifies() -> None:
    """Bundle, checkpoints and key agree with the tree as RFC 6962 2.1 writes it down."""
    report = verified(good())
    assert report.verdict is Verdict.VERIFIED
    assert report.findings == []
    assert (report.leaves, report.events, report.unsealed) == (120, 120, 0)
    assert (report.earliest, report.latest) == (START, START + timedelta(seconds=119))
    assert report.checkpoints == len(SIZES)
    assert report.checkpoint is not None
    assert report.checkpoint.size == 120
    assert report.checkpoint.root == root_of(LOG.bodies)


@given(st.data())
def test_every_stretch_of_every_log_verifies(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    log = SealedLog(events(count))
    first = data.draw(st.integers(0, count - 1))
    sizes = sorted(data.draw(st.sets(st.integers(first + 1, count))) | {count})
    old = data.draw(st.integers(1, count))
    report = verified(log.export(sizes, first=first, since=old), log.checkpoint(old))
    assert report.findings == []
    assert report.checkpoints == len(sizes)
    assert report.kept is not None
    assert report.kept.size == old


def test_a_tenants_bundle_says_what_it_does_not_show() -> None:
    report = verified(MIXED.export(SIZES, scope="main"))
    assert report.verdict is Verdict.VERIFIED
    assert (report.leaves, report.events) == (120, 80)
    assert report.withheld["tenant"].count == 40
    words = "\n".join(told_bundle(report, KEY))
    assert "40 events of other tenants than main" in words
    assert "Only a bundle of the whole log shows" in words
    assert "none left out" not in words


def test_archived_and_unsealed_events_are_told() -> None:
    fresh = event(130, occurred_at=START + timedelta(seconds=119) - timedelta(minutes=5))
    lines = LOG.export(SIZES, withheld={3: "archived", 9: "archived"}, unsealed=[fresh])
    report = verified(lines)
    assert report.verdict is Verdict.VERIFIED
    words = "\n".join(told_bundle(report, KEY))
    assert "2 events that the log calls archived, from leaf 3 to 9" in words
    assert "1 event in no leaf yet" in words


def test_an_event_that_others_overtook_by_more_is_outside_the_tree() -> None:
    at = START + timedelta(seconds=119) - timedelta(minutes=5, microseconds=1)
    report = verified(LOG.export(SIZES, unsealed=[event(130, occurred_at=at)]))
    assert [finding.kind.value for finding in report.findings] == ["event_outside"]


def test_events_that_are_sealed_out_of_order_are_told() -> None:
    """By more than 5 minutes: no request takes so long."""
    seconds = [0, 300, 0, 301, 0, 302, 1]
    sealed = [
        event(number, occurred_at=START + timedelta(seconds=at))
        for number, at in enumerate(seconds)
    ]
    assert verified(SealedLog(sealed[:4]).export()).backdated is None
    report = verified(SealedLog(sealed).export())
    assert report.verdict is Verdict.VERIFIED
    words = "\n".join(told_bundle(report, KEY))
    assert f"Out of order: 2 events from leaf 4 ({sealed[4].id}) to 6" in words


def test_a_log_without_events_since_then_verifies() -> None:
    lines = SMALL.export([7], first=6)
    header = bundle.decode(lines[0])
    assert isinstance(header, bundle.Header)
    left = tuple(SMALL.node(level, at) for level, at in ((2, 0), (1, 2), (0, 6)))
    again = bundle.encode(bundle.Header(1, header.origin, "all", 7, left, header.key))
    report = verified([again, lines[2], bundle.encode(bundle.End(0, 0, 0))], SMALL.checkpoint(7))
    assert report.findings == []
    assert "none, after the first 7" in "\n".join(told_bundle(report, KEY))


@pytest.mark.parametrize("case", list(spoiled()), ids=lambda case: case.name)
def test_what_is_wrong_is_found_and_named(case: Spoiled) -> None:
    report = verified(case.lines, case.kept)
    first = report.findings[0]
    assert (first.kind.value, first.leaf, first.event_id) == (case.kind, case.leaf, case.event_id)
    assert report.verdict.value == case.exit_code
    assert f"1. {first.text}" in "\n".join(told_bundle(report, KEY))


def test_every_kind_of_finding_is_tried() -> None:
    assert {case.kind for case in spoiled()} == {kind.value for kind in Kind}


def test_events_that_changed_places_are_told_apart_from_changed_ones() -> None:
    [case] = [case for case in spoiled() if case.name == "two reordered"]
    texts = [finding.text for finding in verified(case.lines).findings]
    assert "Leaf 10 holds the event that was sealed as leaf 20" in texts[0]
    assert "Leaf 20 holds the event that was sealed as leaf 10" in texts[1]


def test_several_wrongs_are_all_told_in_order() -> None:
    lines = LOG.export(SIZES, withheld={5: "missing", 50: "tenant", 90: "missing"})
    report = verified(lines[:-1])
    assert [(f.kind.value, f.leaf) for f in report.findings] == [
        ("event_missing", 5),
        ("event_hidden", 50),
        ("event_missing", 90),
        ("cut_off", None),
    ]
    assert report.verdict is Verdict.TAMPERED


def test_findings_have_a_limit_and_the_verdict_has_none() -> None:
    log = SealedLog([b"{}"] * 150 + [event(1)])
    report = verified(log.export(withheld={150: "missing"}))
    assert len(report.findings) == 100
    assert report.left_out == 51
    assert report.verdict is Verdict.TAMPERED
    assert "and 51 more" in "\n".join(told_bundle(report, KEY))


def test_a_rewritten_log_is_found_wherever_the_kept_checkpoint_stands() -> None:
    rewritten = SealedLog([event(0, principal="auditor"), *events(7)[1:]])
    for first in range(7):
        for kept in range(1, 8):
            lines = rewritten.export([7], first=first, since=kept)
            report = verified(lines, SMALL.checkpoint(kept))
            assert [finding.kind.value for finding in report.findings] == ["log_rewritten"]


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        (SMALL.export([3, 7]), None),
        (SMALL_MIXED.export([5, 7], first=3, scope="main", since=2), SMALL_MIXED.checkpoint(2)),
    ],
    ids=["whole log", "one tenant's, after a kept one"],
)
def test_no_byte_can_be_changed_left_out_or_put_in(lines: list[bytes], kept: str | None) -> None:
    """Every position, with one other byte. Nothing vouches for unsealed events, and for the
    proof in the header alone where no checkpoint was kept; they are not in these."""
    assert verified(lines, kept).verdict is Verdict.VERIFIED
    whole = b"".join(lines)
    for at, byte in enumerate(whole):
        other = bytes([byte ^ 1 << at % 8])
        for changed in (
            whole[:at] + other + whole[at + 1 :],
            whole[:at] + whole[at + 1 :],
            whole[:at] + other + whole[at:],
        ):
            assert verified([changed], kept).verdict is not Verdict.VERIFIED, at


@given(st.data())
def test_no_byte_becomes_any_other(data: st.DataObject) -> None:
    whole = b"".join(SMALL.export([3, 7]))
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    changed = whole[:at] + bytes([byte]) + whole[at + 1 :]
    assert verified([changed]).verdict is not Verdict.VERIFIED


@given(st.data())
def test_no_line_can_be_left_out_repeated_or_moved(data: st.DataObject) -> None:
    lines = SMALL.export([3, 7], unsealed=[event(8), event(9)])
    at, to = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    without = lines[:at] + lines[at + 1 :]
    repeated = [*lines[:to], lines[at], *lines[to:]]
    moved = [*without[:to], lines[at], *without[to:]]
    for changed in (without, repeated, moved):
        if sorted(changed) == sorted(lines) and [x for x in changed if b'"unsealed",' not in x] == [
            x for x in lines if b'"unsealed",' not in x
        ]:
            continue  # unsealed events have no order
        assert verified(changed).verdict is not Verdict.VERIFIED


@given(st.lists(st.integers(0, 40).map(str), max_size=60))
def test_an_id_is_new_once(ids: list[str]) -> None:
    seen, known = SeenIds(), set[str]()
    for each in ids:
        assert seen.add(each) is (each not in known)
        known.add(each)


def test_many_ids_are_told_apart() -> None:
    seen = SeenIds()
    assert all(seen.add(f"evt_{number}") for number in range(200_000))
    assert not any(seen.add(f"evt_{number}") for number in range(200_000))
