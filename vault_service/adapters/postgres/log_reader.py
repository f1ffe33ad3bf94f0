"""Reads events with their leaves. Implements
:class:`~vault_service.domain.transparency.LogReader`.

A single event is read as any other row, under its tenant. The whole log is read as an
auditor, who sees the events of every tenant; whose bodies are given out is said in each
statement.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from vault_service.adapters.postgres import log_statements as sql
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.failures import translated
from vault_service.adapters.postgres.schema import AUDITOR_ROLE
from vault_service.adapters.postgres.sealing_log import TreeRows
from vault_service.domain.archives import Month
from vault_service.domain.bundle import Reason
from vault_service.domain.tiles import TILE_WIDTH, TileId, TileNodes
from vault_service.domain.transparency import LoggedEvent, StoredCheckpoint

_MOST_ROWS: Final = 256
_MISSING: Final[tuple[Reason, bytes | None]] = ("missing", None)
_ROWS_BYTES: Final = 1 << 22
"""What is fetched at once: one event may have a megabyte, most have less than one kilobyte."""


class PostgresLogReader:
    """Reads the log of one database; ``whole`` is the way there of who may read all of it,
    where that is another login."""

    def __init__(self, database: Database, whole: Database | None = None) -> None:
        self._database = database
        self._whole = whole or database

    async def tiles(self, ids: Collection[TileId]) -> Mapping[TileId, bytes]:
        """See :class:`~vault_service.domain.transparency.TreeReader`."""
        async with self._tree() as tree:
            return await tree.tiles(ids)

    async def newest_checkpoint(self) -> StoredCheckpoint | None:
        """See :class:`~vault_service.domain.transparency.TreeReader`."""
        async with self._tree() as tree:
            return await tree.newest_checkpoint()

    async def event(self, tenant: str, event_id: str) -> LoggedEvent | None:
        """See :class:`~vault_service.domain.transparency.LogReader`."""
        async with self._database.transaction(tenant) as connection:
            row = (
                await connection.execute(sa.text(sql.EVENT), {"id": event_id, "tenant": tenant})
            ).first()
        return None if row is None else LoggedEvent(row[0], None, bytes(row[1]))

    async def is_archived(self, month: Month) -> bool:
        """See :class:`~vault_service.domain.transparency.LogReader`."""
        async with self._database.transaction() as connection:
            return bool(await connection.scalar(sa.text(sql.IS_ARCHIVED), {"month": month.first}))

    async def size(self) -> int:
        """See :class:`~vault_service.domain.transparency.LogReader`."""
        async with self._database.transaction() as connection:
            found: int = await connection.scalar(sa.text(sql.SIZE)) or 0
        return found

    async def want(self, size: int) -> None:
        """See :class:`~vault_service.domain.transparency.LogReader`."""
        async with self._database.transaction() as connection:
            await connection.execute(sa.text(sql.WANT), {"size": size})

    async def unsealed_since(self) -> datetime | None:
        """See :class:`~vault_service.domain.transparency.LogReader`."""
        async with self._database.transaction() as connection:
            found: datetime | None = await connection.scalar(sa.text(sql.UNSEALED_SINCE))
        return found

    @asynccontextmanager
    async def _tree(self) -> AsyncIterator[TreeRows]:
        """The tree's rows, which belong to no tenant: one statement each, where a transaction
        would be several, and a proof asks more than once."""
        with translated():
            async with self._database.hot_connection() as connection:
                yield TreeRows(connection)

    @asynccontextmanager
    async def contents(self) -> AsyncIterator["_Contents"]:
        """See :class:`~vault_service.domain.transparency.LogReader`."""
        async with AsyncExitStack() as stack:
            with translated():
                connection = await stack.enter_async_context(self._whole.dedicated(AUDITOR_ROLE))
                await connection.execute(sql.PATIENCE)
            yield _Contents(connection)


class _Contents(TreeRows):
    """The whole log over one connection."""

    async def checkpoints(self, after: int, upto: int) -> Sequence[StoredCheckpoint]:
        """See :class:`~vault_service.domain.transparency.LogContents`."""
        return [StoredCheckpoint(*row) for row in await self._rows(sql.CHECKPOINTS, (after, upto))]

    async def checkpoint_of(self, size: int) -> StoredCheckpoint | None:
        """See :class:`~vault_service.domain.transparency.LogContents`."""
        rows = await self._rows(sql.CHECKPOINT_OF, (size,))
        return StoredCheckpoint(*rows[0]) if rows else None

    async def first_leaf(self, since: datetime) -> int | None:
        """See :class:`~vault_service.domain.transparency.LogContents`."""
        [(found,)] = await self._rows(sql.FIRST_LEAF, (since,))
        return None if found is None else int(found)

    async def size_at(self, until: datetime) -> int:
        """See :class:`~vault_service.domain.transparency.LogContents`."""
        [(found,)] = await self._rows(sql.SIZE_AT, (until,))
        return int(found or 0)

    async def leaves(self, tenant: str | None, first: int, size: int) -> AsyncIterator[LoggedEvent]:
        """See :class:`~vault_service.domain.transparency.LogContents`."""
        nodes, count = TileNodes({}), _MOST_ROWS
        while first < size:
            high = min(size, (first // TILE_WIDTH + 1) * TILE_WIDTH)
            tile = (0, first // TILE_WIDTH)
            if tile not in nodes:
                nodes = TileNodes(await self.tiles([tile]))
            rows = await self._rows(sql.LEAVES, (tenant, tenant, first, high, count))
            found = {index: (why, body) for index, why, body in rows}
            # Rows that are missing from the table of leaves are not missing from the tree.
            end = rows[-1][0] + 1 if len(rows) == count else high
            for index in range(first, end):
                why, body = found.get(index, _MISSING)
                shown = body is not None
                yield LoggedEvent(index, nodes.node(0, index), body, None if shown else why)
            first, count = end, _fewer_if_large([body for _, _, body in rows])

    async def tail(self, tenant: str | None, size: int) -> AsyncIterator[bytes]:
        """See :class:`~vault_service.domain.transparency.LogContents`."""
        rows = await self._rows(sql.TAIL, (size, tenant, tenant, 1))
        while rows:
            for _, _, body in rows:
                yield body
            count = _fewer_if_large([body for _, _, body in rows])
            position, at, _ = rows[-1]
            rows = await self._rows(sql.MORE_TAIL, (position, at, size, tenant, tenant, count))


def _fewer_if_large(bodies: Sequence[bytes | None]) -> int:
    """How many rows to fetch next, going by the largest of the last."""
    largest = max((len(body) for body in bodies if body is not None), default=1)
    return max(1, min(_MOST_ROWS, _ROWS_BYTES // max(1, largest)))
