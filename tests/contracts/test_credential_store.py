"""What the key table and the failure counts promise, in memory and in PostgreSQL."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from tests.fakes.credentials import START, MemoryCredentialStore, MemoryThrottle
from vault_service.adapters.postgres.credentials import PostgresCredentialStore, PostgresThrottle
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.embedded.state import APP, MIGRATOR
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.adapters.postgres.schema import audit_events
from vault_service.domain.credentials import (
    ApiKeyRecord,
    CredentialStore,
    Failures,
    Throttle,
    new_api_key,
)
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.events import AuditEvent, new_event_id

DAY = timedelta(days=1)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def app_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    name = f"credentials_{next(_numbers)}"
    urls = postgres.create_database(name)
    upgrade(urls[MIGRATOR])
    yield urls[APP]
    postgres.drop_database(name)


@pytest.fixture
async def database(app_url: str) -> AsyncIterator[Database]:
    database = Database(app_url)
    yield database
    await database.close()


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> CredentialStore:
    if request.param == "memory":
        return MemoryCredentialStore()
    return PostgresCredentialStore(request.getfixturevalue("database"))


@pytest.fixture(params=["memory", "postgres"])
def throttle(request: pytest.FixtureRequest) -> Throttle:
    if request.param == "memory":
        return MemoryThrottle()
    return PostgresThrottle(request.getfixturevalue("database"))


async def event_ids(store: CredentialStore) -> set[str]:
    if isinstance(store, MemoryCredentialStore):
        return {event.id for event in store.events}
    assert isinstance(store, PostgresCredentialStore)
    async with store._database.transaction("main") as connection:
        return set((await connection.execute(sa.select(audit_events.c.id))).scalars())


def key(principal: str, *, life: timedelta = 30 * DAY, age: timedelta = DAY) -> ApiKeyRecord:
    made = new_api_key()
    created_at = START - age
    return ApiKeyRecord(made.id, principal, made.key_hash, created_at, created_at + life)


def event(action: str = "issue_api_key") -> AuditEvent:
    return AuditEvent(new_event_id(), START, "main", "operator:test", action, "ok", "", "0" * 64)


def somebody() -> str:
    return f"principal-{next(_numbers)}"


async def test_a_key_is_found_as_it_was_stored(store: CredentialStore) -> None:
    record, recorded = key(somebody()), event()
    assert await store.find(record.id) is None
    await store.add(record, recorded)
    assert await store.find(record.id) == record
    assert await store.list(record.principal) == [record]
    assert recorded.id in await event_ids(store)


async def test_ids_are_matched_exactly(store: CredentialStore) -> None:
    record = key(somebody())
    await store.add(record, event())
    for other in (record.id.upper(), record.id + " ", record.id[:-1], "", "%", "' OR true --"):
        assert await store.find(other) is None


async def test_list_is_by_principal_then_oldest_first(store: CredentialStore) -> None:
    first, second = sorted([somebody(), somebody()])
    keys = [key(second), key(first), key(first, age=2 * DAY)]
    for record in keys:
        await store.add(record, event())
    listed = [r for r in await store.list() if r.principal in (first, second)]
    assert listed == [keys[2], keys[1], keys[0]]
    assert await store.list("nobody") == []


async def test_revoking_happens_once(store: CredentialStore) -> None:
    record, first, second, third = key(somebody()), event(), event(), event()
    await store.add(record, event())
    assert await store.revoke(record.id, START, first)
    assert not await store.revoke(record.id, START + DAY, second)
    assert not await store.revoke("none", START, third)
    found = await store.find(record.id)
    assert found is not None
    assert found.revoked_at == START
    assert {first.id} == {first.id, second.id, third.id} & await event_ids(store)


async def test_rotation_shortens_the_other_live_keys_of_that_principal(
    store: CredentialStore,
) -> None:
    me, end = somebody(), START + DAY
    old, ending, revoked, new = key(me), key(me, life=DAY), key(me), key(me, age=timedelta(0))
    other = key(somebody())
    for record in (old, ending, revoked, other):
        await store.add(record, event())
    await store.revoke(revoked.id, START, event())
    told: list[Sequence[str]] = []
    recorded = event("rotate_api_key")

    def made(shortened: Sequence[str]) -> AuditEvent:
        told.append(shortened)
        return recorded

    assert await store.rotate("main", new, end, made) == [old.id]
    assert told == [[old.id]]
    expiries = {r.id: r.expires_at for r in await store.list()}
    assert expiries[old.id] == end
    assert expiries[new.id] == new.expires_at
    for untouched in (ending, revoked, other):
        assert expiries[untouched.id] == untouched.expires_at
    assert recorded.id in await event_ids(store)


async def test_last_use_moves_forward_only(store: CredentialStore) -> None:
    one, two = key(somebody()), key(somebody())
    for record in (one, two):
        await store.add(record, event())

    async def used() -> list[datetime | None]:
        found = [await store.find(record.id) for record in (one, two)]
        return [None if record is None else record.last_used_at for record in found]

    await store.touch({one.id: START, "gone": START})
    assert await used() == [START, None]
    await store.touch({one.id: START - DAY, two.id: START + DAY})
    assert await used() == [START, START + DAY]


async def test_failures_are_counted_by_source(throttle: Throttle) -> None:
    here, there = somebody(), somebody()
    since = START - timedelta(minutes=15)
    assert await throttle.count(here, since) == Failures(0, None)
    for number in range(1, 4):
        assert (await throttle.record(here, START, since)).count == number
    failures = await throttle.record(there, START, since)
    assert failures.count == 1
    assert await throttle.count(here, since) == Failures(3, START)


async def test_the_window_slides_over_the_failures(throttle: Throttle) -> None:
    here = somebody()
    for minutes in (0, 10, 20):
        at = START + timedelta(minutes=minutes)
        await throttle.record(here, at, at - timedelta(minutes=15))
    latest = START + timedelta(minutes=20)
    assert await throttle.count(here, latest - timedelta(minutes=15)) == Failures(2, latest)
    assert (await throttle.count(here, START - DAY)).count == 3
    assert await throttle.count(here, START + DAY) == Failures(0, None)


async def test_the_latest_failure_is_known_to_ten_seconds(throttle: Throttle) -> None:
    here, at = somebody(), START + timedelta(seconds=27, microseconds=5)
    failures = await throttle.record(here, at, START)
    assert failures.latest is not None
    assert timedelta(0) <= at - failures.latest < timedelta(seconds=10)


async def test_old_failures_are_forgotten(throttle: Throttle) -> None:
    here = somebody()
    await throttle.record(here, START, START - DAY)
    await throttle.record(here, START + DAY, START - DAY)
    await throttle.forget(START + timedelta(hours=1))
    assert (await throttle.count(here, START - DAY)).count == 1


async def test_many_workers_lose_no_count(throttle: Throttle) -> None:
    here = somebody()
    since = START - DAY
    counts = await asyncio.gather(*(throttle.record(here, START, since) for _ in range(40)))
    assert max(failures.count for failures in counts) == 40
    assert (await throttle.count(here, since)).count == 40


async def test_a_key_is_not_stored_without_its_event(database: Database) -> None:
    """PCI-DSS 10.2.1.5: no change to credentials that the log does not know."""
    store = PostgresCredentialStore(database)
    me, taken = somebody(), event()
    old, new = key(me), key(me)
    await store.add(old, taken)
    for change in (
        store.add(new, taken),
        store.rotate("main", new, START, lambda _: taken),
        store.revoke(old.id, START, taken),
    ):
        with pytest.raises(VaultError) as caught:
            await change
        assert caught.value.code in (Code.AUDIT_UNAVAILABLE, Code.INTERNAL)
        assert await store.list(me) == [old]


async def test_the_table_holds_no_key(database: Database) -> None:
    """PCI-DSS 8.3.2"""
    made = new_api_key()
    record = ApiKeyRecord(made.id, somebody(), made.key_hash, START, START + DAY)
    await PostgresCredentialStore(database).add(record, event())
    async with database.transaction("main") as connection:
        dumped = [
            (await connection.execute(sa.text(f"SELECT {table}::text FROM {table}")))
            .scalars()
            .all()
            for table in ("api_keys", "audit_events")
        ]
    secret = made.secret.reveal()[17:69]
    assert any(made.id in row for row in dumped[0])
    assert secret not in str(dumped)
    assert secret.encode().hex() not in str(dumped)


async def test_a_database_that_is_gone_is_told_as_such() -> None:
    database = Database("postgresql://nobody:wrong@127.0.0.1:1/none")
    store, throttle = PostgresCredentialStore(database), PostgresThrottle(database)
    for attempt in (store.find("x"), store.list(), throttle.count("x", START)):
        with pytest.raises(VaultError) as caught:
            await attempt
        assert caught.value.code is Code.DATABASE_UNAVAILABLE
    await database.close()
