"""When a credential was last used, and a database that is away."""

from datetime import timedelta

import pytest

from tests.authenticating import House
from vault_service.domain.errors import VaultError


async def test_a_database_that_is_away_is_said_so(house: House) -> None:
    key = house.key()
    house.store.away = True
    assert await house.code(key) == "database_unavailable"
    house.throttle.away = True
    # Malformed needs no database to be refused, nor to be refused the same.
    assert await house.code("srk_nonsense") == "unauthenticated"
    house.store.away = False
    assert await house.code(key) == "checkout"


async def test_last_use_is_written_at_most_once_a_minute(house: House) -> None:
    key = house.key()
    await house.code(key)
    used_at = house.clock()
    house.clock.advance(3)
    await house.auth.flush()
    assert house.store.records[key[4:16]].last_used_at == used_at
    await house.code(key)
    house.clock.advance(30)
    await house.auth.flush()
    assert house.store.records[key[4:16]].last_used_at == used_at
    house.clock.advance(30)
    await house.auth.flush()
    assert house.store.records[key[4:16]].last_used_at == used_at + timedelta(seconds=3)


async def test_cached_use_counts_as_use_and_shutdown_writes_it(house: House) -> None:
    key = house.key()
    await house.code(key)
    await house.auth.flush()
    house.clock.advance(4)
    assert house.auth.cached(f"Bearer {key}") is not None
    await house.auth.flush(everything=True)
    assert house.store.records[key[4:16]].last_used_at == house.clock()


async def test_a_failed_flush_is_tried_again(house: House) -> None:
    key = house.key()
    await house.code(key)
    used_at = house.clock()
    house.store.away = True
    with pytest.raises(VaultError):
        await house.auth.flush()
    house.store.away = False
    await house.auth.flush()
    assert house.store.records[key[4:16]].last_used_at == used_at


async def test_old_counts_are_forgotten(house: House) -> None:
    await house.code("nonsense")
    house.clock.advance(3600)
    await house.auth.flush()
    assert house.throttle.slices == {}
