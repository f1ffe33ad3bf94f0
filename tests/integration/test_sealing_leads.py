"""Who seals a real log: one leads, others take over, and at the end nothing is unsigned."""

import asyncio
from io import BytesIO

import pytest
from structlog.testing import capture_logs

from tests.sealed import (
    SealedDatabase,
    Watching,
    admit,
    all_sealed,
    leader,
    signed_at,
    until,
)
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.tiles import TreeGrowth
from vault_service.domain.transparency import Overtaken
from vault_service.verifier.bundles import verify_bundle
from vault_service.verifier.findings import Verdict


async def test_of_two_sealers_one_leads(sealed: SealedDatabase) -> None:
    first, second = Watching(), Watching()
    async with sealed.sealing(observer=first), sealed.sealing(observer=second):
        for _ in range(5):
            await sealed.append(3)
            await all_sealed(sealed)
        with pytest.raises(Overtaken):
            await sealed.sealer().seal_now()
        assert sorted([sum(first.leaves), sum(second.leaves)]) == [0, 15]
    assert (await sealed.verified()).verdict is Verdict.VERIFIED


async def test_a_sealer_whose_connection_is_ended_is_succeeded(sealed: SealedDatabase) -> None:
    first, second = Watching(), Watching()
    async with sealed.sealing(observer=first):
        positions = await sealed.append(3)
        await all_sealed(sealed)
        async with sealed.sealing(observer=second):
            for _ in range(2):
                before = await leader(sealed)
                assert before is not None
                await sealed.query("SELECT pg_terminate_backend(%s)", before)
                positions += await sealed.append(3)

                async def succeeded(before: int = before) -> bool:
                    return await leader(sealed) not in (None, before)

                await until(succeeded)
                await all_sealed(sealed)
    assert await sealed.leaves() == positions
    assert sum(first.leaves) + sum(second.leaves) == 9
    assert second.leaves
    assert (await sealed.verified()).verdict is Verdict.VERIFIED


async def test_a_lead_whose_connection_is_lost_does_nothing_more(sealed: SealedDatabase) -> None:
    await sealed.append()
    async with sealed.log.lead() as sealing:
        assert (await sealing.state()).size == 0
        leaves = await sealing.unsealed(10)
        growth = TreeGrowth(0, {})
        growth.extend([leaf.hash for leaf in leaves])
        await sealed.query("SELECT pg_terminate_backend(%s)", await leader(sealed))
        await sealed.sealer().seal_now()
        with pytest.raises(VaultError) as caught:
            await sealing.extend(0, leaves, growth.changed())
    assert caught.value.code is Code.DATABASE_UNAVAILABLE
    assert len(await sealed.leaves()) == 1
    assert (await sealed.verified()).verdict is Verdict.VERIFIED


async def test_a_database_that_is_away_does_not_end_a_sealer(sealed: SealedDatabase) -> None:
    await admit(sealed, False)
    with capture_logs() as lines:
        async with sealed.sealing():

            async def told() -> bool:
                return {"sealing_failed"} == {line["event"] for line in lines} - {"database_error"}

            await until(told)
            await admit(sealed, True)
            await sealed.append()
            await all_sealed(sealed)


async def test_sealing_once_leaves_the_lead_to_others(sealed: SealedDatabase) -> None:
    await sealed.append(2)
    sealer = sealed.sealer()
    await sealer.seal_now()
    await sealer.seal_now()
    await signed_at(sealed, 2)
    assert await sealed.loose() == []
    assert await leader(sealed) is None
    async with sealed.sealing():
        await sealed.append()
        await all_sealed(sealed)


async def test_what_was_recorded_before_the_end_is_signed_at_the_end(
    sealed: SealedDatabase,
) -> None:
    """Also where the sealer that ends had to wait for another to end first."""
    first, second = sealed.sealer(round_seconds=60.0), sealed.sealer(round_seconds=60.0)
    leading = asyncio.create_task(first.run())

    async def leads() -> bool:
        return await leader(sealed) is not None

    await until(leads)
    waiting = asyncio.create_task(second.run())
    await sealed.append(3)
    await first.stop(leading)
    await signed_at(sealed, 3)
    await sealed.append()
    await second.stop(waiting)
    await signed_at(sealed, 3, 4)
    assert await sealed.loose() == []
    assert leading.done()
    assert waiting.done()
    bundle = await sealed.export()
    assert verify_bundle(BytesIO(bundle), sealed.key).checkpoints == 2


async def test_the_end_is_not_held_up_by_one_that_leads_elsewhere(sealed: SealedDatabase) -> None:
    async with sealed.log.lead():
        sealer = sealed.sealer()
        task = asyncio.create_task(sealer.run())
        await sealed.append()
        await sealer.stop(task)
        assert task.done()
        assert await sealed.leaves() == []
