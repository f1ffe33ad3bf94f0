"""Takes archived months off the log, as the owner of its tables. Implements
:class:`~vault_service.domain.archives.LogArchives`.

A month's partition is detached. For that every insert and every reader waits, and whoever
reads for long is waited for: so it is tried for a quarter of a second at a time. A month
that lies in the default partition is moved out of it row by row.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import psycopg

from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.failures import translated
from vault_service.adapters.postgres.schema import OWNER_ROLE
from vault_service.domain.archives import Archive, LogBusy, Month, MonthAtHand, MonthChanged
from vault_service.domain.errors import ConfigurationError

_LOCK: Final = 0x41726368697665  # any number of our own
_TRY_LOCK: Final = "SELECT pg_try_advisory_lock(%s)"
_PATIENCE: Final = (
    "SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '250ms', false)"
)
_TRIES: Final = 5
_PAUSE_SECONDS: Final = 1.0
_MONTH: Final = "date_trunc('month', e.occurred_at AT TIME ZONE 'UTC')::date"
_DUE: Final = (
    f"SELECT {_MONTH}, count(*), count(*) FILTER (WHERE l.leaf_index IS NULL"
    " OR l.leaf_index >= coalesce((SELECT max(tree_size) FROM strongroom.log_checkpoints), 0)),"
    " min(l.leaf_index), max(l.leaf_index), max(e.position)"
    " FROM strongroom.audit_events AS e"
    " LEFT JOIN strongroom.log_leaves AS l USING (position, occurred_at)"
    f" WHERE e.occurred_at < %s AND {_MONTH} NOT IN (SELECT month FROM strongroom.log_archives)"
    " GROUP BY 1 ORDER BY 1"
)
_LEAVES: Final = (
    "SELECT leaf_index FROM strongroom.log_leaves WHERE leaf_index > %s"
    " AND occurred_at >= %s AND occurred_at < %s ORDER BY leaf_index LIMIT %s"
)
_RECORD: Final = (
    "INSERT INTO strongroom.log_archives"
    " (month, first_leaf, last_leaf, events, sha256, archived_at)"
    " VALUES (%s, %s, %s, %s, %s, now())"
)
_IS_PARTITION: Final = (
    "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(%s)"
    " AND inhparent = 'strongroom.audit_events'::regclass)"
)
_DETACHED: Final = (
    "SELECT month, first_leaf, last_leaf, events, sha256 FROM strongroom.log_archives"
    " WHERE to_regclass('strongroom.audit_events_' || to_char(month, 'YYYY_MM')) IS NOT NULL"
    " ORDER BY month"
)
# Segments of the index of which no event is left in the log; see migrations/0004.
_FORGET: Final = (
    "WITH gone AS (DELETE FROM strongroom.event_segments AS s WHERE NOT EXISTS (SELECT"
    " FROM strongroom.audit_events AS e WHERE e.position > s.after_position"
    " AND e.position <= s.last_position AND e.occurred_at BETWEEN s.first_at AND s.last_at)"
    " AND last_position < (SELECT max(last_position) FROM strongroom.event_segments)"
    " RETURNING last_position)"
    " DELETE FROM strongroom.event_postings AS p USING gone"
    " WHERE p.last_position = gone.last_position"
)
# A table as add_audit_partition makes it, but for its place in the log.
_MAKE: Final = (
    "CREATE TABLE {} (LIKE strongroom.audit_events INCLUDING STORAGE)",
    "ALTER TABLE {} ENABLE ROW LEVEL SECURITY",
    "CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {}"
    " FOR EACH STATEMENT EXECUTE FUNCTION strongroom.refuse_change()",
)
_DEFAULT: Final = "strongroom.audit_events_default"
_MOVE: Final = (
    f"WITH moved AS (DELETE FROM {_DEFAULT} WHERE occurred_at >= %s AND occurred_at < %s"
    " RETURNING *) INSERT INTO {} SELECT * FROM moved"
)
_TRIGGER: Final = f"ALTER TABLE {_DEFAULT} {{}} TRIGGER audit_events_append_only"


@asynccontextmanager
async def open_archives(url: str) -> AsyncIterator["PostgresLogArchives"]:
    """The log at the URL of the login that migrates, held by one command at a time:
    :class:`ConfigurationError` while another has it. Raises ``database_unavailable``, and
    ``internal`` where the login is not the owner's."""
    async with AsyncExitStack() as stack:
        with translated():
            connection = await stack.enter_async_context(Database(url).dedicated(OWNER_ROLE))
            await connection.execute(_PATIENCE)
            row = await (await connection.execute(_TRY_LOCK, (_LOCK,))).fetchone()
        if row is None or not row[0]:
            raise ConfigurationError("Another command is archiving; wait for it to end.")
        yield PostgresLogArchives(connection)


