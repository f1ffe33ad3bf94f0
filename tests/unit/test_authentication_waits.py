"""Failed attempts: who has to wait, and who is not locked out (PCI-DSS 8.3.4)."""

import asyncio

import pytest

from tests.authenticating import HERE, House, failure
from vault_service.domain.credentials import (
    AuthenticationFailed,
    new_api_key,
)
from vault_service.domain.errors import Code


async def test_ten_tries_then_a_wait_that_doubles(house: House) -> None:
    bad = f"Bearer {new_api_key().secret.reveal()}"
    codes = [(await failure(house, bad)).code for _ in range(11)]  # PCI-DSS 8.3.4
    assert codes == [Code.UNAUTHENTICATED] * 10 + [Code.RATE_LIMITED]
    waits = []
    for _ in range(4):
        error = await failure(house, bad)
        assert error.code is Code.RATE_LIMITED
        assert error.retry_after is not None
        waits.append(error.retry_after)
        house.clock.advance(error.retry_after)
        assert (await failure(house, bad)).code is Code.RATE_LIMITED
    assert waits == [30, 60, 120, 240]


async def test_a_right_key_is_never_locked_out(house: House) -> None:
    key, bad = house.key(), new_api_key().secret.reveal()
    for _ in range(40):
        await house.code(bad)
    assert await house.code(bad) == "rate_limited"
    # Not verified before, and from the very address that has to wait.
    assert await house.code(key) == "checkout"
    assert await house.code("good.by.issuer") == "by-oidc"


async def test_other_sources_do_not_wait(house: House) -> None:
    bad = new_api_key().secret.reveal()
    for _ in range(12):
        await house.code(bad, "2001:db8::1")
    # The rest of the same /64 is the same host, the next /64 is not.
    assert await house.code(bad, "2001:db8::ffff") == "rate_limited"
    assert await house.code(bad, "2001:db8:0:1::1") == "unauthenticated"


async def test_workers_share_the_count(house: House) -> None:
    bad = f"Bearer {new_api_key().secret.reveal()}"
    workers = [house.worker() for _ in range(4)]
    codes = []
    for number in range(11):
        with pytest.raises(AuthenticationFailed) as caught:
            await workers[number % 4].authenticate(bad, HERE)
        codes.append(caught.value.code)
    assert codes == [Code.UNAUTHENTICATED] * 10 + [Code.RATE_LIMITED]


async def test_a_flood_costs_no_write_and_no_record_per_attempt(house: House) -> None:
    bad = f"Bearer {new_api_key().secret.reveal()}"
    counted = [(await failure(house, bad)).counted for _ in range(500)]
    assert counted == [True] * 11 + [False] * 489
    assert house.throttle.writes == 11


async def test_the_window_slides(house: House) -> None:
    bad = f"Bearer {new_api_key().secret.reveal()}"
    for _ in range(10):
        assert (await failure(house, bad)).code is Code.UNAUTHENTICATED
    house.clock.advance(15 * 60 + 10)
    assert (await failure(house, bad)).code is Code.UNAUTHENTICATED


async def test_forgetting_to_rotate_is_no_guessing(house: House) -> None:
    key = house.key(days=1)
    house.clock.advance(86_400)
    assert {await house.code(key) for _ in range(30)} == {"credential_expired"}
    assert {await house.code("expired.by.issuer") for _ in range(30)} == {"credential_expired"}
    assert house.throttle.writes == 0
    # What the caller wrote into an unsigned URL proves nothing, and counts.
    codes = [await house.code("sts.ASIA1_old") for _ in range(11)]
    assert codes == ["credential_expired"] * 10 + ["rate_limited"]


async def test_a_waiting_source_makes_no_calls_to_aws(house: House) -> None:
    for _ in range(11):
        await house.code("sts.ASIA2_bad")
    calls = house.aws.calls
    error = await failure(house, "Bearer sts.ASIA2_bad2")
    assert (error.code, error.counted, error.reason) == (Code.RATE_LIMITED, False, "waiting")
    # Another worker knows from the shared count.
    with pytest.raises(AuthenticationFailed) as caught:
        await house.worker().authenticate("Bearer sts.ASIA2_bad3", HERE)
    assert caught.value.code is Code.RATE_LIMITED
    assert caught.value.retry_after is not None
    assert house.aws.calls == calls
    # After the wait it may try again.
    house.clock.advance(caught.value.retry_after)
    assert await house.code("sts.ASIA2_good") == "by-role"


async def test_a_role_that_aws_confirmed_before_is_not_locked_out(house: House) -> None:
    assert await house.code("sts.ASIA1_good") == "by-role"
    for _ in range(20):
        await house.code("sts.ASIA2_bad")
    assert await house.code("sts.ASIA1_good-and-newly-signed") == "by-role"


async def test_calls_to_aws_are_bounded(house: House) -> None:
    assert await house.code("sts.ASIA1_good") == "by-role"
    house.aws.hold.clear()
    flood = [
        asyncio.create_task(house.code(f"sts.ASIA2_bad{n}", f"198.51.100.{n}")) for n in range(16)
    ]
    while house.aws.calls < 17:
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert await house.code("sts.ASIA3_good") == "rate_limited"
    # Known callers have call slots of their own.
    known = asyncio.create_task(house.code("sts.ASIA1_good2"))
    while house.aws.calls < 18:
        await asyncio.sleep(0)
    house.aws.hold.set()
    assert await known == "by-role"
    assert set(await asyncio.gather(*flood)) == {"unauthenticated"}
