"""A signing key in KMS that fails in every way KMS knows: no signature, a clear error,
and recovery without a restart."""

import asyncio
import base64
import logging
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.fakes.kms_faults import KmsFaultProxy, Mode
from vault_service.adapters.signing.aws import KmsSigningKey
from vault_service.domain.errors import Code, ConfigurationError, KeyUnavailable
from vault_service.domain.notes import VerifierKey

NAME = "vault.example/audit"
MESSAGE = b"vault.example/audit\n1\nroot\n"
SLOW = "KMS does not answer in time."
UNAVAILABLE = {
    Mode.REFUSE: "KMS cannot be reached.",
    Mode.HANG: SLOW,
    Mode.DRIP: SLOW,
    Mode.DROP: "KMS cannot be reached.",
    Mode.THROTTLE: "KMS throttles this account.",
    Mode.ACCESS_DENIED: "KMS denies access to the signing key.",
    Mode.DISABLED: "The signing key is disabled.",
    Mode.PENDING_DELETION: "The signing key is pending deletion or not ready.",
    Mode.SERVER_ERROR: "KMS failed.",
    Mode.GARBAGE: "KMS failed.",
}
OTHER_KIND = "The signing key is of another kind"


@pytest.fixture(scope="module")
def server() -> Iterator[KmsFaultProxy]:
    with KmsFaultProxy() as proxy:
        yield proxy


