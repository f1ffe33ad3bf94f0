"""Sealing on a real database: whatever commits, late or not, is in the tree once."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import DatabaseUrls
from tests.sealed import ORIGIN, SealedDatabase, all_sealed, insert, until
from tests.soak import times
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.sealing_log import PostgresSealingLog
from vault_service.domain.checkpoints import Checkpoint
from vault_service.domain.merkle import leaf_hash
from vault_service.domain.tiles import TreeGrowth, edge_tiles
from vault_service.domain.transparency import Overtaken
from vault_service.verifier.findings import Verdict


async def test_leaves_are_the_events_in_the_order_of_their_positions(
    sealed: SealedDatabase,
) -> None:
    """RFC 6962 2.1: the hash in the tree is that of the canonical bytes."""
    positions = await sealed.append(700)
    await sealed.sealer().seal_now()
    assert await sealed.leaves() == positions
    bodies = await sealed.query("SELECT body FROM strongroom.audit_events ORDER BY position")
    growth = TreeGrowth(0, {})
    growth.extend([leaf_hash(bytes(body)) for (body,) in bodies])
    [checkpoint] = await sealed.checkpoints()
    assert checkpoint == Checkpoint(ORIGIN, 700, growth.root())
    times_of = await sealed.query(
        "SELECT count(*) FROM strongroom.log_leaves JOIN strongroom.audit_events AS e"
        " USING (position) WHERE log_leaves.occurred_at = e.occurred_at"
    )
    assert times_of == [(700,)]
    assert sum(sealed.watching.leaves) == 700


async def test_a_row_put_far_ahead_of_the_log_does_not_hide_what_follows(
    sealed: SealedDatabase,
) -> None:
    """By a superuser. It is not sealed, and so it raises the alarm (PCI-DSS 10.3.4)."""
    first = await sealed.append(3)
    await sealed.tamper(
        "INSERT INTO strongroom.audit_events (position, id, occurred_at, tenant, action,"
        " outcome, data_classes, terms, body) SELECT 1::bigint << 62, 'evt_ahead',"
        " '2020-02-02', tenant, action, outcome, data_classes, terms, body"
        f" FROM strongroom.audit_events WHERE position = {first[0]}"
    )
    sealer = sealed.sealer()
    await sealer.seal_now()
    second = await sealed.append(3)
    await sealer.seal_now()
    assert await sealed.leaves() == first + second
    since = await sealed.reader.unsealed_since()
    assert since is not None
    assert since.year == 2020
    report = await sealed.verified()
    assert report.verdict is Verdict.TAMPERED


async def test_more_than_a_batch_is_sealed_at_once(sealed: SealedDatabase) -> None:
    positions = await sealed.append(4100)
    await sealed.sealer().seal_now()
    assert await sealed.leaves() == positions
    assert sealed.watching.leaves == [2000, 2000, 100]
    assert (await sealed.verified()).verdict is Verdict.VERIFIED


async def test_an_event_that_is_committed_late_is_sealed_late_and_once(
    sealed: SealedDatabase,
) -> None:
    async with sealed.open_transaction() as late, sealed.sealing():
        low = await insert(late, 2)
        high = await sealed.append(3)
        assert max(low) < min(high)
        await all_sealed(sealed)
        assert await sealed.leaves() == high
        await late.commit()
        await all_sealed(sealed)
        more = await sealed.append()
        await all_sealed(sealed)
        assert await sealed.leaves() == [*high, *low, *more]
    assert (await sealed.verified()).verdict is Verdict.VERIFIED


async def test_of_a_gap_what_is_committed_is_sealed_piece_by_piece(
    sealed: SealedDatabase,
) -> None:
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(sealed.open_transaction()) for _ in range(5)]
        drawn = [(await insert(connection))[0] for connection in held]
        high = await sealed.append()
        await stack.enter_async_context(sealed.sealing())
        await all_sealed(sealed)
        for number in (2, 0, 4):
            await held[number].commit()
            await all_sealed(sealed)
        await held[1].rollback()
        await held[3].commit()
        await all_sealed(sealed)
        wanted = [*high, drawn[2], drawn[0], drawn[4], drawn[3]]
        assert await sealed.leaves() == wanted


async def test_numbers_that_were_rolled_back_are_forgotten(sealed: SealedDatabase) -> None:
    """But for as long as a transaction that began before them still runs."""
    log = PostgresSealingLog(sealed.database, gap_seconds=0.0)
    async with (
        sealed.open_transaction() as lost,
        sealed.open_transaction() as running,
        sealed.sealing(log=log),
    ):
        low = await insert(lost, 3)
        await insert(running)
        await sealed.append()
        await all_sealed(sealed)
        await lost.rollback()
        for _ in range(3):
            await sealed.append()
            await all_sealed(sealed)
        assert (await sealed.state())[1] == min(low) - 1
        await running.commit()

        async def settled() -> bool:
            [highest] = await sealed.append()
            await all_sealed(sealed)
            return (await sealed.state())[1] == highest

        await until(settled)


async def test_a_gap_is_looked_at_for_its_time_whatever_transactions_say(
    sealed: SealedDatabase,
) -> None:
    """A number can be drawn a moment before its transaction has an id."""
    async with sealed.open_transaction() as lost, sealed.sealing():
        low = await insert(lost)
        await sealed.append()
        await all_sealed(sealed)
        await lost.rollback()
        for _ in range(5):
            await sealed.append()
            await all_sealed(sealed)
        assert (await sealed.state())[1] == low[0] - 1


async def test_a_gap_waits_for_the_newest_transaction_too(sealed: SealedDatabase) -> None:
    """Nothing that began after it has ended when its number is passed over."""
    log = PostgresSealingLog(sealed.database, gap_seconds=0.0)
    async with sealed.open_transaction() as older, sealed.open_transaction() as newest:
        first, low = await insert(older), await insert(newest)
        high = await insert(older)
        await older.commit()
        async with log.lead() as sealing:
            size, found = 0, []
            for commits in (False, False, True):
                if commits:
                    await newest.commit()
                assert (await sealing.state()).size == size
                leaves = await sealing.unsealed(10)
                growth = TreeGrowth(size, await sealing.tiles(edge_tiles(size)))
                growth.extend([leaf.hash for leaf in leaves])
                await sealing.extend(size, leaves, growth.changed())
                found.append([leaf.position for leaf in leaves])
                size += len(leaves)
    assert found == [[*first, *high], [], low]


async def test_who_takes_over_finds_the_gaps_of_the_one_before(sealed: SealedDatabase) -> None:
    first = await sealed.append(2)
    async with sealed.open_transaction() as early, sealed.open_transaction() as late:
        low = await insert(early, 2)
        middle = await sealed.append(2)
        later = await insert(late, 2)
        high = await sealed.append(2)
        await sealed.sealer().seal_now()
        assert await sealed.leaves() == [*first, *middle, *high]
        await late.commit()
        await sealed.sealer().seal_now()
        await early.commit()
        await sealed.sealer().seal_now()
    assert await sealed.leaves() == [*first, *middle, *high, *later, *low]
    assert (await sealed.verified()).verdict is Verdict.VERIFIED


async def test_a_growth_that_fails_forgets_nothing(sealed: SealedDatabase) -> None:
    async with sealed.open_transaction() as late, sealed.log.lead() as sealing:
        low = await insert(late)
        high = await sealed.append(2)
        assert (await sealing.state()).size == 0
        leaves = await sealing.unsealed(10)
        assert [leaf.position for leaf in leaves] == high
        growth = TreeGrowth(0, {})
        growth.extend([leaf.hash for leaf in leaves])
        await sealed.tamper("UPDATE strongroom.log_tree SET size = 1")
        with pytest.raises(Overtaken):
            await sealing.extend(0, leaves, growth.changed())
        assert await sealed.leaves() == []
        assert await sealed.query("SELECT 1 FROM strongroom.log_tiles") == []
        await sealed.tamper("UPDATE strongroom.log_tree SET size = 0")
        assert await sealing.unsealed(10) == leaves
        await sealing.extend(0, leaves, growth.changed())
        await late.commit()
        [found] = await sealing.unsealed(10)
        assert found.position == low[0]


async def test_no_more_than_asked_for_are_handed_out(sealed: SealedDatabase) -> None:
    async with sealed.open_transaction() as late, sealed.log.lead() as sealing:
        low = await insert(late, 4)
        high = await sealed.append(3)
        size, found = 0, []
        for limit in (2, 3, 3, 3, 3):
            assert (await sealing.state()).size == size
            leaves = await sealing.unsealed(limit)
            growth = TreeGrowth(size, await sealing.tiles(edge_tiles(size)))
            growth.extend([leaf.hash for leaf in leaves])
            await sealing.extend(size, leaves, growth.changed())
            found.append([leaf.position for leaf in leaves])
            size += len(leaves)
            if size == 2:
                await late.commit()
                high += await sealed.append(3)
    assert found == [high[:2], low[:3], [low[3], *high[2:4]], high[4:], []]


Steps = list[tuple[str, int]]
steps = st.lists(
    st.tuples(
        st.sampled_from(["insert", "insert", "commit", "rollback", "seal", "take over"]),
        st.integers(0, 3),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def shared(urls: DatabaseUrls, tmp_path_factory: pytest.TempPathFactory) -> SealedDatabase:
    """A log that grows over many examples."""
    return SealedDatabase(urls, Database(urls.app_url), tmp_path_factory.mktemp("shared"))


@settings(max_examples=times(25, 1000), suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_whatever_the_order_each_event_is_sealed_once(shared: SealedDatabase, todo: Steps) -> None:
    """Transactions that draw numbers, commit or roll back while sealers come and go."""
    asyncio.run(_each_is_sealed_once(shared, todo))


async def _each_is_sealed_once(shared: SealedDatabase, todo: Steps) -> None:
    log = PostgresSealingLog(shared.database, gap_seconds=0.0)
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(shared.open_transaction()) for _ in range(4)]
        leading = AsyncExitStack()
        try:
            sealing = await leading.enter_async_context(log.lead())
            last: Steps = [("commit", number) for number in range(4)]
            for step, number in [*todo, *last, ("seal", 0)]:
                if step == "insert":
                    await insert(held[number])
                elif step == "commit":
                    await held[number].commit()
                elif step == "rollback":
                    await held[number].rollback()
                elif step == "take over":
                    await leading.aclose()
                    sealing = await leading.enter_async_context(log.lead())
                else:
                    size = (await sealing.state()).size
                    while leaves := await sealing.unsealed(3):
                        growth = TreeGrowth(size, await sealing.tiles(edge_tiles(size)))
                        growth.extend([leaf.hash for leaf in leaves])
                        await sealing.extend(size, leaves, growth.changed())
                        size += len(leaves)
        finally:
            await leading.aclose()
    assert sorted(await shared.leaves()) == await shared.positions()
