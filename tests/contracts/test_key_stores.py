"""What every key table promises: in memory and in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.conftest import DatabaseUrls
from tests.fakes.keys import MemoryKeyStore
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.keys import PostgresKeyStore
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.domain.events import AuditEvent, new_event_id
from vault_service.domain.ports import KeyPurpose, KeyState, KeyStore, StoredKey

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[KeyStore]:
    if request.param == "memory":
        yield MemoryKeyStore()
        return
    urls: DatabaseUrls = request.getfixturevalue("empty_database")
    await asyncio.to_thread(upgrade, urls.migrator_url)
    database = Database(urls.app_url)
    await database.open()
    try:
        yield PostgresKeyStore(database)
    finally:
        await database.close()


async def make(
    store: KeyStore,
    tenant: str = "main",
    data_class: str = "pan",
    purpose: KeyPurpose = KeyPurpose.RECORD,
    epoch: int = 1,
) -> StoredKey:
    """Store one key with random-looking bytes; what the store returned."""
    key_id = await store.next_id()
    key = StoredKey(
        id=key_id,
        tenant=tenant,
        data_class=data_class,
        purpose=purpose,
        epoch=epoch,
        state=KeyState.ACTIVE,
        wrapped=bytes([key_id % 256, 0, 255]) * 100,
        wrapper="memory:one",
        created_at=AT,
    )
    event = AuditEvent(
        id=new_event_id(),
        occurred_at=AT,
        tenant=tenant,
        principal="system",
        action="create_data_key",
        outcome="ok",
        request_id="",
        policy_hash="",
    )
    return await store.create(key, event)


async def test_gives_back_what_was_stored(store: KeyStore) -> None:
    key = await make(store)
    assert await store.by_id("main", key.id) == key
    assert await store.current("main", "pan", KeyPurpose.RECORD) == key
    assert await store.list("main") == [key]


async def test_ids_do_not_repeat(store: KeyStore) -> None:
    ids = await asyncio.gather(*(store.next_id() for _ in range(20)))
    assert len(set(ids)) == 20


async def test_tenants_do_not_see_each_other(store: KeyStore) -> None:
    key = await make(store)
    assert await store.by_id("other", key.id) is None
    assert await store.current("other", "pan", KeyPurpose.RECORD) is None
    assert await store.list("other") == []
    assert not await store.reserve_uses("other", key.id, 1, 100)


async def test_slots_do_not_share_epochs(store: KeyStore) -> None:
    slots = [
        ("main", "pan", KeyPurpose.RECORD),
        ("main", "pan", KeyPurpose.BLIND_INDEX),
        ("main", "iban", KeyPurpose.RECORD),
        ("other", "pan", KeyPurpose.RECORD),
    ]
    made = [await make(store, *slot) for slot in slots]
    assert [await store.current(*slot) for slot in slots] == made


async def test_a_new_epoch_retires_the_old_ones(store: KeyStore) -> None:
    first, elsewhere = await make(store), await make(store, data_class="iban")
    second = await make(store, epoch=2)
    third = await make(store, epoch=3)
    assert await store.current("main", "pan", KeyPurpose.RECORD) == third
    assert await store.list("main") == [
        elsewhere,
        replace(first, state=KeyState.RETIRED),
        replace(second, state=KeyState.RETIRED),
        third,
    ]


async def test_the_first_of_an_epoch_wins(store: KeyStore) -> None:
    keys = await asyncio.gather(*(make(store) for _ in range(8)))
    assert len({key.id for key in keys}) == 1
    assert len(await store.list("main")) == 1


async def test_a_late_epoch_changes_nothing(store: KeyStore) -> None:
    first = await make(store)
    second = await make(store, epoch=2)
    late = await make(store, epoch=1)
    assert late == replace(first, state=KeyState.RETIRED)
    assert await store.current("main", "pan", KeyPurpose.RECORD) == second


async def test_uses_are_counted_up_to_the_limit(store: KeyStore) -> None:
    key = await make(store)
    answers = await asyncio.gather(*(store.reserve_uses("main", key.id, 30, 100) for _ in range(5)))
    assert sorted(answers) == [False, False, True, True, True]
    stored = await store.by_id("main", key.id)
    assert stored is not None
    assert stored.uses == 90
    assert await store.reserve_uses("main", key.id, 10, 100)
    assert not await store.reserve_uses("main", key.id, 1, 100)


async def test_only_active_keys_have_uses(store: KeyStore) -> None:
    first = await make(store)
    await make(store, epoch=2)
    assert not await store.reserve_uses("main", first.id, 1, 100)
    assert not await store.reserve_uses("main", 999, 1, 100)
