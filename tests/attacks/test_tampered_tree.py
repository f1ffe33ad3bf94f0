"""What a superuser of the database can do to the log's tree and checkpoints, what auditors
find, and what the next sealer makes of it.

Each attack is done on a copy of a log that a real service made, and verified, as in
``test_tampered_events``. Where a sealer is asked, it is the copy's own.
"""

from contextlib import closing
from typing import Final

import pytest

from tests.attacks.log_copies import Copy
from tests.attacks.log_leads import Led, lead, record
from tests.attacks.tampered_log import Found, Original, Verdict, command
from tests.bundles import ORIGIN, OTHER_SIGNER

SIGNED: Final = Led(signed=True, broken=False, lines=set())
BROKEN: Final = Led(signed=False, broken=True, lines={"audit_log_broken"})


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
