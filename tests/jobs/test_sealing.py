"""What is sealed opens whole for its recipient, for the run it is of, and not otherwise."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting_jobs.failures import RunFailed
from reporting_jobs.recipients import KmsRecipient, recipient
from reporting_jobs.sealing import FRAME_BYTES, Sealed, SealInvalid, context, unseal
from tests.jobs.conftest import Aws, RsaPair, rsa_pair, sha256
from tests.soak import times
from vault_service.domain.report_failures import FailureCode

BOUND = context("run_1", "tiny", "ab" * 32)
ARN = "arn:aws:kms:eu-west-1:111122223333:key/12345678-1234-1234-1234-123456789012"


def sealed_for(pair: RsaPair, data: bytes, step: int = 1000) -> Sealed:
    return Sealed((data[at : at + step] for at in range(0, len(data), step)), pair.recipient, BOUND)


def opened(data: bytes, **key: Any) -> bytes:
    return b"".join(unseal(io.BytesIO(data), BOUND, **key))


@pytest.mark.parametrize("length", [0, 1, FRAME_BYTES - 1, FRAME_BYTES, 3 * FRAME_BYTES + 7])
def test_it_opens_for_the_recipient(reader: RsaPair, length: int) -> None:
    sealed = sealed_for(reader, b"x" * length)
    data = b"".join(sealed)
    assert (sealed.sha256, sealed.length) == (sha256(data), len(data))
    assert b"xxxxxxxx" not in data
    assert opened(data, private_key=reader.private) == b"x" * length


def test_it_opens_for_nobody_else(reader: RsaPair, stranger: RsaPair) -> None:
    data = b"".join(sealed_for(reader, b"x" * 100))
    with pytest.raises(SealInvalid):
        opened(data, private_key=stranger.private)
    for name in BOUND:
        with pytest.raises(SealInvalid):
            list(unseal(io.BytesIO(data), {**BOUND, name: "x"}, private_key=reader.private))
    with pytest.raises(SealInvalid):
        list(unseal(io.BytesIO(data), {}, private_key=reader.private))


@settings(max_examples=times(40, 1000))
@given(st.data())
def test_a_changed_byte_or_a_missing_end_is_seen(reader: RsaPair, data: st.DataObject) -> None:
    whole = b"".join(sealed_for(reader, b"x" * 200))
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    for spoiled in (bytes(changed), whole[:place], whole + b"x"):
        with pytest.raises(SealInvalid):
            opened(spoiled, private_key=reader.private)


def test_a_kms_recipient_opens_it_with_its_own_key_alone(aws: Aws) -> None:
    arn = aws.key()
    to = recipient(arn)
    assert to == KmsRecipient(arn, "eu-west-1")
    data = b"".join(Sealed([b"figures"], to, BOUND))
    assert opened(data, key_arn=arn) == b"figures"
    with pytest.raises(SealInvalid):
        opened(data, key_arn=aws.key())


def test_a_key_that_cannot_be_used_says_so(aws: Aws) -> None:
    missing = KmsRecipient(ARN, "eu-west-1")
    with pytest.raises(RunFailed) as refused:
        list(Sealed([b"x"], missing, BOUND))
    assert refused.value.code == FailureCode.RECIPIENT_UNUSABLE


def test_what_making_the_pieces_raises_passes_through(reader: RsaPair) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"x" * 200_000
        raise RunFailed(FailureCode.ROW_CAP_EXCEEDED, "too many")

    with pytest.raises(RunFailed) as refused:
        list(Sealed(pieces(), reader.recipient, BOUND))
    assert refused.value.code == FailureCode.ROW_CAP_EXCEEDED


def test_pieces_are_asked_for_as_the_store_takes_them(reader: RsaPair) -> None:
    taken = []

    def pieces() -> Iterator[bytes]:
        for number in range(100):
            taken.append(number)
            yield b"x" * FRAME_BYTES

    stream = iter(Sealed(pieces(), reader.recipient, BOUND))
    next(stream)
    assert len(taken) < 10


def test_recipients_are_named_exactly(reader: RsaPair, stranger: RsaPair) -> None:
    name = reader.recipient.name
    assert recipient(name, reader.public) == reader.recipient
    for reference, key in (
        (name, stranger.public),
        (name, None),
        (name, "not a key"),
        ("alias/x", None),
        ("arn:aws:kms:eu-west-1:111122223333:alias/x", None),
        ("rsa:00", reader.public),
    ):
        with pytest.raises(RunFailed) as refused:
            recipient(reference, key)
        assert refused.value.code == FailureCode.RECIPIENT_UNUSABLE


def test_short_rsa_keys_are_refused() -> None:
    with pytest.raises(RunFailed, match=r"3,072 bits"):
        rsa_pair(2048)
