"""What a superuser of the database can do to the log's events, and what auditors find.

Each attack is done on a copy of a log that a real service made, exported by the real
command, and verified by ``strongroom audit verify`` and by the script of
docs/verify-by-hand.md: with the pinned key alone, and with the checkpoint that an auditor
kept from the day before. The table in docs/audit-log.md says what is found as what.
"""

import json
from datetime import datetime, timedelta
from typing import Final

import pytest

from tests.attacks.log_copies import Copy
from tests.attacks.tampered_log import Found, Original, Verdict
from vault_service.domain.events import new_event_id
from vault_service.domain.merkle import leaf_hash

FORGED_ID: Final = new_event_id()


def forgery(copy: Copy, leaf: int) -> bytes:
    """An event like that of a leaf, but of another principal, an hour before."""
    like = copy.row(leaf)
    time = datetime.fromisoformat(json.loads(like.body)["time"]) - timedelta(hours=1)
    return like.edited(id=FORGED_ID, principal="auditor", time=f"{time:%Y-%m-%dT%H:%M:%S.%fZ}")


def test_an_untouched_copy_verifies(log: Original, copy: Copy) -> None:
    assert copy.size() > 300
    assert len(copy.checkpoint_sizes()) > 5
    assert 256 < log.kept_size < copy.size() - 50
    for kept in (None, log.kept):
        assert log.verdict(copy, kept=kept) == Verdict(0, [])
    assert log.verdict(log.early, kept=log.kept) == Verdict(0, [])


def test_an_edited_principal(log: Original, copy: Copy) -> None:
    row = copy.edit(57, principal="somebody-else")
    found = [Found("event_altered", 57, row.id)]
    assert log.verdict(copy, kept=None) == Verdict(1, found)
    assert log.verdict(copy, kept=log.kept) == Verdict(1, found)


def test_an_edited_principal_with_its_hash_in_the_tree(log: Original, copy: Copy) -> None:
    copy.edit(57, principal="somebody-else")
    copy.edit_hash(57, leaf_hash(copy.row(57).body))
    for kept in (None, log.kept):
        verdict = log.verdict(copy, kept=kept)
        assert verdict.exit_code == 1
        assert verdict.findings[0] == Found("root_differs", copy.span_of(57))


def test_a_deleted_event(log: Original, copy: Copy) -> None:
    copy.delete(57)
    for kept in (None, log.kept):
        assert log.verdict(copy, kept=kept) == Verdict(1, [Found("event_missing", 57)])


def test_a_deleted_event_that_is_called_archived(log: Original, copy: Copy) -> None:
    """Its hash stays in the tree, and the summary says of which leaf the archive's bundle
    must be asked for."""
    copy.tamper(
        "INSERT INTO strongroom.log_archives SELECT date_trunc('month', occurred_at AT TIME ZONE"
        " 'UTC'), 57, 57, 1, sha256(''), now() FROM strongroom.log_leaves WHERE leaf_index = 57"
    )
    assert log.verdict(copy, kept=log.kept) == Verdict(0, []), "its event is still there"
    copy.delete(57)
    assert log.verdict(copy, kept=log.kept) == Verdict(0, [], archived=(57, 57))
    copy.delete(58)
    found = [Found("event_missing", 58)]
    assert log.verdict(copy, kept=None) == Verdict(1, found, archived=(57, 57))


def test_the_newest_ten_deleted(log: Original, copy: Copy) -> None:
    newest = range(copy.size() - 10, copy.size())
    copy.delete(*newest)
    found = [Found("event_missing", leaf) for leaf in newest]
    for kept in (None, log.kept):
        assert log.verdict(copy, kept=kept) == Verdict(1, found)


def test_the_newest_ten_deleted_with_their_leaves(log: Original, copy: Copy) -> None:
    """The tree and its signature still say how many there were."""
    newest = range(copy.size() - 10, copy.size())
    copy.delete(*newest)
    copy.tamper("DELETE FROM strongroom.log_leaves WHERE leaf_index >= %s", newest[0])
    found = [Found("event_missing", leaf) for leaf in newest]
    assert log.verdict(copy, kept=None) == Verdict(1, found)


def test_two_events_exchanged(log: Original, copy: Copy) -> None:
    one, other = copy.row(57), copy.row(68)
    copy.exchange(one, other)
    found = {Found("event_moved", 57, one.id), Found("event_moved", 68, other.id)}
    for kept in (None, log.kept):
        verdict = log.verdict(copy, kept=kept)
        assert (verdict.exit_code, set(verdict.findings)) == (1, found)


