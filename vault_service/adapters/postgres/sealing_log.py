"""The log in the hands of its sealer. Implements
:class:`~vault_service.domain.transparency.SealingLog`.

Who leads is settled by an advisory lock of the connection that does all the writing:
where the connection is lost, so are the lock and whatever was under way. Beyond that,
each growth of the tree names the size that it starts from, so that no two can start from
the same.

Events get their positions before they are committed, so a lower one may show up after a
higher one. The numbers that were passed over are kept as gaps, and looked at again each
round until no transaction that could still fill them runs any more.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg

from vault_service.adapters.postgres import log_statements as sql
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.failures import translated
from vault_service.adapters.postgres.schema import SEALER_ROLE
from vault_service.domain.tiles import TileId
from vault_service.domain.transparency import Leaf, Overtaken, StoredCheckpoint, TreeState

_TRY_SECONDS: Final = 0.5
_GAP_SECONDS: Final = 120.0
"""How long a gap is kept at least: several times what a statement may take, for a number
can be drawn a moment before its transaction gets an id."""


class PostgresSealingLog:
    """Where the sealers of all processes compete. Numbers that were passed over are looked
    at for ``gap_seconds`` at least."""

    def __init__(self, database: Database, *, gap_seconds: float = _GAP_SECONDS) -> None:
        self._database = database
        self._gap_seconds = gap_seconds

    @asynccontextmanager
    async def lead(self, *, wait: bool = True) -> AsyncIterator["_Lead"]:
        """See :class:`~vault_service.domain.transparency.SealingLog`."""
        async with AsyncExitStack() as stack:
            with translated():
                connection = await stack.enter_async_context(self._database.dedicated(SEALER_ROLE))
                # Asked again and again: a statement that waited for the lock would keep the
                # database from tidying up behind itself.
                while not await _locked(connection):
                    if not wait:
                        raise Overtaken
                    await asyncio.sleep(_TRY_SECONDS)
            yield _Lead(connection, self._gap_seconds)


async def _locked(connection: psycopg.AsyncConnection[Any]) -> bool:
    row = await (await connection.execute(sql.TRY_LOCK, (sql.LOCK,))).fetchone()
    return row is not None and bool(row[0])


@dataclass(slots=True)
class _Gap:
    """Positions ``low`` to ``high`` that were passed over when the transactions before id
    ``horizon`` had begun, and no other had, at ``seen`` on the monotonic clock."""

    low: int
    high: int
    horizon: int
    seen: float


class TreeRows:
    """Reads the tree's rows over one connection."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def tiles(self, ids: Collection[TileId]) -> Mapping[TileId, bytes]:
        """See :class:`~vault_service.domain.transparency.TreeReader`."""
        if not ids:
            return {}
        levels, indexes = zip(*ids, strict=True)
        rows = await self._rows(sql.TILES, (list(levels), list(indexes)))
        return {(level, index): bytes(hashes) for level, index, hashes in rows}

    async def newest_checkpoint(self) -> StoredCheckpoint | None:
        """See :class:`~vault_service.domain.transparency.TreeReader`."""
        rows = await self._rows(sql.NEWEST_CHECKPOINT, ())
        return StoredCheckpoint(*rows[0]) if rows else None

    async def _rows(self, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        with translated():
            cursor = await self._connection.execute(
                statement, parameters, prepare=True, binary=True
            )
            return await cursor.fetchall()


class _Lead(TreeRows):
    """The log while this process leads."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], gap_seconds: float) -> None:
        super().__init__(connection)
        self._gap_seconds = gap_seconds
        self._highest = -1
        self._gaps: list[_Gap] = []

    async def state(self) -> TreeState:
        """See :class:`~vault_service.domain.transparency.Sealing`."""
        [(size, settled, wanted)] = await self._rows(sql.STATE, ())
        if self._highest < 0:
            await self._take_over(settled)
        return TreeState(size, wanted)

    async def _take_over(self, settled: int) -> None:
        """Find the gaps that the sealer before this one was still looking at."""
        rows = await self._rows(sql.SEALED_AFTER, (settled,))
        await self._pass(settled, [position for (position,) in rows])
        self._highest = rows[-1][0] if rows else settled

    async def unsealed(self, limit: int) -> Sequence[Leaf]:
        """See :class:`~vault_service.domain.transparency.Sealing`."""
        late: list[Any] = []
        if self._gaps:
            lows, highs = [gap.low for gap in self._gaps], [gap.high for gap in self._gaps]
            [(oldest,)] = await self._rows(sql.OLDEST, ())
            late = await self._rows(sql.LATE_EVENTS, (lows, highs, limit, limit))
            if len(late) < limit:
                # Looked at after the transactions: what was still running is not forgotten.
                self._forget_gaps(oldest)
        new = await self._rows(sql.NEW_EVENTS, (self._highest, limit - len(late)))
        return [Leaf(position, at, bytes(digest)) for position, at, digest in (*late, *new)]

    async def extend(
        self, old_size: int, leaves: Sequence[Leaf], tiles: Mapping[TileId, bytes]
    ) -> None:
        """See :class:`~vault_service.domain.transparency.Sealing`."""
        highest, gaps = self._highest, self._gaps
        self._fill({leaf.position for leaf in leaves})
        new = [leaf.position for leaf in leaves if leaf.position > highest]
        await self._pass(highest, new)
        self._highest = new[-1] if new else highest
        try:
            await self._write(old_size, leaves, tiles)
        except BaseException:
            self._highest, self._gaps = highest, gaps
            raise

    async def _write(
        self, old_size: int, leaves: Sequence[Leaf], tiles: Mapping[TileId, bytes]
    ) -> None:
        settled = min((gap.low - 1 for gap in self._gaps), default=self._highest)
        levels = [level for level, _ in tiles]
        indexes = [index for _, index in tiles]
        with translated():
            async with self._connection.transaction():
                grown = await self._connection.execute(
                    sql.GROW, (old_size + len(leaves), settled, old_size), prepare=True
                )
                if grown.rowcount != 1:
                    raise Overtaken
                await self._connection.execute(
                    sql.ADD_LEAVES,
                    (
                        old_size,
                        [leaf.position for leaf in leaves],
                        [leaf.occurred_at for leaf in leaves],
                    ),
                    prepare=True,
                )
                await self._connection.execute(
                    sql.WRITE_TILES, (levels, indexes, list(tiles.values())), prepare=True
                )

    async def keep_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """See :class:`~vault_service.domain.transparency.Sealing`."""
        with translated():
            await self._connection.execute(
                sql.KEEP_CHECKPOINT, (checkpoint.size, checkpoint.note, checkpoint.created_at)
            )

    async def loose_checkpoints(self, limit: int) -> Sequence[StoredCheckpoint]:
        """See :class:`~vault_service.domain.transparency.Sealing`."""
        return [StoredCheckpoint(*r) for r in await self._rows(sql.LOOSE_CHECKPOINTS, (limit,))]

    async def anchored(self, size: int, at: datetime) -> None:
        """See :class:`~vault_service.domain.transparency.Sealing`."""
        with translated():
            await self._connection.execute(sql.ANCHORED, (at, size))

    async def ensure_partitions(self) -> None:
        """See :class:`~vault_service.domain.transparency.Sealing`."""
        with translated():
            await self._connection.execute(sql.ENSURE_PARTITIONS)

    async def _pass(self, highest: int, positions: Sequence[int]) -> None:
        """Remember the numbers that ``positions``, ascending above ``highest``, pass over."""
        found: list[tuple[int, int]] = []
        for position in positions:
            if position > highest + 1:
                found.append((highest + 1, position - 1))
            highest = position
        if found:
            [(horizon,)] = await self._rows(sql.HORIZON, ())
            now = time.monotonic()
            self._gaps = [*self._gaps, *(_Gap(low, high, horizon, now) for low, high in found)]

    def _forget_gaps(self, oldest: int) -> None:
        """Drop the gaps that no transaction can fill: all that ran then have ended."""
        before = time.monotonic() - self._gap_seconds
        self._gaps = [g for g in self._gaps if g.horizon > oldest or g.seen > before]

    def _fill(self, positions: set[int]) -> None:
        """Take late positions out of the gaps they were in."""
        left: list[_Gap] = []
        for gap in self._gaps:
            low = gap.low
            for position in sorted(p for p in positions if gap.low <= p <= gap.high):
                if position > low:
                    left.append(_Gap(low, position - 1, gap.horizon, gap.seen))
                low = position + 1
            if low <= gap.high:
                left.append(_Gap(low, gap.high, gap.horizon, gap.seen))
        self._gaps = left
