"""The keyring behind a failing KMS: nothing half-made is kept, and it recovers."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest

from tests.fakes.keys import MemoryKeyStore
from tests.fakes.kms_faults import WRAPPING_FAULTS, KmsFaultProxy, Mode
from tests.stored import key_event
from vault_service.adapters.kms.aws import AwsKmsWrapper
from vault_service.domain.catalog import DataClass, Domain, TokenFormat
from vault_service.domain.errors import Code, VaultError
from vault_service.services.keys import Keyring

PAN = DataClass("pan", frozenset({"pci"}), "luhn", True, TokenFormat.OPAQUE, ("masked",), "pan")
AT = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """A key store, a KMS and a clock that is moved by hand."""

    def __init__(self, wrapper: AwsKmsWrapper) -> None:
        self.store = MemoryKeyStore()
        self.wrapper = wrapper
        self.seconds = 0.0

    def keyring(self) -> Keyring:
        return Keyring(
            self.store,
            {Domain.PCI: self.wrapper},
            environment="test",
            clock=lambda: AT,
            monotonic=lambda: self.seconds,
            record=key_event,
        )


@pytest.fixture(scope="module")
def server() -> Iterator[KmsFaultProxy]:
    with KmsFaultProxy() as proxy:
        yield proxy


@pytest.fixture
async def kms(
    server: KmsFaultProxy, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KmsFaultProxy]:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    yield server
    server.mode = Mode.OK


@pytest.fixture
async def world(kms: KmsFaultProxy) -> AsyncIterator[World]:
    wrapper = AwsKmsWrapper(kms.create_key())
    yield World(wrapper)
    wrapper.close()


@pytest.mark.parametrize("mode", WRAPPING_FAULTS)
async def test_no_key_is_stored_that_kms_does_not_give_back(
    kms: KmsFaultProxy, world: World, mode: Mode
) -> None:
    keyring = world.keyring()
    kms.mode = mode
    with pytest.raises(VaultError) as caught:
        await keyring.encrypting("main", PAN, 1)
    assert caught.value.code is Code.KEY_UNAVAILABLE
    assert caught.value.retry_after is not None
    assert not world.store.rows
    assert not world.store.events
    kms.mode = Mode.OK
    world.seconds += 1
    sealed = (await keyring.encrypting("main", PAN, 1)).encrypt("4111", "tok", (), bytes(12))
    (key,) = await world.store.list("main")
    reader = await world.keyring().decrypting("main", PAN, key.id)
    assert reader.decrypt(sealed, "tok", ()) == "4111"


@pytest.mark.parametrize("mode", WRAPPING_FAULTS)
async def test_reads_fail_closed_and_recover_without_a_restart(
    kms: KmsFaultProxy, world: World, mode: Mode
) -> None:
    cipher = await world.keyring().encrypting("main", PAN, 1)
    sealed = cipher.encrypt("4111", "tok", (), bytes(12))
    reader = world.keyring()
    kms.mode = mode
    with pytest.raises(VaultError) as caught:
        await reader.decrypting("main", PAN, cipher.key_id)
    assert caught.value.code is Code.KEY_UNAVAILABLE
    asked = kms.calls.total()
    with pytest.raises(VaultError):
        await reader.decrypting("main", PAN, cipher.key_id)
    assert kms.calls.total() == asked
    kms.mode = Mode.OK
    world.seconds += 1
    opened = await reader.decrypting("main", PAN, cipher.key_id)
    assert opened.decrypt(sealed, "tok", ()) == "4111"