def test_the_bytes_of_two_events_exchanged(log: Original, copy: Copy) -> None:
    one, other = copy.row(57), copy.row(68)
    for place, row in ((one, other), (other, one)):
        copy.tamper(
            "UPDATE strongroom.audit_events SET body = %s WHERE position = %s",
            row.body,
            place.position,
        )
    found = [Found("event_moved", 57, other.id), Found("event_moved", 68, one.id)]
    for kept in (None, log.kept):
        assert log.verdict(copy, kept=kept) == Verdict(1, found)


@pytest.mark.parametrize("place", ["before all", "below zero", "in a gap", "taken"])
def test_an_old_event_forged_at_an_old_position(log: Original, copy: Copy, place: str) -> None:
    places = {"before all": 0, "below zero": -(1 << 63), "in a gap": copy.gap()}
    position = places.get(place, copy.row(57).position)  # where another time has another event
    forged = forgery(copy, 57)
    copy.insert(copy.row(57), position, forged)
    for kept in (None, log.kept):
        found = [Found("event_outside", None, FORGED_ID)]
        assert log.verdict(copy, kept=kept) == Verdict(1, found)


def test_forged_events_in_number(log: Original, copy: Copy) -> None:
    """However an export reads the table, it passes none over."""
    like = copy.row(57)
    ids = [new_event_id() for _ in range(700)]
    bodies = [like.edited(id=each, time="2020-02-02T02:02:02.000000Z") for each in ids]
    copy.insert_below_zero(like, ids, bodies)
    assert log.verdict(copy, kept=None).kinds == {"event_outside"}
    bundle = (copy.server.directory / "bundle.ndjson").read_bytes()
    assert all(each.encode() in bundle for each in ids)


def test_an_old_event_forged_at_a_new_position(log: Original, copy: Copy) -> None:
    """The sealer takes it for one that came just now. Its time betrays it, unless a clock was
    wrong: the summary tells it."""
    copy.insert(copy.row(57), None, forgery(copy, 57))
    leaf = copy.size()
    for kept in (None, log.kept):
        assert log.verdict(copy, kept=kept) == Verdict(0, [], backdated=(FORGED_ID, leaf))


def test_an_old_event_forged_where_no_sealer_comes(log: Original, copy: Copy) -> None:
    copy.insert(copy.row(57), None, forgery(copy, 57))
    copy.break_sealer()
    assert log.verdict(copy, kept=None).kinds >= {"event_outside"}


def test_a_copied_event(log: Original, copy: Copy) -> None:
    row = copy.row(57)
    copy.tamper("ALTER TABLE strongroom.audit_events DROP CONSTRAINT audit_events_id")
    copy.insert(row, None, row.body)
    found = [Found("event_repeated", copy.size(), row.id)]
    assert log.verdict(copy, kept=None) == Verdict(1, found)
    copy.insert(row, 0, row.body)
    found.append(Found("event_repeated", None, row.id))
    assert log.verdict(copy, kept=log.kept) == Verdict(1, found)


def test_leaves_exchanged(log: Original, copy: Copy) -> None:
    one, other = copy.row(57), copy.row(68)
    for leaf, to in ((57, -1), (68, 57), (-1, 68)):
        copy.tamper(
            "UPDATE strongroom.log_leaves SET leaf_index = %s WHERE leaf_index = %s", to, leaf
        )
    found = [Found("event_moved", 57, other.id), Found("event_moved", 68, one.id)]
    assert log.verdict(copy, kept=None) == Verdict(1, found)


def test_a_leaf_that_points_elsewhere(log: Original, copy: Copy) -> None:
    row = copy.row(57)
    copy.tamper("UPDATE strongroom.log_leaves SET position = 0 WHERE leaf_index = 57")
    assert log.verdict(copy, kept=None) == Verdict(1, [Found("event_moved", 57, row.id)])


def test_a_deleted_leaf(log: Original, copy: Copy) -> None:
    row = copy.row(57)
    copy.tamper("DELETE FROM strongroom.log_leaves WHERE leaf_index = 57")
    assert log.verdict(copy, kept=None) == Verdict(1, [Found("event_moved", 57, row.id)])


def test_a_time_that_is_edited_beside_the_bytes(log: Original, copy: Copy) -> None:
    row = copy.row(57)
    copy.tamper(
        "UPDATE strongroom.audit_events SET occurred_at = occurred_at - interval '1 second'"
        " WHERE position = %s",
        row.position,
    )
    assert log.verdict(copy, kept=None) == Verdict(1, [Found("event_moved", 57, row.id)])


def test_columns_edited_beside_the_bytes(log: Original, copy: Copy) -> None:
    """They say where an event is found, not what it says."""
    copy.tamper("UPDATE strongroom.audit_events SET principal = 'nobody', outcome = 'ok'")
    assert log.verdict(copy, kept=log.kept) == Verdict(0, [])
