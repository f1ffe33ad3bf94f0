"""Signing on a real database: when it is due, what it extends, and without a key."""

from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from tests.sealed import (
    SealedDatabase,
    all_sealed,
    leader,
    signed_at,
    until,
)
from vault_service.domain.errors import KeyUnavailable
from vault_service.domain.merkle import consistency_proof, verify_consistency
from vault_service.domain.tiles import (
    TileNodes,
    tiles_for_consistency,
)
from vault_service.domain.transparency import Overtaken
from vault_service.verifier.findings import Verdict


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
    errors = {line["event"] for line in lines if line["log_level"] != "info"}
    assert errors == {"signing_failed"}
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
