"""What every wrapping key promises: in memory, in a file, and in KMS."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.keys import MemoryKeyWrapper
from tests.fakes.kms_faults import KmsFaultProxy
from vault_service.adapters.kms.aws import AwsKmsWrapper
from vault_service.adapters.kms.local import UnsafeLocalRootKey
from vault_service.domain.errors import Code, DamagedKey
from vault_service.domain.ports import KeyWrapper

CONTEXT = {
    "environment": "test",
    "tenant": "main",
    "data_class": "pan",
    "key_id": "7",
    "purpose": "record",
}
SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def kms() -> Iterator[KmsFaultProxy]:
    with KmsFaultProxy() as proxy:
        yield proxy


@pytest.fixture(params=["memory", "local", "aws"])
def wrappers(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[KeyWrapper, KeyWrapper]]:
    """Two wrapping keys of one kind."""
    if request.param == "memory":
        yield MemoryKeyWrapper("one"), MemoryKeyWrapper("two")
    elif request.param == "local":
        pair = UnsafeLocalRootKey(tmp_path / "one"), UnsafeLocalRootKey(tmp_path / "two")
        yield pair
        for local in pair:
            local.close()
    else:
        kms: KmsFaultProxy = request.getfixturevalue("kms")
        for name, value in kms.environment().items():
            monkeypatch.setenv(name, value)
        # moto answers in bursts on a busy machine: this test is not about deadlines.
        keys = [AwsKmsWrapper(kms.create_key(), deadline=30) for _ in range(2)]
        yield keys[0], keys[1]
        for key in keys:
            key.close()


async def test_gives_back_what_it_wrapped(wrappers: tuple[KeyWrapper, KeyWrapper]) -> None:
    wrapper, _ = wrappers
    wrapped = await wrapper.wrap(SECRET, CONTEXT)
    assert SECRET not in wrapped
    assert await wrapper.unwrap(wrapped, CONTEXT) == SECRET


async def test_wraps_differently_each_time(wrappers: tuple[KeyWrapper, KeyWrapper]) -> None:
    wrapper, _ = wrappers
    assert await wrapper.wrap(SECRET, CONTEXT) != await wrapper.wrap(SECRET, CONTEXT)


@pytest.mark.parametrize("changed", sorted(CONTEXT))
async def test_is_bound_to_each_fact(wrappers: tuple[KeyWrapper, KeyWrapper], changed: str) -> None:
    """PCI-DSS 3.7.7: a wrapped key that is moved to another row does not unwrap."""
    wrapper, _ = wrappers
    wrapped = await wrapper.wrap(SECRET, CONTEXT)
    with pytest.raises(DamagedKey) as caught:
        await wrapper.unwrap(wrapped, {**CONTEXT, changed: "8"})
    assert caught.value.code is Code.KEY_UNAVAILABLE


async def test_does_not_open_what_another_key_wrapped(
    wrappers: tuple[KeyWrapper, KeyWrapper],
) -> None:
    wrapped = await wrappers[1].wrap(SECRET, CONTEXT)
    with pytest.raises(DamagedKey):
        await wrappers[0].unwrap(wrapped, CONTEXT)


async def test_opens_nothing_that_was_changed(wrappers: tuple[KeyWrapper, KeyWrapper]) -> None:
    wrapper, _ = wrappers
    wrapped = await wrapper.wrap(SECRET, CONTEXT)
    middle = len(wrapped) // 2
    for damaged in (
        b"",
        wrapped[:1],
        wrapped[:middle],
        wrapped[:-1],
        wrapped + b"\0",
        os.urandom(len(wrapped)),
        wrapped[:middle] + bytes([wrapped[middle] ^ 1]) + wrapped[middle + 1 :],
        wrapped[:-1] + bytes([wrapped[-1] ^ 1]),
    ):
        with pytest.raises(DamagedKey):
            await wrapper.unwrap(damaged, CONTEXT)


async def test_names_itself_and_nothing_else(wrappers: tuple[KeyWrapper, KeyWrapper]) -> None:
    first, second = wrappers
    assert first.reference != second.reference
    assert first.reference == first.reference
    assert SECRET.hex() not in repr(first)
