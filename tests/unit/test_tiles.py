"""Tiles: what is in them, what a proof needs of them, and how they grow."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reference_log import entries, reader
from vault_service.domain.merkle import (
    EMPTY_ROOT,
    Frontier,
    NodeReader,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from vault_service.domain.tiles import (
    MissingTile,
    TileId,
    TileNodes,
    TreeGrowth,
    edge_tiles,
    tiles_for_consistency,
    tiles_for_inclusion,
    tiles_for_root,
)

MOST = 70_000
HASHES = [leaf_hash(entry) for entry in entries(MOST)]
SIZES = st.integers(1, MOST) | st.sampled_from([255, 256, 257, 65_535, 65_536, 65_537, MOST])


def _grown(size: int) -> TreeGrowth:
    growth = TreeGrowth(0, {})
    growth.extend(HASHES[:size])
    return growth


WHOLE = _grown(MOST).changed()
"""Every tile of the tree of 70,000 leaves."""


def _roots() -> list[bytes]:
    frontier, roots = Frontier(), [EMPTY_ROOT]
    for hashed in HASHES:
        frontier.append(hashed)
        roots.append(frontier.root())
    return roots


ROOTS = _roots()


def _tiles_of(size: int) -> dict[TileId, bytes]:
    """The tiles of the tree's first ``size`` leaves: what they hold of the whole tree's."""
    tiles: dict[TileId, bytes] = {}
    for (level, index), hashes in WHOLE.items():
        width = min(256, (size >> 8 * level) - 256 * index)
        if width > 0:
            tiles[level, index] = hashes[: 32 * width]
    return tiles


def test_a_tree_of_70_000_leaves_has_the_tiles_that_the_standard_names() -> None:
    widths = {tile: len(hashes) / 32 for tile, hashes in WHOLE.items()}  # C2SP tlog-tiles
    expected: dict[TileId, float] = {(0, index): 256 for index in range(273)}
    expected |= {(0, 273): 112, (1, 0): 256, (1, 1): 17, (2, 0): 1}
    assert widths == expected


def test_a_tree_of_256_leaves_has_a_full_tile_and_one_above_it() -> None:
    tiles = _grown(256).changed()
    assert {tile: len(hashes) for tile, hashes in tiles.items()} == {(0, 0): 8192, (1, 0): 32}


def test_a_tile_holds_leaf_hashes_or_the_roots_of_the_tiles_below() -> None:
    leaves = entries(600)
    tiles = _grown(600).changed()
    node = reader(leaves)
    assert tiles == {
        (0, 0): b"".join(HASHES[:256]),
        (0, 1): b"".join(HASHES[256:512]),
        (0, 2): b"".join(HASHES[512:600]),
        (1, 0): node(8, 0) + node(8, 1),
    }


def test_the_nodes_are_those_of_the_tree() -> None:
    leaves = entries(600)
    nodes, node = TileNodes(_grown(600).changed()), reader(leaves)
    for level in range(10):
        for index in range(600 >> level):
            assert nodes.node(level, index) == node(level, index)


@given(SIZES, st.lists(SIZES, max_size=3))
def test_a_tree_grows_from_its_edge_alone(size: int, stops: list[int]) -> None:
    """However it is cut into steps, the tiles are the same, and none is written that is
    neither new nor longer."""
    stored: dict[TileId, bytes] = {}
    old = 0
    for stop in [*sorted(stop for stop in stops if stop < size), size]:
        growth = TreeGrowth(old, {tile: stored[tile] for tile in edge_tiles(old)})
        assert growth.changed() == {}
        middle = (old + stop) // 2
        growth.extend(HASHES[old:middle])
        growth.extend(iter(HASHES[middle:stop]))
        assert (growth.size, growth.root()) == (stop, ROOTS[stop])
        changed = growth.changed()
        for tile, hashes in changed.items():
            before = stored.get(tile, b"")
            assert hashes.startswith(before)
            assert len(hashes) > len(before)
        stored |= changed
        old = stop
    assert stored == _tiles_of(size)


@given(SIZES, st.data())
def test_a_proof_is_made_from_the_tiles_it_names_and_needs_each(
    size: int, data: st.DataObject
) -> None:
    tiles = _tiles_of(size)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    makers: list[tuple[set[TileId], Callable[[NodeReader], Any]]] = [
        (tiles_for_inclusion(index, size), lambda node: inclusion_proof(index, size, node)),
        (tiles_for_consistency(old, size), lambda node: consistency_proof(old, size, node)),
        (tiles_for_root(size), lambda node: tree_root(size, node)),
    ]
    made = []
    for needed, make in makers:
        chosen = {tile: tiles[tile] for tile in needed}
        made.append(make(TileNodes(chosen).node))
        # Tiles that grew since serve as well.
        assert make(TileNodes({tile: WHOLE[tile] for tile in needed}).node) == made[-1]
        for tile in needed:
            without = {other: hashes for other, hashes in chosen.items() if other != tile}
            with pytest.raises(MissingTile, match=f"tile {tile[1]} of level {tile[0]} "):
                make(TileNodes(without).node)
    verify_inclusion(HASHES[index], index, size, made[0], ROOTS[size])
    verify_consistency(old, ROOTS[old], size, ROOTS[size], made[1])
    assert made[2] == ROOTS[size]


def test_a_proof_in_a_large_tree_needs_two_tiles_of_a_level_at_most() -> None:
    """Where the leaf is, and at the right edge."""
    assert tiles_for_inclusion(123_456, 1_000_000) == {
        (0, 482), (0, 3906), (1, 1), (1, 15), (2, 0)
    }  # fmt: skip
    for needed in (
        tiles_for_inclusion(2**62 + 12_345, 2**63 - 1),
        tiles_for_consistency(123_456, 1_000_000),
        tiles_for_consistency(2**62 + 12_345, 2**63 - 1),
    ):
        levels = [level for level, _ in needed]
        assert all(levels.count(level) <= 2 for level in levels)


def test_the_root_of_a_tree_is_above_its_edge() -> None:
    for size in (0, 1, 255, 256, 300, 65_536, 70_000, 2**40 + 5):
        assert tiles_for_root(size) == edge_tiles(size)
    assert edge_tiles(70_000) == {(0, 273), (1, 1), (2, 0)}
    assert edge_tiles(256) == {(1, 0)}
    assert edge_tiles(0) == set()


@pytest.mark.parametrize("spoil", ["gone", "short"])
@pytest.mark.parametrize("tile", sorted(edge_tiles(MOST)))
def test_a_tree_does_not_grow_from_an_edge_with_a_hole(tile: TileId, spoil: str) -> None:
    edge = {named: WHOLE[named] for named in edge_tiles(MOST)}
    if spoil == "gone":
        del edge[tile]
    else:
        edge[tile] = edge[tile][:-1]
    with pytest.raises(MissingTile):
        TreeGrowth(MOST, edge)


def test_hashes_beyond_the_tree_are_not_taken_over() -> None:
    edge = {tile: WHOLE[tile] for tile in edge_tiles(1000)}
    growth = TreeGrowth(1000, edge)
    growth.extend(HASHES[1:3])
    frontier = Frontier()
    for hashed in [*HASHES[:1000], *HASHES[1:3]]:
        frontier.append(hashed)
    assert growth.root() == frontier.root()


def test_what_is_not_a_hash_is_refused_and_nothing_is_added() -> None:
    growth = _grown(5)
    before = growth.changed()
    for wrong in ([HASHES[5], b""], [HASHES[5][:31], HASHES[6] + b"\x00"]):
        with pytest.raises(ValueError, match="hash"):
            growth.extend(wrong)
    assert (growth.size, growth.root(), growth.changed()) == (5, ROOTS[5], before)


def test_an_empty_tree_has_no_tiles() -> None:
    growth = TreeGrowth(0, {})
    growth.extend([])
    assert (growth.size, growth.root(), growth.changed()) == (0, EMPTY_ROOT, {})


def test_impossible_sizes_are_refused() -> None:
    for size in (-1, 2**63):
        for ask in (edge_tiles, tiles_for_root, lambda size: TreeGrowth(size, {})):
            with pytest.raises(ValueError, match="size"):
                ask(size)
    with pytest.raises(ValueError, match="size"):
        tiles_for_inclusion(5, 5)
    with pytest.raises(ValueError, match="size"):
        tiles_for_consistency(6, 5)


def test_tiles_can_be_looked_at_as_they_were_given() -> None:
    assert dict(TileNodes(WHOLE)) == WHOLE
    assert len(TileNodes(WHOLE)) == len(WHOLE)
