"""Connections: an SQLAlchemy engine for ordinary work, a psycopg pool for the hot path.

Every connection takes the role ``strongroom_service`` for its whole life, whoever
logged in, so grants and row-level security hold even where an operator hands over a
superuser's URL (PCI-DSS 7.2.5). The tenant is set for one transaction at a time.
"""

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg
import psycopg_pool
import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from vault_service.adapters.postgres.access import Access, Door
from vault_service.adapters.postgres.binary import register
from vault_service.adapters.postgres.failures import translated
from vault_service.adapters.postgres.schema import SCHEMA, SERVICE_ROLE, TENANT_SETTING

# Partitions make a short query look long to the planner: starting workers or compiling it
# would take longer than the query.
_SETTINGS: Final = (
    f"set_config('search_path', '{SCHEMA}', false),"
    " set_config('statement_timeout', '15s', false),"
    " set_config('lock_timeout', '5s', false),"
    " set_config('jit', 'off', false),"
    " set_config('max_parallel_workers_per_gather', '0', false),"
    " set_config('idle_in_transaction_session_timeout', '30s', false),"
    " set_config('timezone', 'UTC', false)"
)
_SOON_MISSED: Final = (
    "set_config('tcp_keepalives_idle', '10', false),"
    " set_config('tcp_keepalives_interval', '5', false),"
    " set_config('tcp_keepalives_count', '3', false)"
)
"""The server ends the session of a host that died within half a minute, and its locks."""
_SESSION: Final = f"SELECT set_config('role', '{SERVICE_ROLE}', false), {_SETTINGS}"
_SET_TENANT: Final = sa.text(f"SELECT set_config('{TENANT_SETTING}', :tenant, true)")
_BY_INDEX: Final = f"{_SESSION}, set_config('enable_seqscan', 'off', false)"
"""Hot statements read by keys alone. What they are planned like is kept, and may be planned
while a table is nearly empty: reading all of it must not be taken for the quickest way."""
_NO_TENANT: Final = "-"
"""The tenant of events that belong to none, such as failed authentication."""


class Database:
    """One process's access to the database. ``open`` before use, ``close`` at the end."""

    def __init__(
        self, access: Access | str, *, hot_connections: int = 6, ordinary_connections: int = 4
    ) -> None:
        self._door = Door(Access(access) if isinstance(access, str) else access)
        self.engine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=self._ordinary_connection,
            pool_size=ordinary_connections,
            max_overflow=0,
            pool_timeout=5,
            pool_pre_ping=True,
            hide_parameters=True,
        )
        sa.event.listen(self.engine.sync_engine, "connect", _begin_session)
        self.pool = psycopg_pool.AsyncConnectionPool(
            self._door.conninfo,
            min_size=1,
            max_size=hot_connections,
            timeout=5,
            max_waiting=2048,
            open=False,
            configure=self._begin_pooled_session,
            kwargs={"autocommit": True, "connect_timeout": 5, "prepare_threshold": 0},
            reconnect_timeout=30,
        )

    def __repr__(self) -> str:
        return f"Database({self._door!r})"

    async def open(self) -> None:
        """Open the pools without waiting for a connection: a database that is away at
        the start is a matter of readiness, not of starting."""
        await self.pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self.pool.close()
        await self.engine.dispose()
        self._door.close()

    @asynccontextmanager
    async def hot_connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A pooled connection; whatever it is left in is rolled back.

        One that the server ended while it lay idle (a restart, a fail-over, an operator)
        is replaced first: a write that was sent on it could not be repeated, for nobody
        would know whether it was committed. Raises the driver's and the pool's errors.
        """
        connection = await self.pool.getconn()
        while _was_ended(connection):
            await connection.close()
            await self.pool.putconn(connection)
            connection = await self.pool.getconn()
        try:
            yield connection
        finally:
            try:
                if connection.info.transaction_status not in (
                    TransactionStatus.IDLE,
                    TransactionStatus.UNKNOWN,
                ):
                    await connection.rollback()
            finally:
                await self.pool.putconn(connection)

    @asynccontextmanager
    async def dedicated(self, role: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection of its own that acts as ``role`` (the sealer or an auditor), closed
        at the end of the block. Commits each statement by itself. Raises the driver's
        errors, also where the login may not take on the role."""
        connection = await self._door.connect(autocommit=True, prepare_threshold=0)
        try:
            register(connection)
            await connection.execute(
                f"SELECT set_config('role', '{role}', false), {_SETTINGS}, {_SOON_MISSED}"
            )
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def transaction(self, tenant: str | None = None) -> AsyncIterator[AsyncConnection]:
        """One transaction that sees ``tenant`` alone (``None``: events of no tenant).

        Commits at the end of the block, rolls back on an exception. Raises
        ``database_unavailable`` or ``internal``, never a driver's error.
        """
        with translated():
            async with self.engine.begin() as connection:
                await connection.execute(_SET_TENANT, {"tenant": tenant or _NO_TENANT})
                yield connection

    async def _ordinary_connection(self) -> psycopg.AsyncConnection[Any]:
        return await self._door.connect(prepare_threshold=2)

    async def _begin_pooled_session(self, connection: psycopg.AsyncConnection[Any]) -> None:
        await self._door.admit(connection)
        register(connection)
        await connection.execute(_BY_INDEX)


def _was_ended(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether the server has said something unasked: on an idle connection that listens
    to nothing, this is its farewell."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _begin_session(connection: Any, _record: object) -> None:
    register(connection.driver_connection)
    cursor = connection.cursor()
    cursor.execute(_SESSION)
    cursor.close()
    connection.commit()
