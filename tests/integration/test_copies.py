"""Copies of checkpoints, kept while the log is sealed; anchors that are away."""

import pytest

from tests.sealed import (
    ORIGIN,
    SealedDatabase,
    all_sealed,
    signed_at,
    until,
)
from vault_service.domain.checkpoints import Checkpoint
from vault_service.domain.notes import sign_line
from vault_service.services.sealing import LogBroken


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
