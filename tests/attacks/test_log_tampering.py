"""What a superuser of the database can do to the log, and what auditors find.

Each attack is done on a copy of a log that a real service made, exported by the real
command, and verified by ``strongroom audit verify`` and by the script of
docs/verify-by-hand.md: with the pinned key alone, and with the checkpoint that an auditor
kept from the day before. The table in docs/audit-log.md says what is found as what.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Final

import pytest

from tests.attacks.log_copies import Copy
from tests.attacks.log_leads import Led, lead, record
from tests.attacks.tampered_log import Found, Original, Verdict, command, make_log
from tests.bundles import ORIGIN, OTHER_SIGNER
from tests.by_hand import save_script
from tests.serving import Serve
from vault_service.domain.events import new_event_id
from vault_service.domain.merkle import leaf_hash

FORGED_ID: Final = new_event_id()
SIGNED: Final = Led(signed=True, broken=False, lines=set())
BROKEN: Final = Led(signed=False, broken=True, lines={"audit_log_broken"})


@pytest.fixture(scope="module")
def log(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Original]:
    made = make_log(serve_module, save_script(tmp_path_factory.mktemp("by_hand")))
    yield made
    made.early.close()


@pytest.fixture
def copy(log: Original) -> Iterator[Copy]:
    made = Copy(log.server)
    yield made
    made.close()


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


def test_a_tree_rebuilt_under_another_key(log: Original, copy: Copy) -> None:
    copy.edit(57, principal="somebody-else")
    copy.rebuild(OTHER_SIGNER)
    alone = log.verdict(copy, kept=None)
    assert (alone.exit_code, alone.kinds) == (3, {"unknown_key"})
    kept = log.verdict(copy, kept=log.kept)
    assert (kept.exit_code, kept.kinds) == (1, {"unknown_key", "log_rewritten"})


def test_a_tree_rebuilt_under_the_logs_own_key(log: Original, copy: Copy) -> None:
    copy.edit(57, principal="somebody-else")
    copy.rebuild(copy.signing_key)
    assert log.verdict(copy, kept=None) == Verdict(0, []), "which nothing in it can show"
    assert log.verdict(copy, kept=log.kept) == Verdict(1, [Found("log_rewritten")])


def test_a_tree_rebuilt_without_an_event(log: Original, copy: Copy) -> None:
    copy.delete(57)
    copy.tamper("DELETE FROM strongroom.log_leaves WHERE leaf_index = 57")
    copy.tamper("UPDATE strongroom.log_leaves SET leaf_index = -leaf_index WHERE leaf_index > 57")
    copy.tamper(
        "UPDATE strongroom.log_leaves SET leaf_index = -leaf_index - 1 WHERE leaf_index < 0"
    )
    copy.tamper("DELETE FROM strongroom.log_checkpoints WHERE tree_size = %s", copy.size())
    copy.tamper("UPDATE strongroom.log_tree SET size = size - 1")
    copy.rebuild(copy.signing_key)
    copy.forget_anchors()
    assert log.verdict(copy, kept=None) == Verdict(0, []), "which nothing in it can show"
    assert log.verdict(copy, kept=log.kept) == Verdict(1, [Found("log_rewritten")])


def test_only_what_is_before_the_kept_checkpoint_is_held_by_it(log: Original, copy: Copy) -> None:
    copy.edit(log.kept_size, principal="somebody-else")
    copy.rebuild(copy.signing_key)
    assert log.verdict(copy, kept=log.kept) == Verdict(0, [])


def test_a_log_rolled_back(log: Original) -> None:
    """To how it was the day before, with what the service keeps beside the database."""
    with closing(Copy(log.early.server)) as copy:
        assert log.verdict(copy, kept=None) == Verdict(0, []), "which nothing in it can show"
        assert log.verdict(copy, kept=log.newest) == Verdict(1, [Found("log_rolled_back")])
        record(copy, 20)
        assert log.verdict(copy, kept=None) == Verdict(0, [])
        assert log.verdict(copy, kept=log.newest) == Verdict(1, [Found("log_rolled_back")])


def test_a_log_rolled_back_that_has_grown_since(log: Original, copy: Copy) -> None:
    """Beyond its old size: the same leaf has two histories."""
    with closing(Copy(log.early.server)) as again:
        record(again, copy.size() - again.size() + 20)
        assert log.verdict(again, kept=None) == Verdict(0, [])
        assert log.verdict(again, kept=log.newest) == Verdict(1, [Found("log_rewritten")])


def test_a_database_rolled_back_alone(log: Original) -> None:
    """The service has its copies of checkpoints, and signs no second history."""
    with closing(Copy(log.early.server, home=log.server.home)) as copy:
        record(copy, 20)
        assert log.verdict(copy, kept=log.newest) == Verdict(1, [Found("log_rolled_back")])
        assert copy.size() == log.kept_size, "not a leaf was added to what is broken"
        assert lead(copy) == BROKEN


def test_an_edited_tile(log: Original, copy: Copy) -> None:
    """The event is not what the tree now says, and the tree not what was signed. The sealer
    grows and signs the tree from the roots of full tiles, which were left as they were."""
    row = copy.row(57)
    copy.edit_hash(57, bytes(32))
    verdict = log.verdict(copy, kept=None)
    assert verdict.findings[:2] == [
        Found("event_altered", 57, row.id),
        Found("root_differs", copy.span_of(57)),
    ]
    assert verdict.exit_code == 1
    assert lead(copy) == SIGNED


def test_an_edited_tile_at_the_edge(log: Original, copy: Copy) -> None:
    leaf = copy.size() - 1
    row = copy.row(leaf)
    copy.edit_hash(leaf, bytes(32))
    verdict = log.verdict(copy, kept=None)
    assert verdict.findings[0] == Found("event_altered", leaf, row.id)
    assert verdict.kinds >= {"root_differs"}
    assert lead(copy) == BROKEN


def test_an_edited_tile_above_the_leaves(log: Original, copy: Copy) -> None:
    copy.tamper(
        "UPDATE strongroom.log_tiles SET hashes = overlay(hashes PLACING %s FROM 1)"
        " WHERE level = 1 AND tile_index = 0",
        bytes(32),
    )
    verdict = log.verdict(copy, kept=None)
    assert (verdict.exit_code, verdict.kinds) == (1, {"checkpoint_inconsistent"})
    assert lead(copy) == BROKEN


@pytest.mark.parametrize("level", [0, 1])
def test_a_deleted_tile(log: Original, copy: Copy, level: int) -> None:
    """Without it there is no bundle, and the command says why."""
    copy.tamper("DELETE FROM strongroom.log_tiles WHERE level = %s AND tile_index = 0", level)
    bundle = str(copy.server.directory / "bundle")
    done = command(copy, "export", "-o", bundle, "--since", str(log.kept))
    assert done.exit_code == 2
    assert f"tile 0 of level {level}" in done.output
    assert not (copy.server.directory / "bundle").exists()
    assert lead(copy) == (BROKEN if level else SIGNED)


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


def test_all_checkpoints_deleted(log: Original, copy: Copy) -> None:
    """The tree is as it was; it is signed again, and what was kept holds."""
    copy.tamper("DELETE FROM strongroom.log_checkpoints")
    assert log.verdict(copy, kept=log.kept) == Verdict(0, [])
    assert copy.checkpoint_sizes() == [copy.size()]


def test_the_newest_checkpoints_deleted(log: Original, copy: Copy) -> None:
    copy.tamper("DELETE FROM strongroom.log_checkpoints WHERE tree_size > %s", log.kept_size)
    assert log.verdict(copy, kept=log.newest) == Verdict(0, [])
    assert lead(copy) == SIGNED


def test_an_edited_note(log: Original, copy: Copy) -> None:
    middle = copy.checkpoint_sizes()[1]
    copy.tamper(
        "UPDATE strongroom.log_checkpoints SET note = replace(note, %s, %s) WHERE tree_size = %s",
        f"\n{middle}\n",
        f"\n{middle + 1}\n",
        middle,
    )
    verdict = log.verdict(copy, kept=None)
    assert (verdict.exit_code, verdict.kinds) == (1, {"signature_invalid"})
    assert lead(copy) == SIGNED, "it holds the tree against the newest alone"


def test_an_edited_newest_note(log: Original, copy: Copy) -> None:
    copy.tamper(
        "UPDATE strongroom.log_checkpoints SET note = replace(note, %s, %s)",
        ORIGIN,
        "another/log",
    )
    verdict = log.verdict(copy, kept=None)
    assert (verdict.exit_code, verdict.kinds) == (3, {"unknown_key"})
    assert lead(copy) == BROKEN


def test_a_checkpoint_of_a_tree_that_there_is_not(copy: Copy) -> None:
    copy.tamper(
        "INSERT INTO strongroom.log_checkpoints SELECT 9000, note, created_at"
        " FROM strongroom.log_checkpoints WHERE tree_size = %s",
        copy.checkpoint_sizes()[-1],
    )
    done = command(copy, "export", "-o", str(copy.server.directory / "bundle"))
    assert done.exit_code == 2
    assert "tile" in done.output
    assert lead(copy) == BROKEN


def test_a_tree_cut_short(log: Original, copy: Copy) -> None:
    copy.tamper("UPDATE strongroom.log_tree SET size = size - 10")
    assert log.verdict(copy, kept=log.newest) == Verdict(0, []), "the signed leaves are all there"
    assert lead(copy) == BROKEN


def test_what_the_next_sealer_makes_of_edited_events(copy: Copy) -> None:
    """It does not read sealed events again: that is the auditors' part."""
    copy.edit(57, principal="somebody-else")
    copy.delete(60)
    assert lead(copy) == SIGNED


