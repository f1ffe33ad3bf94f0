"""Sealing on a real database: what is committed is in the tree once, signed and kept."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.conftest import DatabaseUrls
from tests.sealed import ORIGIN, SealedDatabase, Watching, insert, until
from tests.soak import times
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.log_statements import LOCK
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.adapters.postgres.sealing_log import PostgresSealingLog
from vault_service.domain.checkpoints import Checkpoint
from vault_service.domain.errors import Code, KeyUnavailable, VaultError
from vault_service.domain.merkle import consistency_proof, leaf_hash, verify_consistency
from vault_service.domain.notes import sign_line
from vault_service.domain.tiles import (
    TileNodes,
    TreeGrowth,
    edge_tiles,
    tiles_for_consistency,
)
from vault_service.domain.transparency import Overtaken
from vault_service.services.sealing import LogBroken
from vault_service.verifier.bundles import verify_bundle
from vault_service.verifier.findings import Verdict


@pytest.fixture
async def sealed(empty_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[SealedDatabase]:
    """A log without leaves."""
    await asyncio.to_thread(upgrade, empty_database.migrator_url)
    database = Database(empty_database.app_url)
    await database.open()
    yield SealedDatabase(empty_database, database, tmp_path)
    await database.close()


async def leader(sealed: SealedDatabase) -> int | None:
    """The database's process id of the connection that leads, if one does."""
    rows = await sealed.query(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND (classid::bigint << 32 | objid::bigint) = %s",
        LOCK,
    )
    assert len(rows) <= 1
    return rows[0][0] if rows else None


async def admit(sealed: SealedDatabase, connections: bool) -> None:
    """Whether new connections to the log's database are let in."""
    url = sealed.urls.superuser_url.replace(f"/{sealed.urls.name}", "/postgres")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        statement = f'ALTER DATABASE "{sealed.urls.name}" ALLOW_CONNECTIONS {connections}'
        await connection.execute(statement.encode())


async def all_sealed(sealed: SealedDatabase) -> None:
    """Wait until every committed event is a leaf."""

    async def holds() -> bool:
        return sorted(await sealed.leaves()) == await sealed.positions()

    await until(holds)


async def signed_at(sealed: SealedDatabase, *sizes: int) -> None:
    """Wait until there are checkpoints of these sizes, and no others."""

    async def holds() -> bool:
        found = [checkpoint.size for checkpoint in await sealed.checkpoints()]
        assert set(found) <= set(sizes), found
        return found == list(sizes)

    await until(holds)


# --- leaves -------------------------------------------------------------------------------


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


# --- who leads ----------------------------------------------------------------------------


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


# --- signing ------------------------------------------------------------------------------


async def test_checkpoints_are_signed_when_they_are_due(sealed: SealedDatabase) -> None:
    """The first at once; then where one is wanted, at a thousand leaves, after a minute,
    and at the end."""
    async with sealed.sealing():
        await sealed.append(2)
        await signed_at(sealed, 2)
        for _ in range(3):  # each round has settled what the one before it left
            await sealed.append()
            await all_sealed(sealed)
        await signed_at(sealed, 2)
        await sealed.reader.want(4)
        await signed_at(sealed, 2, 5)
        await sealed.append(999)
        await all_sealed(sealed)
        await signed_at(sealed, 2, 5)
        await sealed.append()
        await signed_at(sealed, 2, 5, 1005)
        await sealed.append()
        await all_sealed(sealed)
        sealed.clock.advance(seconds=59.9)
        await sealed.append()
        await all_sealed(sealed)
        await signed_at(sealed, 2, 5, 1005)
        sealed.clock.advance(seconds=0.1)
        await signed_at(sealed, 2, 5, 1005, 1007)
        assert (await sealed.newest()).created_at == sealed.clock.now
        sealed.clock.advance(hours=1)  # nothing new, nothing to sign
        await sealed.append()
        await signed_at(sealed, 2, 5, 1005, 1007, 1008)
        await sealed.append()
    await signed_at(sealed, 2, 5, 1005, 1007, 1008, 1009)
    assert sealed.watching.signatures == 6
    assert set(sealed.watching.broken) == {False}


async def test_each_checkpoint_extends_the_one_before(sealed: SealedDatabase) -> None:
    """RFC 6962 2.1.2."""
    for count in (1, 1, 254, 1, 300, 700):
        await sealed.append(count)
        await sealed.sealer().seal_now()
    found = await sealed.checkpoints()
    assert [checkpoint.size for checkpoint in found] == [1, 2, 256, 257, 557, 1257]
    for old, new in pairwise(found):
        tiles = await sealed.reader.tiles(tiles_for_consistency(old.size, new.size))
        proof = consistency_proof(old.size, new.size, TileNodes(tiles).node)
        verify_consistency(old.size, old.root, new.size, new.root, proof)


