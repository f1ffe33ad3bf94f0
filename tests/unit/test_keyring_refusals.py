"""Keys that the keyring does not use: moved, another's, wrapped wrongly, out of KMS's reach."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.fakes.keys import MemoryKeyWrapper
from tests.unit.keyring_world import EMAIL, PAN, World, data_class
from vault_service.domain.errors import DamagedKey, IntegrityFailure, KeyUnavailable
from vault_service.domain.ports import KeyPurpose


async def test_cached_keys_serve_while_kms_is_away_and_then_no_more(world: World) -> None:
    keyring = world.keyring()
    cipher = await keyring.encrypting("main", PAN, 1)
    index = await keyring.index_key("main", PAN)
    world.pci.failure = KeyUnavailable("KMS cannot be reached.")
    for _ in range(299):
        world.seconds += 1
        assert (await keyring.encrypting("main", PAN, 1)) is cipher
        assert (await keyring.decrypting("main", PAN, cipher.key_id)) is cipher
        assert (await keyring.index_key("main", PAN)) is index
    world.seconds += 1
    for call in (
        keyring.encrypting("main", PAN, 1),
        keyring.decrypting("main", PAN, cipher.key_id),
        keyring.index_key("main", PAN),
        keyring.rotate("main", PAN),
    ):
        with pytest.raises(KeyUnavailable):
            await call
    assert len(world.store.rows) == 2
    world.pci.failure = None
    world.seconds += 1
    assert (await keyring.encrypting("main", PAN, 1)).key_id == cipher.key_id


async def test_wrapped_keys_that_change_places_do_not_unwrap(world: World) -> None:
    keyring = world.keyring()
    pairs = [
        ((await keyring.encrypting("main", PAN, 1)).key_id, "main", PAN),
        ((await keyring.encrypting("other", PAN, 1)).key_id, "other", PAN),
    ]
    pairs.append(((await keyring.rotate("main", PAN)).id, "main", PAN))
    rows = world.store.rows
    original = dict(rows)
    for one, tenant, kind in pairs:
        for two, _, _ in pairs:
            if one == two:
                continue
            rows[one] = replace(original[one], wrapped=original[two].wrapped)
            with pytest.raises(DamagedKey):
                await world.keyring().decrypting(tenant, kind, one)
            rows[one] = original[one]


async def test_a_row_moved_to_another_tenant_or_class_does_not_unwrap(world: World) -> None:
    key_id = (await world.keyring().encrypting("main", PAN, 1)).key_id
    original = world.store.rows[key_id]
    world.store.rows[key_id] = replace(original, tenant="other")
    with pytest.raises(DamagedKey):
        await world.keyring().decrypting("other", PAN, key_id)
    iban = data_class("iban", "pci")
    world.store.rows[key_id] = replace(original, data_class="iban")
    with pytest.raises(DamagedKey):
        await world.keyring().decrypting("main", iban, key_id)


async def test_a_key_made_for_one_purpose_serves_no_other(world: World) -> None:
    key_id = (await world.keyring().encrypting("main", PAN, 1)).key_id
    row = world.store.rows[key_id]
    world.store.rows[key_id] = replace(row, purpose=KeyPurpose.BLIND_INDEX)
    with pytest.raises(DamagedKey):
        await world.keyring().index_key("main", PAN)


async def test_another_environment_cannot_use_the_rows(world: World) -> None:
    key_id = (await world.keyring().encrypting("main", PAN, 1)).key_id
    with pytest.raises(DamagedKey):
        await world.keyring(environment="dev").decrypting("main", PAN, key_id)


async def test_records_cannot_name_keys_of_others(world: World) -> None:
    keyring = world.keyring()
    pan = (await keyring.encrypting("main", PAN, 1)).key_id
    index = (await keyring.index_key("main", PAN)).id
    for tenant, kind, key_id in (
        ("other", PAN, pan),
        ("main", EMAIL, pan),
        ("main", PAN, index),
        ("main", PAN, 999),
    ):
        with pytest.raises(IntegrityFailure):
            await keyring.decrypting(tenant, kind, key_id)
        with pytest.raises(IntegrityFailure):
            await world.keyring().decrypting(tenant, kind, key_id)
    assert (await keyring.decrypting("main", PAN, pan)).key_id == pan


async def test_a_key_under_an_unknown_wrapping_key_is_unavailable(world: World) -> None:
    key_id = (await world.keyring().encrypting("main", PAN, 1)).key_id
    world.pci = MemoryKeyWrapper("another")
    with pytest.raises(KeyUnavailable, match="key_unavailable") as caught:
        await world.keyring().decrypting("main", PAN, key_id)
    assert "not configured" in caught.value.detail


async def test_a_key_that_was_wrapped_wrongly_is_never_used(world: World) -> None:
    class Liar(MemoryKeyWrapper):
        async def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
            return (await super().wrap(bytes(32), context))[: self.keep]

        keep: int | None = None

    for keep in (None, 40):
        world.pci = liar = Liar("pci")
        liar.keep = keep
        with pytest.raises(KeyUnavailable) as caught:
            await world.keyring().encrypting("main", PAN, 1)
        assert "give back" in caught.value.detail
    assert not world.store.rows
    assert not world.store.events


async def test_probe_asks_every_wrapping_key_and_remembers_for_a_while(world: World) -> None:
    keyring = world.keyring()
    await keyring.probe()
    await keyring.probe()
    assert (world.pci.wraps, world.pii.unwraps) == (1, 1)
    world.pii.failure = KeyUnavailable("The wrapping key is disabled.")
    world.seconds += 5
    with pytest.raises(KeyUnavailable):
        await keyring.probe()
    world.pii.failure = None
    world.seconds += 1
    await keyring.probe()
    assert not world.store.rows


async def test_closing_forgets_the_keys(world: World) -> None:
    keyring = world.keyring()
    cipher = await keyring.encrypting("main", PAN, 1)
    keyring.close()
    world.pci.failure = KeyUnavailable("KMS cannot be reached.")
    with pytest.raises(KeyUnavailable):
        await keyring.decrypting("main", PAN, cipher.key_id)
