"""A plan that was kept while the table was nearly empty is not used up on a full one.

A new installation is loaded within minutes, before PostgreSQL has counted any row: whoever
read the whole table for each value then would take longer with every one.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest

from tests.conftest import DatabaseUrls
from tests.stored import Counted, index, make, put, sessions_ended
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.adapters.postgres.token_store import PostgresTokenStore

_OFTEN = 12
"""From the sixth execution on, PostgreSQL may keep one plan for all parameters."""
_ROWS = 200_000
_FILL = """
INSERT INTO strongroom.tokens (tenant, token, data_class, key_id, ciphertext, blind_index,
    index_key_id, created_at)
SELECT 'main', 'tok_pan_' || n, 'pan', 7, '\\x00', sha256(n::text::bytea), 8, now()
FROM generate_series(1, %s) AS n
"""
_READ = """
SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'tokens'
"""


@pytest.fixture
async def owner(empty_database: DatabaseUrls) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    await asyncio.to_thread(upgrade, empty_database.migrator_url)
    async with await psycopg.AsyncConnection.connect(
        empty_database.superuser_url, autocommit=True
    ) as connection:
        # Its own counting would put things right some time, and hide what is looked for.
        await connection.execute("ALTER TABLE strongroom.tokens SET (autovacuum_enabled = false)")
        yield connection


Reading = Callable[[PostgresTokenStore, list[str]], Awaitable[object]]


async def _fetched(store: PostgresTokenStore, names: list[str]) -> object:
    return await store.fetch("main", [f"tok_pan_{name}" for name in names])


async def _found(store: PostgresTokenStore, names: list[str]) -> object:
    return await store.find("main", [index("main", name) for name in names])


async def _stored_again(store: PostgresTokenStore, names: list[str]) -> object:
    """Known values with a subject: found, and their rows changed."""
    batch = make("main", names, subjects={name: f"of_{os.urandom(4).hex()}" for name in names})
    return await put(store, "main", batch)


@pytest.mark.parametrize("reading", [_fetched, _found, _stored_again])
async def test_no_read_of_the_hot_path_looks_at_every_row(
    empty_database: DatabaseUrls, owner: psycopg.AsyncConnection[Any], reading: Reading
) -> None:
    database = Database(empty_database.app_url, hot_connections=1)
    await database.open()
    try:
        store = PostgresTokenStore(database, Counted())
        names = [f"a{number}" for number in range(300)]
        await put(store, "main", make("main", names[:2]))
        for _ in range(_OFTEN):
            await reading(store, names[:2])
        await put(store, "main", make("main", names[2:]))
        await owner.execute(_FILL, [_ROWS])
        await owner.execute("SELECT pg_stat_force_next_flush()")
        before = await (await owner.execute(_READ)).fetchone()
        for _ in range(3):
            await reading(store, names)
    finally:
        await database.close()
    await sessions_ended(owner)
    after = await (await owner.execute(_READ)).fetchone()
    assert before is not None
    assert after is not None
    assert after[0] - before[0] < _ROWS