async def test_a_tree_of_no_leaves_is_never_signed(sealed: SealedDatabase) -> None:
    await sealed.sealer().seal_now()
    async with sealed.sealing():
        await sealed.reader.want(1)
        sealed.clock.advance(hours=1)

        async def looked() -> bool:
            return sealed.watching.broken.count(False) > 0

        await until(looked)
    assert await sealed.checkpoints() == []
    assert sealed.copies() == {}
    assert sealed.watching.signatures == 0


async def test_sealing_goes_on_without_the_signing_key(sealed: SealedDatabase) -> None:
    sealed.signer.away = True
    with capture_logs() as lines:
        async with sealed.sealing():
            for _ in range(3):
                await sealed.append(400)
                await all_sealed(sealed)
            assert await sealed.checkpoints() == []
            with pytest.raises(Overtaken):
                await sealed.sealer().seal_now()
            sealed.signer.away = False
            # The key is left alone for a while.
            await sealed.append()
            await all_sealed(sealed)
            assert await sealed.checkpoints() == []
            sealed.clock.advance(seconds=5)
            await signed_at(sealed, 1201)
    assert {"signing_failed"} == {line["event"] for line in lines}
    assert sealed.watching.signatures == 1
    assert (await sealed.verified()).verdict is Verdict.VERIFIED


async def test_who_asks_for_a_signature_is_told_that_there_is_no_key(
    sealed: SealedDatabase,
) -> None:
    await sealed.append(2)
    sealed.signer.away = True
    with pytest.raises(KeyUnavailable):
        await sealed.sealer().seal_now()
    assert len(await sealed.leaves()) == 2
    assert await leader(sealed) is None


# --- copies elsewhere ---------------------------------------------------------------------


async def test_copies_of_all_checkpoints_are_kept_and_noted(sealed: SealedDatabase) -> None:
    """PCI-DSS 10.3.3."""
    async with sealed.sealing():
        for size in (1, 2, 3):
            await sealed.append()
            await all_sealed(sealed)
            await sealed.reader.want(size)
            await signed_at(sealed, *range(1, size + 1))
        await sealed.append()
    rows = await sealed.query(
        "SELECT tree_size, note, anchored_at FROM strongroom.log_checkpoints ORDER BY tree_size"
    )
    assert sealed.copies() == {size: note for size, note, _ in rows}
    assert [(size, at) for size, _, at in rows] == [(n, sealed.clock.now) for n in (1, 2, 3, 4)]


async def test_nothing_waits_for_an_anchor_that_is_away(sealed: SealedDatabase) -> None:
    """What could not be kept is told, and caught up later."""
    sealed.anchor.away = True
    async with sealed.sealing():
        for size in (1, 2):
            await sealed.append()
            await all_sealed(sealed)
            await sealed.reader.want(size)
            await signed_at(sealed, *range(1, size + 1))
        assert await sealed.loose() == [1, 2]
        assert sealed.watching.anchor_failures > 0
        assert sealed.copies() == {}
        sealed.anchor.away = False

        async def caught_up() -> bool:
            return await sealed.loose() == []

        await until(caught_up)
        assert sorted(sealed.copies()) == [1, 2]
    assert set(sealed.watching.broken) == {False}


async def test_nothing_waits_for_an_anchor_that_does_not_answer(sealed: SealedDatabase) -> None:
    await sealed.append()
    async with sealed.sealing():
        await signed_at(sealed, 1)
        sealed.anchor.reached.clear()
        for size in (2, 3):
            await sealed.append()
            await all_sealed(sealed)
            await sealed.reader.want(size)
            await signed_at(sealed, *range(1, size + 1))
        assert 3 in await sealed.loose()
        sealed.anchor.reached.set()
    assert await sealed.loose() == []
    assert sorted(sealed.copies()) == [1, 2, 3]


async def test_a_copy_that_says_something_else_is_called_a_broken_log(
    sealed: SealedDatabase,
) -> None:
    await sealed.append(2)
    async with sealed.sealing():
        await signed_at(sealed, 2)

        async def kept() -> bool:
            return await sealed.loose() == []

        await until(kept)
        text = Checkpoint(ORIGIN, 3, b"\x07" * 32).text()
        line = sign_line(ORIGIN, sealed.key.key_id, await sealed.signer.sign(text.encode()))
        (sealed.folder / f"{3:019d}.checkpoint").write_text(f"{text}\n{line}")
        (sealed.folder / f"{3:019d}.checkpoint").chmod(0o600)
        await sealed.append()
        await sealed.reader.want(3)

        async def told() -> bool:
            return sealed.watching.broken[-1]

        await until(told)
    assert await sealed.loose() == [3]
    with pytest.raises(LogBroken):
        await sealed.sealer().seal_now()


