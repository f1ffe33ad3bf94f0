"""Segments of the event index: when one is built and of what, and that no event which
commits late is passed over."""

import asyncio

import psycopg
import pytest
import sqlalchemy as sa

from tests.conftest import DatabaseUrls
from tests.integration.indexed_events import about, positions, segments
from tests.serving import Serve
from tests.synthetic import cards
from vault_service.adapters.postgres.audit import event_columns
from vault_service.adapters.postgres.audit_reader import PostgresAuditReader
from vault_service.adapters.postgres.binary import register
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.event_index import NEWEST, PostgresEventIndex, find
from vault_service.adapters.postgres.schema import SERVICE_ROLE
from vault_service.adapters.postgres.statements import APPEND_EVENTS
from vault_service.adapters.postgres.token_store import PostgresTokenStore
from vault_service.domain.ports import AuditQuery


@pytest.fixture
def urls(migrated_database: DatabaseUrls) -> DatabaseUrls:
    """Of the test's own: segments are of the log as a whole."""
    return migrated_database


async def test_an_event_that_commits_late_is_not_passed_over(
    empty_database: DatabaseUrls, database: Database, store: PostgresTokenStore
) -> None:
    """Its position is lower than that of others which are there to be indexed already."""
    index = PostgresEventIndex(database, least_events=1, least_terms=1)
    late = about("main", ["t_late"])
    async with await psycopg.AsyncConnection.connect(empty_database.app_url) as slow:
        register(slow)
        await slow.execute(f"SET ROLE {SERVICE_ROLE}")
        await slow.execute(APPEND_EVENTS, ("main", *event_columns([late])))
        for number in range(30):
            await store.append(about("main", [f"t{number}"]))
        assert not await index.extend(), "it does not wait for ever"
        assert not await segments(empty_database.superuser_url)
        extending = asyncio.create_task(index.extend())
        await slow.commit()
    assert await extending
    where = await positions(empty_database.superuser_url)
    assert where[late.id] == 1
    assert await segments(empty_database.superuser_url) == [(0, 31, False)]
    query = AuditQuery("main", 10, token="t_late")
    [(position, _)] = await PostgresAuditReader(database).events(query)
    assert position == 1


async def test_who_only_reads_holds_nothing_up(
    empty_database: DatabaseUrls, database: Database, store: PostgresTokenStore
) -> None:
    """A backup reads the log for hours."""
    for number in range(30):
        await store.append(about("main", [f"t{number}"]))
    async with await psycopg.AsyncConnection.connect(empty_database.superuser_url) as backup:
        await backup.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await backup.execute("SELECT count(*) FROM strongroom.audit_events")
        assert await PostgresEventIndex(database, least_events=1).extend()


async def test_one_process_at_a_time(
    empty_database: DatabaseUrls, database: Database, store: PostgresTokenStore
) -> None:
    index = PostgresEventIndex(database, least_events=1, least_terms=1)
    for number in range(30):
        await store.append(about("main", [f"t{number}"]))
    async with database.transaction() as connection:
        assert (
            await connection.execute(sa.text("SELECT strongroom.index_events(1, 1)"))
        ).scalar_one()
        assert not await index.extend()
    for number in range(30):
        await store.append(about("main", [f"t{number}"]))
    assert await index.extend()
    assert len(await segments(empty_database.superuser_url)) == 2


async def test_few_events_are_looked_through(
    empty_database: DatabaseUrls, database: Database, store: PostgresTokenStore
) -> None:
    """A segment is worth its while from so many events, or so many tokens in them."""
    few = PostgresEventIndex(database, least_events=100, least_terms=1000)
    for _ in range(50):
        await store.append(about("main", ["t1"]))
    assert not await few.extend()
    for _ in range(20):
        await store.append(about("main", [f"t{n}" for n in range(100)]))
    assert await few.extend(), "the terms are enough, though the events are not"
    for _ in range(100):
        await store.append(about("main", []))
    assert await few.extend(), "the events are enough, though the terms are not"
    assert [last for _, last, _ in await segments(empty_database.superuser_url)] == [70, 170]


async def test_a_log_that_was_never_indexed_is_taken_in_stretches(
    empty_database: DatabaseUrls, database: Database
) -> None:
    """Each takes about a second, so that no lock and no connection is held for long."""
    async with await psycopg.AsyncConnection.connect(
        empty_database.superuser_url, autocommit=True
    ) as superuser:
        await superuser.execute(
            "INSERT INTO strongroom.audit_events (id, occurred_at, tenant, action, outcome,"
            " data_classes, terms, body) SELECT 'evt_' || n, now(), 'main', 'a', 'ok', '{}',"
            " ARRAY(SELECT t * n FROM generate_series(1, 10000) t), '{}'"
            " FROM generate_series(1, 120) n"
        )
    index = PostgresEventIndex(database)
    while await index.extend():
        pass
    built = await segments(empty_database.superuser_url)
    assert built == [(0, 53, False), (53, 106, False)], "each is of half a million terms"
    async with database.transaction("main") as connection:
        assert [position for position, _ in await find(connection, [7 * 113], NEWEST)] == [
            113,
            7,
            1,
        ]


def test_a_service_indexes_what_it_records(serve: Serve) -> None:
    server = serve()
    loader = server.caller("load-tester")
    values = cards(2000, seed=404)
    [token, *_] = loader.tokenize("pan", values)
    with psycopg.connect(server.superuser_url, autocommit=True) as superuser:
        for _ in range(40):
            loader.tokenize("pan", values)
        while not superuser.execute("SELECT FROM strongroom.event_segments").fetchall():
            superuser.execute("SELECT pg_sleep(0.1)")
    assert len(server.caller("auditor").events(token=token)) == 41
