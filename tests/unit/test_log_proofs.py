"""Receipts: C2SP tlog-proof, verified with nothing but the log's key."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reference_log import KEY, ORIGIN, entries, flipped, flips, path_to, root_of, signed
from vault_service.domain.checkpoints import Checkpoint
from vault_service.domain.log_proofs import LogProof, verify_log_proof
from vault_service.domain.merkle import ProofInvalid
from vault_service.domain.notes import (
    NoteError,
    NoteMalformed,
    SignatureInvalid,
    UnknownKey,
    VerifierKey,
)

LEAVES = entries(173)
INDEX = 100
CHECKPOINT = Checkpoint(ORIGIN, len(LEAVES), root_of(LEAVES))
NOTE = signed(CHECKPOINT.text())
HASHES = tuple(path_to(INDEX, LEAVES))
PROOF = LogProof(INDEX, HASHES, NOTE, LEAVES[INDEX])
LINES = [base64.b64encode(node).decode() + "\n" for node in HASHES]
HEAD = "c2sp.org/tlog-proof@v1\n"
EXTRA = "extra ZW50cnkgMTAw\n"

notes = st.integers(1, 2**63 - 1).map(
    lambda size: signed(Checkpoint(ORIGIN, size, root_of(LEAVES)).text())
)
hashes = st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple)
proofs = st.builds(
    LogProof, st.integers(0, 2**63 - 2), hashes, notes, st.none() | st.binary(min_size=1)
)


def _verify_alone(receipt: bytes) -> Checkpoint:
    proof = LogProof.parse(receipt.decode())
    return verify_log_proof(proof, proof.extra or b"", KEY)


def test_a_proof_is_spelled_as_the_standard_says() -> None:
    text = HEAD + EXTRA + "index 100\n" + "".join(LINES) + "\n" + NOTE
    assert PROOF.encode() == text
    assert LogProof.parse(text) == PROOF
    bare = LogProof(0, (), NOTE, None)
    assert bare.encode() == HEAD + "index 0\n\n" + NOTE
    assert LogProof.parse(bare.encode()) == bare


@given(proofs)
def test_a_proof_comes_back_whole(proof: LogProof) -> None:
    assert LogProof.parse(proof.encode()) == proof


def test_a_receipt_verifies_alone() -> None:
    assert _verify_alone(PROOF.encode().encode()) == CHECKPOINT


@given(st.integers(1, len(LEAVES)), st.data())
def test_every_entry_has_a_receipt_and_no_other_entry_passes(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    checkpoint = Checkpoint(ORIGIN, size, root_of(LEAVES[:size]))
    path = tuple(path_to(index, LEAVES[:size]))
    proof = LogProof(index, path, signed(checkpoint.text()), None)
    assert verify_log_proof(proof, LEAVES[index], KEY) == checkpoint
    bit = data.draw(st.integers(0, 8 * len(LEAVES[index]) - 1))
    for other in (flipped(LEAVES[index], bit), LEAVES[index - 1] + b"x", b""):
        with pytest.raises(ProofInvalid):
            verify_log_proof(proof, other, KEY)


def test_no_bit_of_a_receipt_can_be_changed() -> None:
    """Whoever takes the entry from ``extra`` notices a change there too."""
    for changed in flips(PROOF.encode().encode()):
        with pytest.raises((NoteError, ProofInvalid, UnicodeDecodeError)):
            _verify_alone(changed)


def test_no_bit_of_the_entry_can_be_changed() -> None:
    for changed in flips(LEAVES[INDEX]):
        with pytest.raises(ProofInvalid):
            verify_log_proof(PROOF, changed, KEY)


def test_the_proof_is_of_this_place_in_this_tree() -> None:
    smaller = LEAVES[:150]
    other = signed(Checkpoint(ORIGIN, 150, root_of(smaller)).text())
    for spoiled in (
        LogProof(INDEX + 1, HASHES, NOTE),
        LogProof(len(LEAVES), HASHES, NOTE),
        LogProof(INDEX, HASHES[:-1], NOTE),
        LogProof(INDEX, (*HASHES, HASHES[0]), NOTE),
        LogProof(INDEX, (HASHES[1], HASHES[0], *HASHES[2:]), NOTE),
        LogProof(INDEX, HASHES, other),
    ):
        with pytest.raises(ProofInvalid):
            verify_log_proof(spoiled, LEAVES[INDEX], KEY)


def test_the_checkpoint_is_signed_by_the_pinned_key() -> None:
    with pytest.raises(UnknownKey):
        verify_log_proof(PROOF, LEAVES[INDEX], VerifierKey("other", KEY.public_key_der))
    forged = NOTE.replace(f"\n{len(LEAVES)}\n", f"\n{len(LEAVES) + 1}\n")
    with pytest.raises(SignatureInvalid):
        verify_log_proof(LogProof(INDEX, HASHES, forged), LEAVES[INDEX], KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEAD,
        NOTE,
        HEAD + NOTE,
        HEAD + "\n" + NOTE,
        HEAD + "index 0\n" + NOTE,
        HEAD + "index 0\n",
        HEAD + "index 0\n\n",
        HEAD + "index 0\n\n" + CHECKPOINT.text(),
        HEAD + "index 0\n\n" + NOTE + "\n",
        HEAD + "index 0\n\n\n" + NOTE,
        HEAD + "index 0\n\n" + signed("no checkpoint\n"),
        HEAD.replace("v1", "v2") + "index 0\n\n" + NOTE,
        "\n" + HEAD + "index 0\n\n" + NOTE,
        HEAD + "index\n\n" + NOTE,
        HEAD + "index \n\n" + NOTE,
        HEAD + "index 00\n\n" + NOTE,
        HEAD + "index -1\n\n" + NOTE,
        HEAD + "index +1\n\n" + NOTE,
        HEAD + "index  1\n\n" + NOTE,
        HEAD + f"index {2**63 - 1}\n\n" + NOTE,
        HEAD + "Index 0\n\n" + NOTE,
        HEAD + "index 0\n" + EXTRA + "\n" + NOTE,
        HEAD + EXTRA + EXTRA + "index 0\n\n" + NOTE,
        HEAD + "extra\nindex 0\n\n" + NOTE,
        HEAD + "extra \nindex 0\n\n" + NOTE,
        HEAD + "extra ZW50cnkgMTA\nindex 0\n\n" + NOTE,
        HEAD + "index 0\nAAAA\n\n" + NOTE,
        HEAD + "index 0\n" + LINES[0].replace("=", "") + "\n" + NOTE,
        HEAD + "index 0\n " + LINES[0] + "\n" + NOTE,
        HEAD + "index 0\n" + LINES[0] * 64 + "\n" + NOTE,
        PROOF.encode().replace("\n", "\r\n"),
    ],
)
def test_what_is_no_proof_is_refused(text: str) -> None:
    with pytest.raises(NoteMalformed):
        LogProof.parse(text)


def test_a_proof_has_a_largest_size() -> None:
    room = "A" * (1 << 24)
    with pytest.raises(NoteMalformed, match="long"):
        LogProof.parse(HEAD + "extra " + room + "\nindex 0\n\n" + NOTE)
    large = LogProof(INDEX, HASHES, NOTE, bytes(12_000_000))
    assert LogProof.parse(large.encode()) == large


def test_what_is_no_proof_is_not_written() -> None:
    for index in (-1, 2**63 - 1):
        with pytest.raises(NoteMalformed, match="index"):
            LogProof(index, HASHES, NOTE)
    for path in ((HASHES[0][:31],), (HASHES[0],) * 64):
        with pytest.raises(NoteMalformed, match="path"):
            LogProof(INDEX, path, NOTE)
    with pytest.raises(NoteMalformed, match="extra"):
        LogProof(INDEX, HASHES, NOTE, b"")
    with pytest.raises(NoteMalformed, match="note"):
        LogProof(INDEX, HASHES, CHECKPOINT.text())
