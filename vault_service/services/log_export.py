"""Writes a stretch of the log as a bundle that can be verified offline (docs/audit-log.md).

The bundle ends at a signed checkpoint. Events that no checkpoint in it covers stand after
the leaves, so that it holds every event there is, wherever somebody may have put it.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import msgspec

from vault_service.domain import bundle
from vault_service.domain.errors import Code, FieldError, VaultError
from vault_service.domain.merkle import consistency_proof, frontier_nodes
from vault_service.domain.notes import VerifierKey
from vault_service.domain.tiles import MissingTile, TileNodes, tiles_for_consistency, tiles_for_root
from vault_service.domain.transparency import (
    LogContents,
    LoggedEvent,
    StoredCheckpoint,
    TreeReader,
)

_JOINED_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which stretch of the log: events from ``since`` until just before ``until`` (UTC), or
    from leaf ``first`` on. ``kept`` is the size of a checkpoint that the reader has from
    before, which the bundle is to be connected with."""

    since: datetime | None = None
    until: datetime | None = None
    first: int | None = None
    kept: int | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a bundle will hold: leaves ``first`` up to the last checkpoint's size, and, where
    it is ``open_ended``, what is not signed yet. There is at least one checkpoint."""

    first: int
    checkpoints: Sequence[StoredCheckpoint]
    kept: int | None
    open_ended: bool

    @property
    def size(self) -> int:
        """Leaves of the tree that the last checkpoint signs."""
        return self.checkpoints[-1].size


async def plan(contents: LogContents, wanted: Wanted) -> Stretch:
    """Where the wanted stretch lies. Raises ``not_found`` where nothing is signed yet and
    ``invalid_request`` for a beginning that lies beyond what is."""
    newest = await contents.newest_checkpoint()
    if newest is None:
        raise VaultError(Code.NOT_FOUND, "Nothing is sealed yet; ask again in a minute.")
    first = wanted.first or 0
    if wanted.since is not None:
        found = await contents.first_leaf(wanted.since)
        first = max(first, newest.size if found is None else min(found, newest.size))
    if first > newest.size:
        detail = "So many leaves are not signed yet; the log may have been rolled back."
        raise VaultError(
            Code.INVALID_REQUEST, detail, errors=(FieldError("cursor", "range", detail),)
        )
    size = newest.size
    if wanted.until is not None:
        size = min(size, max(first, await contents.size_at(wanted.until)))
    covered = await covering(contents, first, size)
    kept = wanted.kept if wanted.kept and wanted.kept <= covered.size else None
    return replace(covered, kept=kept, open_ended=wanted.until is None)


async def covering(contents: LogContents, first: int, size: int) -> Stretch:
    """The stretch from leaf ``first`` to the first checkpoint of at least ``size`` leaves;
    ``not_found`` where none is so large."""
    last = await contents.checkpoint_of(max(size, 1))
    if last is None:
        raise VaultError(
            Code.NOT_FOUND, "So many leaves are not signed yet; ask again in a minute."
        )
    # The checkpoint at the very beginning, if there is one, connects to the bundle before.
    before = await contents.checkpoints(max(first - 1, 0), last.size - 1)
    return Stretch(first, [*before, last], None, open_ended=False)


async def write(
    contents: LogContents,
    stretch: Stretch,
    *,
    tenant: str | None,
    origin: str,
    key: VerifierKey,
) -> AsyncGenerator[bytes, None]:
    """The bundle's lines, some at a time, with the events of ``tenant`` (``None``: of all).
    Holds a few events in memory. Raises ``audit_unavailable`` where the tree in the database
    is not whole, so that nothing can be shown."""
    joined: list[bytes] = []
    length = 0
    try:
        async for line in _lines(contents, stretch, tenant, origin, key):
            encoded = bundle.encode(line)
            joined.append(encoded)
            length += len(encoded)
            if length >= _JOINED_BYTES:
                yield b"".join(joined)
                joined.clear()
                length = 0
    except MissingTile as missing:
        raise VaultError(
            Code.AUDIT_UNAVAILABLE,
            f"The log's tree is damaged, {missing}, so that it cannot be exported; restore the"
            " tables log_tiles and log_checkpoints from a backup and find out who changed them.",
        ) from None
    yield b"".join(joined)


async def _lines(
    contents: LogContents, stretch: Stretch, tenant: str | None, origin: str, key: VerifierKey
) -> AsyncIterator[bundle.Line]:
    yield await _header(contents, stretch, tenant, origin, key)
    leaves = events = unsealed = 0
    size, previous = stretch.first, None
    for checkpoint in stretch.checkpoints:
        async for logged in contents.leaves(tenant, size, checkpoint.size):
            line = _leaf(logged)
            leaves += 1
            events += isinstance(line, bundle.Event)
            yield line
        proof = () if previous is None else await _extension(contents, previous, checkpoint.size)
        yield bundle.Checkpoint(checkpoint.size, proof, checkpoint.note)
        size = previous = checkpoint.size
    if stretch.open_ended:
        async for body in contents.tail(tenant, size):
            unsealed += 1
            yield bundle.Unsealed(body)
    yield bundle.End(leaves, events, unsealed)


async def _header(
    contents: LogContents, stretch: Stretch, tenant: str | None, origin: str, key: VerifierKey
) -> bundle.Header:
    nodes = TileNodes(await contents.tiles(tiles_for_root(stretch.first)))
    header = bundle.Header(
        v=1,
        origin=origin,
        scope=bundle.WHOLE_LOG if tenant is None else tenant,
        first=stretch.first,
        left=tuple(frontier_nodes(stretch.first, nodes.node)),
        key=key.encode(),
    )
    if stretch.kept is None:
        return header
    proof = await _extension(contents, stretch.kept, stretch.size)
    return msgspec.structs.replace(header, since=bundle.Since(stretch.kept, proof))


async def _extension(reader: TreeReader, old: int, new: int) -> tuple[bytes, ...]:
    nodes = TileNodes(await reader.tiles(tiles_for_consistency(old, new)))
    return tuple(consistency_proof(old, new, nodes.node))


def _leaf(logged: LoggedEvent) -> bundle.Event | bundle.Withheld:
    assert logged.leaf_index is not None
    assert logged.hash is not None
    if logged.body is None:
        return bundle.Withheld(logged.leaf_index, logged.hash, logged.why or "missing")
    return bundle.leaf_line(logged.leaf_index, logged.hash, logged.body)