@pytest.mark.parametrize("keep_anchors", [True, False])
def test_what_the_next_sealer_makes_of_a_rebuilt_tree(copy: Copy, keep_anchors: bool) -> None:
    """The copies of checkpoints beside the database betray it, where they are left."""
    copy.edit(57, principal="somebody-else")
    copy.rebuild(copy.signing_key)
    if not keep_anchors:
        copy.forget_anchors()
    assert lead(copy) == (BROKEN if keep_anchors else SIGNED)


def test_what_the_next_sealer_makes_of_another_key(copy: Copy) -> None:
    copy.edit(57, principal="somebody-else")
    copy.rebuild(OTHER_SIGNER)
    copy.forget_anchors()
    assert lead(copy) == BROKEN


def test_a_log_rolled_back_beneath_the_sealer(log: Original, copy: Copy) -> None:
    """It knows what it sealed, also where every copy beside the database is gone."""

    def roll_back() -> None:
        copy.forget_anchors()
        copy.roll_back(log.early)

    assert lead(copy, roll_back) == BROKEN
    assert copy.size() == log.kept_size


def test_a_tree_rebuilt_beneath_the_sealer(copy: Copy) -> None:
    """It knows what it signed."""

    def rebuild() -> None:
        copy.edit(57, principal="somebody-else")
        copy.rebuild(copy.signing_key)
        copy.forget_anchors()

    assert lead(copy, rebuild) == BROKEN