class PostgresLogArchives:
    """The log over one connection of its owner."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def due(self, before: Month) -> Sequence[MonthAtHand]:
        """See :class:`~vault_service.domain.archives.LogArchives`."""
        rows = await self._rows(_DUE, (before.start,))
        return [MonthAtHand(Month(first), *rest) for first, *rest in rows]

    async def leaves(self, month: Month, after: int, limit: int) -> Sequence[int]:
        """See :class:`~vault_service.domain.archives.LogArchives`."""
        rows = await self._rows(_LEAVES, (after, month.start, month.end, limit))
        return [leaf for (leaf,) in rows]

    async def detached(self) -> Sequence[Archive]:
        """See :class:`~vault_service.domain.archives.LogArchives`."""
        rows = await self._rows(_DETACHED, ())
        return [Archive(Month(first), *rest) for first, *rest in rows]

    async def take_off(self, archive: Archive, last_position: int, *, drop: bool) -> None:
        """See :class:`~vault_service.domain.archives.LogArchives`."""
        with translated():
            for _ in range(_TRIES):
                try:
                    await self._take_off(archive, last_position, drop)
                    return await self._run(_FORGET)
                except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                    await asyncio.sleep(_PAUSE_SECONDS)
        raise LogBusy

    async def _take_off(self, archive: Archive, last_position: int, drop: bool) -> None:
        month, table = archive.month, self.table(archive.month)
        async with self._connection.transaction():
            if (await self._rows(_IS_PARTITION, (table,)))[0][0]:
                await self._run(f"ALTER TABLE strongroom.audit_events DETACH PARTITION {table}")
            else:
                await self._move(month)
            late = f"SELECT EXISTS (SELECT FROM {table} WHERE position > %s)"
            if (await self._rows(late, (last_position,)))[0][0]:
                raise MonthChanged
            leaves = (archive.first_leaf, archive.last_leaf)
            await self._run(_RECORD, (month.first, *leaves, archive.events, archive.sha256))
            if drop:
                await self._run(f"DROP TABLE {table}")

    async def _move(self, month: Month) -> None:
        table = self.table(month)
        for statement in _MAKE:
            await self._run(statement.format(table))
        await self._run(_TRIGGER.format("DISABLE"))
        await self._run(_MOVE.format(table), (month.start, month.end))
        await self._run(_TRIGGER.format("ENABLE"))

    async def drop(self, month: Month) -> None:
        """See :class:`~vault_service.domain.archives.LogArchives`."""
        with translated():
            await self._run(f"DROP TABLE {self.table(month)}")

    def table(self, month: Month) -> str:
        """See :class:`~vault_service.domain.archives.LogArchives`."""
        return f"strongroom.audit_events_{month.first:%Y_%m}"

    async def _run(self, statement: str, parameters: tuple[Any, ...] | None = None) -> None:
        # Names in it are of our own making; what comes from elsewhere is a parameter.
        await self._connection.execute(statement.encode(), parameters)

    async def _rows(self, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        with translated():
            cursor = await self._connection.execute(statement.encode(), parameters, binary=True)
            return await cursor.fetchall()
