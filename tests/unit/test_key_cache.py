"""Plaintext keys in memory: bounded in time and number, loaded once."""

import asyncio

import pytest

from vault_service.domain.errors import Code, KeyUnavailable, VaultError
from vault_service.services.key_cache import KeyCache


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Loader:
    """Gives 1, 2, 3, …; waits for ``gate`` first; ``failure`` is raised instead."""

    def __init__(self, life: float = 300.0) -> None:
        self.calls = 0
        self.life = life
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: VaultError | None = None

    async def __call__(self) -> tuple[int, float]:
        self.calls += 1
        call = self.calls
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return call, self.life


def cache(time: Time, *, ttl: float = 300.0, max_entries: int = 3) -> KeyCache[str, int]:
    return KeyCache(ttl=ttl, max_entries=max_entries, monotonic=time)


async def test_serves_until_the_expiry_and_never_after() -> None:
    time, load = Time(), Loader()
    keys = cache(time)
    assert await keys.load("a", load) == 1
    time.now += 299.9
    assert keys.get("a") == 1
    time.now += 0.1
    assert keys.get("a") is None
    assert await keys.load("a", load) == 2


async def test_counts_the_time_from_before_the_load() -> None:
    time, load = Time(), Loader()
    keys = cache(time)
    load.gate.clear()
    loading = asyncio.create_task(keys.load("a", load))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    time.now += 100
    load.gate.set()
    assert await loading == 1
    time.now += 200
    assert keys.get("a") is None


async def test_the_loader_may_ask_for_less_and_not_for_more() -> None:
    time = Time()
    keys = cache(time, ttl=60)
    await keys.load("short", Loader(life=10))
    await keys.load("long", Loader(life=1000))
    time.now += 10
    assert keys.get("short") is None
    assert keys.get("long") == 1
    time.now += 50
    assert keys.get("long") is None


async def test_what_has_expired_is_dropped_without_being_asked_for() -> None:
    keys: KeyCache[str, int] = KeyCache(
        ttl=0.05, max_entries=3, monotonic=asyncio.get_running_loop().time
    )
    await keys.load("a", Loader())
    assert len(keys) == 1
    async with asyncio.timeout(10):
        while len(keys):
            await asyncio.sleep(0.01)


async def test_one_load_serves_all_who_wait() -> None:
    load = Loader()
    keys = cache(Time())
    load.gate.clear()
    waiting = [asyncio.create_task(keys.load("a", load)) for _ in range(50)]
    await asyncio.sleep(0)
    load.gate.set()
    assert await asyncio.gather(*waiting) == [1] * 50
    assert load.calls == 1


async def test_one_who_gives_up_does_not_stop_the_load() -> None:
    load = Loader()
    keys = cache(Time())
    load.gate.clear()
    first = asyncio.create_task(keys.load("a", load))
    second = asyncio.create_task(keys.load("a", load))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    load.gate.set()
    assert await second == 1


async def test_holds_no_more_than_it_may() -> None:
    keys = cache(Time(), max_entries=3)
    for name in "abcd":
        await keys.load(name, Loader())
    assert len(keys) == 3
    assert keys.get("a") is None
    assert keys.get("d") == 1


async def test_a_failure_is_repeated_for_a_second_and_then_tried_again() -> None:
    time, load = Time(), Loader()
    keys = cache(time)
    load.failure = KeyUnavailable("KMS cannot be reached.", retry_after=7)
    with pytest.raises(KeyUnavailable):
        await keys.load("a", load)
    time.now += 0.9
    with pytest.raises(KeyUnavailable) as repeated:
        await keys.load("a", load)
    assert (repeated.value.detail, repeated.value.retry_after, load.calls) == (
        "KMS cannot be reached.",
        7,
        1,
    )
    assert repeated.value.code is Code.KEY_UNAVAILABLE
    load.failure = None
    time.now += 0.1
    assert await keys.load("a", load) == 2


async def test_a_failure_does_not_displace_what_is_still_good() -> None:
    time, load = Time(), Loader()
    keys = cache(time)
    await keys.load("a", load)
    load.failure = KeyUnavailable("KMS cannot be reached.")
    time.now += 200
    assert await keys.load("a", load) == 1
    time.now += 100
    with pytest.raises(KeyUnavailable):
        await keys.load("a", load)


async def test_clearing_forgets_also_what_is_being_loaded() -> None:
    load = Loader()
    keys = cache(Time())
    await keys.load("b", Loader())
    load.gate.clear()
    loading = asyncio.create_task(keys.load("a", load))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    keys.clear()
    load.gate.set()
    assert await loading == 1
    assert (keys.get("a"), keys.get("b"), len(keys)) == (None, None, 0)


@pytest.mark.parametrize(("ttl", "entries"), [(301, 1), (0, 1), (-1, 1), (10, 0)])
def test_cannot_be_made_without_bounds(ttl: float, entries: int) -> None:
    with pytest.raises(ValueError, match="bounded"):
        KeyCache(ttl=ttl, max_entries=entries, monotonic=Time())
