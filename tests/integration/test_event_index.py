"""The index of events by token and subject: it finds what a look at every event finds,
whatever part of the log is in segments, and loses no event that commits late."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from typing import Any, Final

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from tests.conftest import DatabaseUrls
from tests.serving import Serve
from tests.stored import Counted, event, sessions_ended
from tests.synthetic import cards
from vault_service.adapters.postgres.access import driver_url
from vault_service.adapters.postgres.audit import event_columns, subject_term, token_term
from vault_service.adapters.postgres.audit_reader import PostgresAuditReader
from vault_service.adapters.postgres.binary import register
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.event_index import NEWEST, PostgresEventIndex, find, pages
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.adapters.postgres.schema import OWNER_ROLE, SCHEMA, SERVICE_ROLE
from vault_service.adapters.postgres.statements import APPEND_EVENTS
from vault_service.adapters.postgres.token_store import PostgresTokenStore
from vault_service.domain.events import AuditEvent, EventGroup
from vault_service.domain.ports import AuditQuery

_NOW: Final = datetime.now(UTC)
_TENANTS: Final = ("main", "other")


@pytest.fixture
async def database(empty_database: DatabaseUrls) -> AsyncIterator[Database]:
    """A database of the test's own: segments are of the log as a whole."""
    await asyncio.to_thread(upgrade, empty_database.migrator_url)
    opened = Database(empty_database.app_url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def store(database: Database) -> AsyncIterator[PostgresTokenStore]:
    opened = PostgresTokenStore(database, Counted())
    yield opened
    await opened.settle()


def about(tenant: str, tokens: Sequence[str], subjects: Sequence[str] = ()) -> AuditEvent:
    group = EventGroup(
        "ok", "pan", tokens=tuple(tokens), subjects=tuple(subjects), count=len(tokens)
    )
    return event(tenant, groups=(group,), occurred_at=_NOW)


def scattered(draw: random.Random, count: int) -> list[AuditEvent]:
    """Events of two tenants over five months, of few tokens and subjects that both know."""
    days = (-62, -31, 0, 0, 0, 31, 62)
    return [
        event(
            draw.choice(_TENANTS),
            groups=(
                EventGroup(
                    "ok",
                    "pan",
                    tokens=tuple(f"t{draw.randrange(30)}" for _ in range(draw.randrange(12))),
                    subjects=tuple(f"s{draw.randrange(9)}" for _ in range(draw.randrange(4))),
                    count=0,
                ),
            ),
            occurred_at=_NOW + timedelta(days=draw.choice(days)),
        )
        for _ in range(count)
    ]


def names(found: AuditEvent) -> set[int]:
    return {token_term(t) for t in found.tokens} | {subject_term(s) for s in found.subjects}


async def positions(superuser_url: str) -> dict[str, int]:
    async with await psycopg.AsyncConnection.connect(superuser_url) as connection:
        rows = await connection.execute("SELECT id, position FROM strongroom.audit_events")
        return dict(await rows.fetchall())


async def segments(superuser_url: str) -> list[tuple[int, int, bool]]:
    async with await psycopg.AsyncConnection.connect(superuser_url) as connection:
        rows = await connection.execute(
            "SELECT after_position, last_position, merged FROM strongroom.event_segments"
            " ORDER BY last_position"
        )
        return await rows.fetchall()


async def test_it_finds_what_a_look_at_every_event_finds(
    empty_database: DatabaseUrls, database: Database, store: PostgresTokenStore
) -> None:
    """With segments of every size, merged and not, and a rest that is in none."""
    draw = random.Random(7)
    index = PostgresEventIndex(database, least_events=1, least_terms=1)
    made: list[AuditEvent] = []
    for _ in range(45):
        new = scattered(draw, draw.randrange(1, 40))
        await asyncio.gather(*(store.append(each) for each in new))
        made += new
        while draw.random() < 0.9 and await index.extend():
            pass
    new = scattered(draw, 25)
    await asyncio.gather(*(store.append(each) for each in new))
    made += new
    where = await positions(empty_database.superuser_url)
    built = await segments(empty_database.superuser_url)
    assert {merged for _, _, merged in built} == {True, False}
    assert all(last == after for (_, last, _), (after, _, _) in pairwise(built))
    assert built[-1][1] < max(where.values())
    for _ in range(300):
        tenant = draw.choice(_TENANTS)
        terms = {token_term(f"t{draw.randrange(40)}") for _ in range(draw.randrange(1, 15))}
        terms |= {subject_term(f"s{draw.randrange(9)}") for _ in range(draw.randrange(3))}
        below = draw.choice((NEWEST, draw.randrange(1, max(where.values()) + 2)))
        expected = sorted(
            (
                (where[each.id], each.occurred_at)
                for each in made
                if each.tenant == tenant and names(each) & terms and where[each.id] < below
            ),
            reverse=True,
        )
        most = draw.choice((None, 1, 3, 50))
        async with database.transaction(tenant) as connection:
            assert await find(connection, sorted(terms), below, most) == expected[:most]
            paged = [hit async for page in pages(connection, sorted(terms), below) for hit in page]
            assert paged == expected
    async with database.transaction() as connection:  # of no tenant
        assert not await find(connection, [token_term("t1")], NEWEST)


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


async def test_the_index_is_asked_and_the_log_is_not_walked(
    empty_database: DatabaseUrls, database: Database, store: PostgresTokenStore
) -> None:
    """Under the service's role and row-level security."""
    wanted = about("main", ["tok_wanted"], ["cus_wanted"])
    await store.append(wanted)
    async with await psycopg.AsyncConnection.connect(
        empty_database.superuser_url, autocommit=True
    ) as superuser:
        await superuser.execute(
            "INSERT INTO strongroom.audit_events (id, occurred_at, tenant, principal, action,"
            " outcome, data_classes, terms, body) SELECT 'evt_' || n, %s, 'main', 'p', 'a',"
            " 'ok', '{pan}', ARRAY[n, -n], '{}' FROM generate_series(1, 20000) n",
            [_NOW],
        )
        while await PostgresEventIndex(database).extend():
            pass
        await superuser.execute("ANALYZE strongroom.audit_events")
        await store.settle()
        await database.close()
        before = await _read(superuser)
        alone = Database(empty_database.app_url)
        await alone.open()
        reader = PostgresAuditReader(alone)
        for query in (
            AuditQuery("main", 10, token="tok_wanted"),
            AuditQuery("main", 10, subject="cus_wanted"),
        ):
            [(_, body)] = await reader.events(query)
            assert json.loads(body)["id"] == wanted.id
        await alone.close()
        after = await _read(superuser)
    # Twice the hit, to see whose it is and then as it is, and nothing else.
    assert after == (before[0] + 2, before[1] + 4)


async def _read(superuser: psycopg.AsyncConnection[Any]) -> tuple[int, int]:
    """Looks into the postings, and rows of events that were read by whatever way, by all
    sessions that have ended."""
    await sessions_ended(superuser)
    found = await superuser.execute(
        "SELECT (SELECT coalesce(idx_scan, 0)::bigint FROM pg_stat_user_tables"
        " WHERE relname = 'event_postings'), sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint"
        " FROM pg_stat_user_tables WHERE relname LIKE 'audit\\_events\\_%'"
    )
    row = await found.fetchone()
    assert row is not None
    return row[0], row[1]


async def test_an_index_that_was_emptied_is_built_again(
    empty_database: DatabaseUrls, database: Database, store: PostgresTokenStore
) -> None:
    """What to do where it is damaged; meanwhile everything is found."""
    index = PostgresEventIndex(database, least_events=1, least_terms=1)
    for number in range(40):
        await store.append(about("main", [f"t{number}"]))
        await index.extend()
    query = AuditQuery("main", 10, token="t3")
    [found] = await PostgresAuditReader(database).events(query)
    async with await psycopg.AsyncConnection.connect(
        empty_database.migrator_url, autocommit=True
    ) as owner:
        await owner.execute(f"SET ROLE {OWNER_ROLE}")
        await owner.execute("TRUNCATE strongroom.event_segments, strongroom.event_postings")
    assert await PostgresAuditReader(database).events(query) == [found]
    assert await index.extend()
    assert await segments(empty_database.superuser_url) == [(0, 40, False)]
    assert await PostgresAuditReader(database).events(query) == [found]


def _upgrade_to(url: str, revision: str) -> None:
    config = Config()
    migrations = files("vault_service.adapters.postgres") / "migrations"
    config.set_main_option("script_location", str(migrations))
    engine = sa.create_engine(driver_url(url), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {OWNER_ROLE}"))
        connection.execute(sa.text(f"SET LOCAL ROLE {OWNER_ROLE}"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


async def test_events_of_the_release_before_are_found_and_indexed(
    empty_database: DatabaseUrls,
) -> None:
    """They were there before the segments were."""
    await asyncio.to_thread(_upgrade_to, empty_database.migrator_url, "0003")
    async with await psycopg.AsyncConnection.connect(
        empty_database.app_url, autocommit=True
    ) as service:
        register(service)
        await service.execute(f"SET ROLE {SERVICE_ROLE}")
        for number in range(20):
            made = about("main", [f"t{number}"])
            await service.execute(APPEND_EVENTS, ("main", *event_columns([made])))
    await asyncio.to_thread(upgrade, empty_database.migrator_url)
    database = Database(empty_database.app_url)
    await database.open()
    query = AuditQuery("main", 10, token="t3")
    assert len(await PostgresAuditReader(database).events(query)) == 1
    assert await PostgresEventIndex(database, least_events=1).extend()
    assert len(await PostgresAuditReader(database).events(query)) == 1
    await database.close()


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