# --- a log that was tampered with ---------------------------------------------------------

ROLL_BACK = (
    "DELETE FROM strongroom.log_leaves WHERE leaf_index >= 5",
    "UPDATE strongroom.log_tree SET size = 5, settled = 0",
    "DELETE FROM strongroom.audit_events WHERE position NOT IN"
    " (SELECT position FROM strongroom.log_leaves)",
)
FORGET = "DELETE FROM strongroom.log_checkpoints WHERE tree_size > 5"
OTHER_SIZE = "UPDATE strongroom.log_checkpoints SET note = replace(note, E'\\n10\\n', E'\\n9\\n')"
REWRITE = (
    "UPDATE strongroom.log_tiles SET hashes = overlay(hashes PLACING '\\x00112233' FROM 65)"
    " WHERE level = 0"
)


async def five_and_five(sealed: SealedDatabase) -> None:
    """Ten leaves, signed and kept at five and at ten."""
    for _ in range(2):
        await sealed.append(5)
        await sealed.sealer().seal_now()
    assert sorted(sealed.copies()) == [5, 10]


@pytest.mark.parametrize(
    ("done", "copies"),
    [
        pytest.param(ROLL_BACK, False, id="rolled back"),
        pytest.param((*ROLL_BACK, FORGET), True, id="rolled back, checkpoints too"),
        pytest.param((REWRITE,), False, id="rewritten"),
        pytest.param(("DELETE FROM strongroom.log_checkpoints", REWRITE), True, id="and unsigned"),
        pytest.param((OTHER_SIZE,), False, id="note altered"),
        pytest.param(("UPDATE strongroom.log_checkpoints SET note = ''",), False, id="note gone"),
        pytest.param(("DELETE FROM strongroom.log_tiles",), False, id="tiles gone"),
    ],
)
async def test_a_log_that_was_tampered_with_is_not_signed_again(
    sealed: SealedDatabase, done: tuple[str, ...], copies: bool
) -> None:
    """PCI-DSS 10.3.4: by the checkpoint in the database, and by the copy elsewhere."""
    await five_and_five(sealed)
    await sealed.tamper(*done)
    if not copies:
        shutil.rmtree(sealed.folder)  # the database alone gives it away
    before = await sealed.query("SELECT tree_size, note FROM strongroom.log_checkpoints")
    with capture_logs() as lines:
        async with sealed.sealing():

            async def told() -> bool:
                return sealed.watching.broken[-1:] == [True]

            await until(told)
    assert {line["event"] for line in lines} == {"audit_log_broken"}
    await sealed.append(5)
    with pytest.raises(LogBroken):
        await sealed.sealer().seal_now()
    assert await sealed.query("SELECT tree_size, note FROM strongroom.log_checkpoints") == before


async def test_a_tree_that_is_rewritten_under_its_sealer_is_not_signed(
    sealed: SealedDatabase,
) -> None:
    await sealed.append(5)
    async with sealed.sealing():
        await signed_at(sealed, 5)
        await sealed.tamper(REWRITE)
        await sealed.append()
        await sealed.reader.want(6)

        async def told() -> bool:
            return sealed.watching.broken[-1]

        await until(told)
    await signed_at(sealed, 5)


async def test_a_rollback_is_not_hidden_by_an_anchor_that_was_away(sealed: SealedDatabase) -> None:
    """Whoever can roll back the database may be able to cut the network too: nothing is
    kept over what could not be compared."""
    await five_and_five(sealed)
    kept = sealed.copies()
    await sealed.tamper(*ROLL_BACK, FORGET)
    sealed.anchor.away = True
    async with sealed.sealing():
        await sealed.append(8)
        await sealed.reader.want(13)
        await signed_at(sealed, 5, 13)
        sealed.anchor.away = False

        async def told() -> bool:
            return sealed.watching.broken[-1]

        await until(told)
    assert sealed.copies() == kept


async def test_a_log_that_is_put_right_is_signed_again(sealed: SealedDatabase) -> None:
    await five_and_five(sealed)
    hashes = await sealed.query("SELECT hashes FROM strongroom.log_tiles")
    await sealed.tamper(REWRITE)
    with pytest.raises(LogBroken):
        await sealed.sealer().seal_now()
    await sealed.query("UPDATE strongroom.log_tiles SET hashes = %s", hashes[0][0])
    await sealed.append()
    await sealed.sealer().seal_now()
    assert [checkpoint.size for checkpoint in await sealed.checkpoints()] == [5, 10, 11]
    assert sealed.watching.broken[-1] is False
    assert (await sealed.verified()).verdict is Verdict.VERIFIED


# --- once, and at the end -----------------------------------------------------------------


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
