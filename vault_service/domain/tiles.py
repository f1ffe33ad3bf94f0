"""The log's tree as tiles, from which proofs are made without reading the leaves.

C2SP tlog-tiles: a tile holds up to 256 hashes of 32 bytes, one after the other. Tiles of
level 0 hold leaf hashes; a hash in a tile of level n is the root of a full tile of level
n - 1. A tile with less than 256 hashes is partial; each level has at most one, its last,
and an empty one is not kept. Where a hash is in a tile, it never changes.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from vault_service.domain.merkle import (
    HASH_SIZE,
    MAX_SIZE,
    NodeReader,
    consistency_proof,
    inclusion_proof,
    tree_root,
)

TileId = tuple[int, int]
"""Level and index of a tile."""

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
_TILE_BYTES: Final = TILE_WIDTH * HASH_SIZE
_sha256 = hashlib.sha256


class MissingTile(LookupError):
    """A tile that is needed is not there, or too short."""

    def __init__(self, tile: TileId) -> None:
        level, index = tile
        super().__init__(f"tile {index} of level {level} is missing or too short")


class TileNodes(Mapping[TileId, bytes]):
    """Tiles as the nodes of the tree: :meth:`node` is a
    :data:`~vault_service.domain.merkle.NodeReader`. A tile may hold more hashes than the
    tree in question had leaves for."""

    __slots__ = ("_tiles",)

    def __init__(self, tiles: Mapping[TileId, bytes]) -> None:
        self._tiles = tiles

    def __getitem__(self, tile: TileId) -> bytes:
        return self._tiles[tile]

    def __iter__(self) -> Iterator[TileId]:
        return iter(self._tiles)

    def __len__(self) -> int:
        return len(self._tiles)

    def node(self, level: int, index: int) -> bytes:
        """The hash of the ``index``-th perfect subtree of ``2**level`` leaves; raises
        :class:`MissingTile` where a hash for it is not there."""
        tile, first, width = _place(level, index)
        hashes = self._tiles.get(tile, b"")[first * HASH_SIZE : (first + width) * HASH_SIZE]
        if len(hashes) != width * HASH_SIZE:
            raise MissingTile(tile)
        return _perfect_root(hashes)


class TreeGrowth:
    """Appends leaf hashes to a tree of ``size`` leaves.

    ``edge`` has the tiles that :func:`edge_tiles` names; hashes in them beyond ``size``
    are not of this tree and are dropped. Raises :class:`MissingTile` where one is not
    there or too short, :class:`ValueError` for an impossible size.
    """

    __slots__ = ("_full", "_old_size", "_partial", "_size")

    def __init__(self, size: int, edge: Mapping[TileId, bytes]) -> None:
        self._old_size = self._size = size
        self._full: dict[TileId, bytes] = {}
        self._partial: list[bytes] = []
        for tile, width in _edges(size):
            hashes = edge.get(tile, b"")[: width * HASH_SIZE]
            if len(hashes) != width * HASH_SIZE:
                raise MissingTile(tile)
            self._partial.append(hashes)

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._size

    def extend(self, leaf_hashes: Iterable[bytes]) -> None:
        """Add leaves by their hashes, in order; :class:`ValueError`, and none is added,
        where one is not 32 bytes."""
        leaves = list(leaf_hashes)
        if not set(map(len, leaves)) <= {HASH_SIZE}:
            raise ValueError("not a hash")
        self._add(0, b"".join(leaves))
        self._size += len(leaves)

    def changed(self) -> dict[TileId, bytes]:
        """The tiles that are new or longer than in the tree this began with, whole."""
        tiles = dict(self._full)
        for level, index in edge_tiles(self._size):
            below = TILE_HEIGHT * level
            if self._size >> below != self._old_size >> below:
                tiles[level, index] = self._partial[level]
        return tiles

    def root(self) -> bytes:
        """The root of the tree so far."""
        edge = {tile: self._partial[tile[0]] for tile in edge_tiles(self._size)}
        return tree_root(self._size, TileNodes(edge).node)

    def _add(self, level: int, hashes: bytes) -> None:
        if level == len(self._partial):
            self._partial.append(b"")
        (_, index), _ = _edge(self._size, level)
        hashes = self._partial[level] + hashes
        roots: list[bytes] = []
        end = len(hashes) - len(hashes) % _TILE_BYTES
        for start in range(0, end, _TILE_BYTES):
            tile = hashes[start : start + _TILE_BYTES]
            self._full[level, index] = tile
            index += 1
            roots.append(_perfect_root(tile))
        self._partial[level] = hashes[end:]
        if roots:
            self._add(level + 1, b"".join(roots))


def edge_tiles(size: int) -> set[TileId]:
    """The partial tiles of a tree of ``size`` leaves, which new leaves would lengthen;
    :class:`ValueError` for an impossible size."""
    return {tile for tile, width in _edges(size) if width}


def tiles_for_root(size: int) -> set[TileId]:
    """The tiles that :func:`~vault_service.domain.merkle.tree_root` needs."""
    return _asked(lambda node: tree_root(size, node))


def tiles_for_inclusion(index: int, size: int) -> set[TileId]:
    """The tiles that :func:`~vault_service.domain.merkle.inclusion_proof` needs; raises
    :class:`ValueError` as that does."""
    return _asked(lambda node: inclusion_proof(index, size, node))


def tiles_for_consistency(old: int, new: int) -> set[TileId]:
    """The tiles that :func:`~vault_service.domain.merkle.consistency_proof` needs; raises
    :class:`ValueError` as that does."""
    return _asked(lambda node: consistency_proof(old, new, node))


def _asked(prove: Callable[[NodeReader], object]) -> set[TileId]:
    # The proof itself says what it needs, so that the two cannot differ.
    tiles: set[TileId] = set()

    def node(level: int, index: int) -> bytes:
        tiles.add(_place(level, index)[0])
        return b""

    prove(node)
    return tiles


def _place(level: int, index: int) -> tuple[TileId, int, int]:
    """The tile that a node is computed from, the first hash and how many."""
    tile_level, height = divmod(level, TILE_HEIGHT)
    tile_index, first = divmod(index << height, TILE_WIDTH)
    return (tile_level, tile_index), first, 1 << height


def _edge(size: int, level: int) -> tuple[TileId, int]:
    """The tile at the right edge of a level, and how many hashes it has there."""
    index, width = divmod(size >> TILE_HEIGHT * level, TILE_WIDTH)
    return (level, index), width


def _edges(size: int) -> list[tuple[TileId, int]]:
    """The same for every level that a tree of this size has tiles on, from 0 up."""
    if not 0 <= size <= MAX_SIZE:
        raise ValueError("no tree has this size")
    levels = -(-size.bit_length() // TILE_HEIGHT)
    return [_edge(size, level) for level in range(levels)]


def _perfect_root(hashes: bytes) -> bytes:
    """The root over a power of two of hashes (RFC 6962 2.1)."""
    sha256 = _sha256
    while len(hashes) > HASH_SIZE:
        hashes = b"".join(
            [
                sha256(b"\x01" + hashes[pair : pair + 2 * HASH_SIZE]).digest()
                for pair in range(0, len(hashes), 2 * HASH_SIZE)
            ]
        )
    return hashes