@pytest.fixture
def kms(server: KmsFaultProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[KmsFaultProxy]:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    yield server
    server.mode = Mode.OK


@pytest.fixture
def signer(kms: KmsFaultProxy) -> Iterator[KmsSigningKey]:
    key = KmsSigningKey(kms.create_signing_key(), NAME)
    yield key
    key.close()


async def key_in_the_end(signer: KmsSigningKey) -> VerifierKey:
    """What ``key`` gives once it no longer says that it is unavailable."""
    while True:
        try:
            return signer.key
        except KeyUnavailable:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("mode", UNAVAILABLE)
async def test_out_of_reach_is_key_unavailable_until_it_is_back(
    kms: KmsFaultProxy, signer: KmsSigningKey, mode: Mode
) -> None:
    await signer.open()
    kms.mode = mode
    with pytest.raises(KeyUnavailable) as caught:
        await signer.sign(MESSAGE)
    assert caught.value.code is Code.KEY_UNAVAILABLE
    assert caught.value.retry_after is not None
    assert caught.value.detail == UNAVAILABLE[mode]
    assert signer.key.name == NAME
    kms.mode = Mode.OK
    signer.key.check(MESSAGE, await signer.sign(MESSAGE))


@pytest.mark.parametrize("mode", UNAVAILABLE)
async def test_the_public_key_is_out_of_reach_until_it_is_back(
    kms: KmsFaultProxy, signer: KmsSigningKey, mode: Mode
) -> None:
    kms.mode = mode
    with pytest.raises(KeyUnavailable) as caught:
        await signer.open()
    assert caught.value.detail == UNAVAILABLE[mode]
    with pytest.raises(KeyUnavailable):
        await signer.sign(MESSAGE)
    kms.mode = Mode.OK
    signature = await signer.sign(MESSAGE)
    signer.key.check(MESSAGE, signature)


async def test_nothing_waits_for_kms_at_start(kms: KmsFaultProxy) -> None:
    kms.mode = Mode.HANG
    before = kms.calls["GetPublicKey"]
    signer = KmsSigningKey(kms.create_signing_key(), NAME)
    assert kms.calls["GetPublicKey"] == before
    with pytest.raises(KeyUnavailable) as caught:
        _ = signer.key
    assert caught.value.detail == "KMS has not given the public key of the signing key yet."
    kms.mode = Mode.OK
    key = await asyncio.wait_for(key_in_the_end(signer), 60)
    key.check(MESSAGE, await signer.sign(MESSAGE))
    signer.close()


async def test_asking_for_the_key_again_says_why_it_was_not_given(kms: KmsFaultProxy) -> None:
    kms.mode = Mode.ACCESS_DENIED
    signer = KmsSigningKey(kms.create_signing_key(), NAME)

    async def reason() -> str:
        while True:
            try:
                _ = signer.key
            except KeyUnavailable as error:
                if "yet" not in error.detail:
                    return error.detail
                await asyncio.sleep(0.01)

    assert await asyncio.wait_for(reason(), 60) == "KMS denies access to the signing key."
    kms.mode = Mode.OK
    await asyncio.wait_for(key_in_the_end(signer), 60)
    signer.close()


async def test_the_public_key_is_fetched_once(kms: KmsFaultProxy, signer: KmsSigningKey) -> None:
    before = kms.calls["GetPublicKey"]
    await signer.open()
    for _ in range(3):
        await signer.sign(MESSAGE)
        await signer.open()
        _ = signer.key
    assert kms.calls["GetPublicKey"] == before + 1


@pytest.mark.parametrize("mode", [Mode.WRONG_SIGNATURE, Mode.NO_SIGNATURE])
async def test_a_signature_that_does_not_verify_is_never_given(
    kms: KmsFaultProxy, signer: KmsSigningKey, mode: Mode
) -> None:
    """PCI-DSS 10.3.4: it would be read as tampering."""
    await signer.open()
    kms.mode = mode
    with capture_logs() as lines, pytest.raises(KeyUnavailable) as caught:
        await signer.sign(MESSAGE)
    assert caught.value.detail == "KMS gave a signature that does not verify."
    assert [line["event"] for line in lines] == ["signature_does_not_verify"]
    kms.mode = Mode.OK
    signer.key.check(MESSAGE, await signer.sign(MESSAGE))


@pytest.mark.parametrize(
    ("spec", "usage"),
    [
        ("ECC_NIST_P384", "SIGN_VERIFY"),
        ("ECC_SECG_P256K1", "SIGN_VERIFY"),
        ("RSA_2048", "SIGN_VERIFY"),
        ("ECC_NIST_P256", "KEY_AGREEMENT"),
    ],
)
async def test_a_key_of_another_kind_is_refused(kms: KmsFaultProxy, spec: str, usage: str) -> None:
    signer = KmsSigningKey(kms.create_signing_key(spec, usage), NAME)
    with capture_logs() as lines, pytest.raises(KeyUnavailable, match="key_unavailable") as caught:
        await signer.sign(MESSAGE)
    assert caught.value.detail.startswith(OTHER_KIND)
    assert "ECC_NIST_P256" in caught.value.detail
    assert [line["event"] for line in lines] == ["signing_key_unusable"]
    signer.close()


async def test_a_public_key_that_is_not_of_its_kind_is_refused(
    kms: KmsFaultProxy, signer: KmsSigningKey
) -> None:
    kms.mode = Mode.WRONG_CURVE
    with pytest.raises(KeyUnavailable) as caught:
        await signer.open()
    assert caught.value.detail.startswith(OTHER_KIND)


async def test_a_wrapping_key_signs_nothing(kms: KmsFaultProxy) -> None:
    signer = KmsSigningKey(kms.create_key(), NAME)
    with pytest.raises(KeyUnavailable) as caught:
        await signer.sign(MESSAGE)
    assert caught.value.detail.startswith(OTHER_KIND)
    signer.close()


async def test_a_key_that_is_switched_off_stays_off(kms: KmsFaultProxy) -> None:
    arn = kms.create_signing_key()
    signer = KmsSigningKey(arn, NAME)
    await signer.open()
    kms.disable(arn)
    with pytest.raises(KeyUnavailable) as disabled:
        await signer.sign(MESSAGE)
    assert disabled.value.detail == "The signing key is disabled."
    kms.enable(arn)
    signer.key.check(MESSAGE, await signer.sign(MESSAGE))
    signer.close()


async def test_more_callers_than_threads_all_get_an_answer(
    kms: KmsFaultProxy, signer: KmsSigningKey
) -> None:
    await signer.open()
    kms.mode = Mode.HANG
    calls = (signer.sign(MESSAGE) for _ in range(20))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, KeyUnavailable) for answer in answers)
    kms.mode = Mode.OK
    signer.key.check(MESSAGE, await signer.sign(MESSAGE))


@pytest.mark.parametrize(
    "arn", ["", "alias/audit", "arn:aws:kms:eu-west-1:123456789012:alias/audit", "arn:aws:s3:::b"]
)
def test_names_that_are_no_key_arn_are_refused(arn: str) -> None:
    with pytest.raises(ConfigurationError, match=r"signing key .* key ARN"):
        KmsSigningKey(arn, NAME)


async def test_nothing_of_kms_reaches_the_log_at_debug_level(
    kms: KmsFaultProxy, signer: KmsSigningKey, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        signature = await signer.sign(MESSAGE)
        kms.mode = Mode.ACCESS_DENIED
        with pytest.raises(KeyUnavailable):
            await signer.sign(MESSAGE)
    assert base64.b64encode(signature).decode() not in caplog.text
    assert not [line for line in caplog.records if line.name.startswith(("boto", "urllib3"))]
