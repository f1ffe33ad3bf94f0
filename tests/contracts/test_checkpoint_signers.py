"""What every signing key promises: in a file, and in KMS."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.checkpoints import RemovableSigner
from tests.fakes.kms_faults import KmsFaultProxy
from vault_service.adapters.signing.aws import KmsSigningKey
from vault_service.adapters.signing.local import UnsafeLocalSigningKey
from vault_service.domain.checkpoints import Checkpoint, open_checkpoint
from vault_service.domain.errors import ConfigurationError
from vault_service.domain.merkle import leaf_hash
from vault_service.domain.notes import SignatureInvalid, UnknownKey, VerifierKey, sign_line
from vault_service.domain.ports import CheckpointSigner

NAME = "vault.example/audit"
CHECKPOINT = Checkpoint(NAME, 1, leaf_hash(b"an event"))

Signer = KmsSigningKey | UnsafeLocalSigningKey | RemovableSigner
Signers = tuple[Signer, Signer]


@pytest.fixture(scope="module")
def kms() -> Iterator[KmsFaultProxy]:
    with KmsFaultProxy() as proxy:
        yield proxy


@pytest.fixture(params=["local", "removable", "aws"])
def signers(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Signers]:
    """Two signing keys of one kind and name."""
    pair: Signers
    if request.param == "local":
        pair = (
            UnsafeLocalSigningKey(tmp_path / "one.pem", NAME),
            UnsafeLocalSigningKey(tmp_path / "two.pem", NAME),
        )
    elif request.param == "removable":
        pair = (
            RemovableSigner(UnsafeLocalSigningKey(tmp_path / "one.pem", NAME)),
            RemovableSigner(UnsafeLocalSigningKey(tmp_path / "two.pem", NAME)),
        )
    else:
        kms: KmsFaultProxy = request.getfixturevalue("kms")
        for name, value in kms.environment().items():
            monkeypatch.setenv(name, value)
        # moto answers in bursts on a busy machine: this test is not about deadlines.
        pair = (
            KmsSigningKey(kms.create_signing_key(), NAME, deadline=30),
            KmsSigningKey(kms.create_signing_key(), NAME, deadline=30),
        )
    yield pair
    for signer in pair:
        signer.close()


async def signed(signer: CheckpointSigner) -> str:
    text = CHECKPOINT.text()
    signature = await signer.sign(text.encode())
    return f"{text}\n{sign_line(signer.name, signer.key.key_id, signature)}"


async def test_signs_checkpoints_that_its_key_opens(signers: Signers) -> None:
    """C2SP signed-note, type 0x02; PCI-DSS 10.3.4: a change of the log is found by it."""
    signer, _ = signers
    note = await signed(signer)
    pinned = VerifierKey.parse(signer.key.encode())
    assert open_checkpoint(note, pinned, NAME) == CHECKPOINT


@pytest.mark.parametrize("length", [1, 4096, 4097, 200_000])
async def test_signs_texts_of_any_length(signers: Signers, length: int) -> None:
    """KMS takes 4096 bytes as they are; a manifest of many parts is longer."""
    signer, _ = signers
    await signer.open()
    signer.key.check(b"x" * length, await signer.sign(b"x" * length))


async def test_another_key_of_the_same_name_does_not_open_them(signers: Signers) -> None:
    first, second = signers
    note = await signed(first)
    with pytest.raises(UnknownKey):
        open_checkpoint(note, await second.open())


async def test_signs_this_message_and_no_other(signers: Signers) -> None:
    signer, _ = signers
    signature = await signer.sign(b"a message\n")
    signer.key.check(b"a message\n", signature)
    for other in (b"a message", b"a message\n\n", b"b message\n", b""):
        with pytest.raises(SignatureInvalid):
            signer.key.check(other, signature)


async def test_has_one_key_under_the_name_it_was_given(signers: Signers) -> None:
    signer, other = signers
    key = await signer.open()
    assert key == signer.key == await signer.open()
    assert key.name == signer.name == NAME
    assert key != await other.open()


async def test_signs_in_parallel(signers: Signers) -> None:
    signer, _ = signers
    messages = [f"message {n}\n".encode() for n in range(16)]
    signatures = await asyncio.gather(*(signer.sign(message) for message in messages))
    for message, signature in zip(messages, signatures, strict=True):
        signer.key.check(message, signature)


@pytest.mark.parametrize("name", ["", "with space", "a+b", "line\nbreak", "nul\x00"])
def test_refuses_names_that_cannot_stand_in_a_signature_line(tmp_path: Path, name: str) -> None:
    arn = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000"
    with pytest.raises(ConfigurationError, match="name"):
        UnsafeLocalSigningKey(tmp_path / "signing.pem", name)
    with pytest.raises(ConfigurationError, match="name"):
        KmsSigningKey(arn, name)
