"""The keyring over fakes: epochs, use counts, rotation, and one key for all processes."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.fakes.keys import MemoryKeyStore
from tests.unit.keyring_world import EMAIL, PAN, World
from vault_service.domain.ciphertext import MAX_KEY_USES
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.ports import KeyPurpose, KeyState, StoredKey
from vault_service.services.keys import Keyring

NONCE = bytes(12)


async def test_first_use_makes_epoch_one_with_its_event(world: World) -> None:
    cipher = await world.keyring().encrypting("main", PAN, 1)
    (key,) = await world.store.list("main")
    assert (key.id, key.epoch, key.state) == (cipher.key_id, 1, KeyState.ACTIVE)
    (event,) = world.store.events
    assert (event.action, event.principal, event.tenant) == ("create_data_key", "system", "main")
    assert event.data_classes == ["pan"]
    assert event.detail == {
        "key_id": cipher.key_id,
        "key_purpose": "record",
        "epoch": 1,
        "reason": "first_use",
    }


async def test_keys_of_tenants_classes_and_purposes_are_apart(world: World) -> None:
    keyring = world.keyring()
    ids = [
        (await keyring.encrypting("main", PAN, 1)).key_id,
        (await keyring.encrypting("other", PAN, 1)).key_id,
        (await keyring.encrypting("main", EMAIL, 1)).key_id,
        (await keyring.index_key("main", PAN)).id,
        (await keyring.index_key("main", EMAIL)).id,
        (await keyring.idempotency_key("main")).id,
    ]
    assert len(set(ids)) == 6
    assert len({key.wrapped for key in world.store.rows.values()}) == 6


async def test_each_sensitivity_domain_has_its_wrapping_key(world: World) -> None:
    keyring = world.keyring()
    pan = await keyring.encrypting("main", PAN, 1)
    email = await keyring.encrypting("main", EMAIL, 1)
    request = await keyring.idempotency_key("main")
    rows = world.store.rows
    assert rows[pan.key_id].wrapper == "memory:pci"
    assert rows[email.key_id].wrapper == "memory:pii"
    assert rows[request.id].wrapper == "memory:pii"


async def test_processes_that_start_together_use_one_key(world: World) -> None:
    keyrings = [world.keyring() for _ in range(8)]
    ciphers = await asyncio.gather(*(k.encrypting("main", PAN, 1) for k in keyrings))
    assert len({cipher.key_id for cipher in ciphers}) == 1
    indexes = await asyncio.gather(*(k.index_key("main", PAN) for k in keyrings))
    assert len({index.digest("4111111111111111") for index in indexes}) == 1
    assert len(world.store.events) == 2


async def test_what_one_process_encrypts_another_reads(world: World) -> None:
    cipher = await world.keyring().encrypting("main", PAN, 1)
    sealed = cipher.encrypt("4111111111111111", "tok", (), NONCE)
    reader = await world.keyring().decrypting("main", PAN, cipher.key_id)
    assert reader.decrypt(sealed, "tok", ()) == "4111111111111111"


async def test_rotation_encrypts_anew_and_still_reads_the_old(world: World) -> None:
    keyring, elsewhere = world.keyring(), world.keyring()
    old = await keyring.encrypting("main", PAN, 1)
    assert (await elsewhere.encrypting("main", PAN, 1)).key_id == old.key_id
    stored = await keyring.rotate("main", PAN, principal="vault-admin")
    assert (stored.epoch, stored.state) == (2, KeyState.ACTIVE)
    assert world.store.rows[old.key_id].state is KeyState.RETIRED
    assert (await keyring.encrypting("main", PAN, 1)).key_id == stored.id
    world.seconds += 1
    assert (await elsewhere.encrypting("main", PAN, 1)).key_id == stored.id
    assert (await world.keyring().decrypting("main", PAN, old.key_id)).key_id == old.key_id
    event = world.store.events[-1]
    assert (event.action, event.principal) == ("rotate_data_key", "vault-admin")
    assert event.detail["reason"] == "requested"


@pytest.mark.parametrize("purpose", [KeyPurpose.BLIND_INDEX, KeyPurpose.IDEMPOTENCY])
async def test_keys_behind_stored_digests_are_not_rotated(
    world: World, purpose: KeyPurpose
) -> None:
    with pytest.raises(VaultError) as caught:
        await world.keyring().rotate("main", PAN, purpose)
    assert caught.value.code is Code.INVALID_REQUEST
    assert not world.store.rows


async def test_a_key_retires_after_ninety_days(world: World) -> None:
    """PCI-DSS 3.7.4."""
    keyring = world.keyring()
    first = await keyring.encrypting("main", PAN, 1)
    world.now += timedelta(days=89, hours=23)
    world.seconds += 1000
    assert (await keyring.encrypting("main", PAN, 1)).key_id == first.key_id
    world.now += timedelta(hours=1)
    world.seconds += 1
    assert (await keyring.encrypting("main", PAN, 1)).key_id != first.key_id
    assert world.store.events[-1].detail["reason"] == "age"


async def test_a_key_retires_before_its_last_use(world: World) -> None:
    """NIST SP 800-38D 8.3."""
    keyring = world.keyring(block=100)
    first = await keyring.encrypting("main", PAN, 1)
    world.store.rows[first.key_id] = replace(
        world.store.rows[first.key_id], uses=MAX_KEY_USES - 150
    )
    world.seconds += 1
    ciphers = [await keyring.encrypting("main", PAN, 1) for _ in range(249)]
    assert ciphers[-1].key_id != first.key_id
    assert world.store.rows[first.key_id].uses <= MAX_KEY_USES
    assert world.store.events[-1].detail["reason"] == "uses"


async def test_uses_are_counted_ahead_and_never_too_few(world: World) -> None:
    keyring = world.keyring(block=100)
    made = 0
    for count in (1, 99, 1, 60, 250, 1):
        await keyring.encrypting("main", PAN, count)
        made += count
        (key,) = await world.store.list("main")
        assert key.uses >= made
    for _ in range(50):
        world.seconds += 1
        await keyring.encrypting("main", PAN, 1)
    (key,) = await world.store.list("main")
    assert made + 50 <= key.uses < made + 50 + 250


async def test_concurrent_callers_share_a_block(world: World) -> None:
    keyring = world.keyring(block=100)
    await asyncio.gather(*(keyring.encrypting("main", PAN, 1) for _ in range(100)))
    (key,) = await world.store.list("main")
    assert key.uses == 100


async def test_a_retired_key_is_not_given_more_uses(world: World) -> None:
    keyring = world.keyring(block=10)
    first = await keyring.encrypting("main", PAN, 10)
    successor = await world.keyring().rotate("main", PAN)
    assert (await keyring.encrypting("main", PAN, 1)).key_id == successor.id
    assert world.store.rows[first.key_id].uses == 10


async def test_a_class_without_an_active_key_gets_the_next_epoch(world: World) -> None:
    keyring = world.keyring()
    first = await keyring.encrypting("main", PAN, 1)
    world.store.rows[first.key_id] = replace(
        world.store.rows[first.key_id], state=KeyState.DESTROYED
    )
    world.seconds += 1
    second = await keyring.encrypting("main", PAN, 1)
    assert world.store.rows[second.key_id].epoch == 2
    with pytest.raises(VaultError) as caught:
        await world.keyring().decrypting("main", PAN, first.key_id)
    assert caught.value.code is Code.ERASED


async def test_kms_is_asked_once_for_many_callers(world: World) -> None:
    cipher = await world.keyring().encrypting("main", PAN, 1)
    keyring, before = world.keyring(), world.pci.unwraps
    await asyncio.gather(*(keyring.decrypting("main", PAN, cipher.key_id) for _ in range(100)))
    assert world.pci.unwraps == before + 1


class LateStore(MemoryKeyStore):
    """A rival process stores its first key just after ``current`` found none."""

    rival: Keyring

    async def current(self, tenant: str, data_class: str, purpose: KeyPurpose) -> StoredKey | None:
        found = await super().current(tenant, data_class, purpose)
        if found is None and (rival := getattr(self, "rival", None)) is not None:
            del self.rival
            await rival.index_key("main", PAN)
        return found


async def test_two_processes_that_begin_together_share_one_index_key() -> None:
    # Two blind-index keys at once would give one value two tokens.
    world = World()
    world.store = LateStore()
    first, second = world.keyring(), world.keyring()
    world.store.rival = first
    mine = await second.index_key("main", PAN)
    theirs = await first.index_key("main", PAN)
    assert mine.id == theirs.id
    assert mine.digest("4111111111111111") == theirs.digest("4111111111111111")
    assert len(world.store.rows) == 1
