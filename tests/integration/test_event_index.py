"""The index of events by token and subject: it finds what a look at every event finds,
whatever part of the log is in segments."""

import asyncio
import json
import random
from importlib.resources import files
from itertools import pairwise
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from tests.conftest import DatabaseUrls
from tests.integration.indexed_events import (
    NOW,
    TENANTS,
    about,
    names,
    positions,
    scattered,
    segments,
)
from tests.stored import sessions_ended
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
from vault_service.domain.events import AuditEvent
from vault_service.domain.ports import AuditQuery


@pytest.fixture
def urls(migrated_database: DatabaseUrls) -> DatabaseUrls:
    """Of the test's own: segments are of the log as a whole."""
    return migrated_database


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
        tenant = draw.choice(TENANTS)
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
            [NOW],
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
