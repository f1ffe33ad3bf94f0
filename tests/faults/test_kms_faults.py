"""KMS that fails in every way it knows: no key, a clear error, and recovery."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fakes.kms_faults import KmsFaultProxy, Mode
from vault_service.adapters.kms.aws import AwsKmsWrapper
from vault_service.domain.errors import (
    Code,
    ConfigurationError,
    DamagedKey,
    KeyUnavailable,
    VaultError,
)

CONTEXT = {
    "environment": "test",
    "tenant": "main",
    "data_class": "pan",
    "key_id": "7",
    "purpose": "record",
}
SECRET = bytes(range(32))
UNAVAILABLE = {
    Mode.REFUSE: "KMS cannot be reached.",
    Mode.HANG: "KMS does not answer in time.",
    Mode.DRIP: "KMS does not answer in time.",
    Mode.DROP: "KMS cannot be reached.",
    Mode.THROTTLE: "KMS throttles this account.",
    Mode.ACCESS_DENIED: "KMS denies access to the wrapping key.",
    Mode.DISABLED: "The wrapping key is disabled.",
    Mode.PENDING_DELETION: "The wrapping key is pending deletion or not ready.",
    Mode.SERVER_ERROR: "KMS failed.",
    Mode.GARBAGE: "KMS failed.",
}
DAMAGED = [Mode.WRONG_PLAINTEXT, Mode.SHORT_PLAINTEXT, Mode.WRONG_KEY, Mode.TRUNCATED_BLOB]


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
async def wrapper(kms: KmsFaultProxy) -> AsyncIterator[AwsKmsWrapper]:
    key = AwsKmsWrapper(kms.create_key())
    await key.wrap(SECRET, CONTEXT)
    yield key
    key.close()


@pytest.mark.parametrize("mode", UNAVAILABLE)
async def test_out_of_reach_is_key_unavailable_until_it_is_back(
    kms: KmsFaultProxy, wrapper: AwsKmsWrapper, mode: Mode
) -> None:
    wrapped = await wrapper.wrap(SECRET, CONTEXT)
    kms.mode = mode
    for call in (wrapper.unwrap(wrapped, CONTEXT), wrapper.wrap(SECRET, CONTEXT)):
        with pytest.raises(KeyUnavailable) as caught:
            await call
        assert caught.value.code is Code.KEY_UNAVAILABLE
        assert caught.value.retry_after is not None
        assert caught.value.detail == UNAVAILABLE[mode]
    kms.mode = Mode.OK
    assert await wrapper.unwrap(wrapped, CONTEXT) == SECRET


@pytest.mark.parametrize("mode", DAMAGED)
async def test_a_wrong_answer_opens_nothing(
    kms: KmsFaultProxy, wrapper: AwsKmsWrapper, mode: Mode
) -> None:
    """The message commits to its key: KMS cannot make it open as anything else."""
    wrapped = await wrapper.wrap(SECRET, CONTEXT)
    kms.mode = mode
    with pytest.raises(DamagedKey) as caught:
        await wrapper.unwrap(wrapped, CONTEXT)
    assert caught.value.code is Code.KEY_UNAVAILABLE
    kms.mode = Mode.OK
    assert await wrapper.unwrap(wrapped, CONTEXT) == SECRET


@pytest.mark.parametrize("mode", DAMAGED)
async def test_what_was_wrapped_wrongly_is_refused_or_does_not_open(
    kms: KmsFaultProxy, wrapper: AwsKmsWrapper, mode: Mode
) -> None:
    kms.mode = mode
    try:
        wrapped = await wrapper.wrap(SECRET, CONTEXT)
    except KeyUnavailable:
        return
    kms.mode = Mode.OK
    with pytest.raises(DamagedKey):
        await wrapper.unwrap(wrapped, CONTEXT)


async def test_a_key_that_is_switched_off_stays_off(
    kms: KmsFaultProxy, wrapper: AwsKmsWrapper
) -> None:
    wrapped = await wrapper.wrap(SECRET, CONTEXT)
    kms.disable(wrapper.reference)
    with pytest.raises(KeyUnavailable, match="key_unavailable") as disabled:
        await wrapper.unwrap(wrapped, CONTEXT)
    assert "disabled" in disabled.value.detail
    kms.enable(wrapper.reference)
    assert await wrapper.unwrap(wrapped, CONTEXT) == SECRET
    kms.schedule_deletion(wrapper.reference)
    with pytest.raises(KeyUnavailable) as doomed:
        await wrapper.unwrap(wrapped, CONTEXT)
    assert "pending deletion" in doomed.value.detail


async def test_more_callers_than_threads_all_get_an_answer(
    kms: KmsFaultProxy, wrapper: AwsKmsWrapper
) -> None:
    kms.mode = Mode.HANG
    calls = (wrapper.wrap(SECRET, CONTEXT) for _ in range(40))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, KeyUnavailable) for answer in answers)
    kms.mode = Mode.OK
    opened = await wrapper.unwrap(await wrapper.wrap(SECRET, CONTEXT), CONTEXT)
    assert opened == SECRET


async def test_no_credentials_is_key_unavailable(
    kms: KmsFaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(KeyUnavailable) as caught:
        await AwsKmsWrapper(kms.create_key()).wrap(SECRET, CONTEXT)
    assert caught.value.detail == "There are no AWS credentials."


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "alias/vault",
        "arn:aws:kms:eu-west-1:123456789012:alias/vault",
        "arn:aws:s3:::bucket",
        "arn:aws:kms:eu-west-1:1234:key/x",
    ],
)
def test_names_that_are_no_key_arn_are_refused(arn: str) -> None:
    with pytest.raises(ConfigurationError, match="key ARN"):
        AwsKmsWrapper(arn)


async def test_no_key_reaches_the_log_at_debug_level(
    kms: KmsFaultProxy, wrapper: AwsKmsWrapper, caplog: pytest.LogCaptureFixture
) -> None:
    """botocore logs whole answers at debug level, plaintext keys included."""
    with caplog.at_level(logging.DEBUG):
        wrapped = await wrapper.wrap(SECRET, CONTEXT)
        await wrapper.unwrap(wrapped, CONTEXT)
        for mode in DAMAGED:
            kms.mode = mode
            with pytest.raises(VaultError):
                await wrapper.unwrap(wrapped, CONTEXT)
    assert len(kms.plaintexts) > 2
    hidden = [*kms.plaintexts, base64.b64encode(SECRET).decode(), SECRET.hex()]
    assert not [secret for secret in hidden if secret in caplog.text]
    assert not [line for line in caplog.records if line.name.startswith(("aws_", "boto"))]
