"""A single receipt, verified alone."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.bundles import KEY, OTHER_SIGNER, SealedLog, event, events
from vault_service.domain.log_proofs import MAX_PROOF_BYTES, LogProof
from vault_service.verifier.findings import Verdict
from vault_service.verifier.receipts import verify_receipt
from vault_service.verifier.summary import told_receipt

LOG = SealedLog(events(30))
RECEIPT = LOG.receipt(17).encode()
PROOF = LogProof.parse(RECEIPT.decode())


def test_a_receipt_tells_the_event_it_proves() -> None:
    report = verify_receipt(RECEIPT, KEY)
    assert report.verdict is Verdict.VERIFIED
    assert report.leaf == 17
    assert report.checkpoint is not None
    assert report.checkpoint.size == 30
    assert report.event is not None
    assert (report.event.id, report.event.time) == (event(17).id, event(17).occurred_at)
    words = "\n".join(told_receipt(report, KEY))
    for part in (
        "VERIFIED: the event is leaf 17 of the log.",
        event(17).id,
        "2026-03-01T12:00:17.000000Z",
        "Principal   chargeback-service",
        "Action      detokenize",
        "Purpose     chargeback",
        "Outcome     ok",
        "Tokens      1",
    ):
        assert part in words
    assert "tok_pan_17" not in words


def test_a_failed_authentication_has_a_receipt_too() -> None:
    log = SealedLog([event(0, principal=None, purpose=None, groups=())])
    words = "\n".join(told_receipt(verify_receipt(log.receipt(0).encode(), KEY), KEY))
    assert "Principal   not authenticated" in words
    assert "Purpose     none" in words


@pytest.mark.parametrize(
    ("receipt", "kind", "exit_code"),
    [
        (replace(PROOF, extra=LOG.bodies[16]), "proof_invalid", 1),
        (replace(PROOF, index=16), "proof_invalid", 1),
        (replace(PROOF, hashes=PROOF.hashes[:-1]), "proof_invalid", 1),
        (replace(PROOF, extra=None), "malformed", 3),
        (replace(PROOF, checkpoint=PROOF.checkpoint.replace("\n30\n", "\n31\n")),
         "signature_invalid", 1),
        (LogProof.parse(SealedLog(events(30), OTHER_SIGNER).receipt(17)), "unknown_key", 3),
        (LogProof.parse(SealedLog([b'{"v":2}']).receipt(0)), "event_unreadable", 3),
        (LogProof.parse(SealedLog([b"["]).receipt(0)), "event_unreadable", 3),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(receipt: LogProof, kind: str, exit_code: int) -> None:
    report = verify_receipt(receipt.encode().encode(), KEY)
    assert [finding.kind.value for finding in report.findings] == [kind]
    assert report.verdict.value == exit_code
    assert report.event is None
    assert report.findings[0].text in "\n".join(told_receipt(report, KEY))


def test_no_byte_of_a_receipt_can_be_changed() -> None:
    for at, byte in enumerate(RECEIPT):
        changed = RECEIPT[:at] + bytes([byte ^ 1 << at % 8]) + RECEIPT[at + 1 :]
        assert verify_receipt(changed, KEY).verdict is not Verdict.VERIFIED, at


@given(st.binary() | st.binary().map(lambda tail: RECEIPT[:60] + tail))
@example(b"c2sp.org/tlog-proof@v1\nextra " + b"A" * MAX_PROOF_BYTES)
@example(RECEIPT.replace(b"index 17", b"index " + b"9" * 5000))
def test_anything_else_cannot_be_verified(data: bytes) -> None:
    assert verify_receipt(data, KEY).verdict is Verdict.UNVERIFIABLE
