"""Verifies a receipt: one event's proof that it is in the log (C2SP tlog-proof@v1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from vault_service.domain.checkpoints import Checkpoint
from vault_service.domain.log_proofs import MAX_PROOF_BYTES, LogProof, verify_log_proof
from vault_service.domain.merkle import ProofInvalid
from vault_service.domain.notes import NoteError, SignatureInvalid, UnknownKey, VerifierKey
from vault_service.verifier import told
from vault_service.verifier.findings import Finding, Findings, Kind, Verdict
from vault_service.verifier.told import EventUnreadable

FIRST_LINE: Final = b"c2sp.org/tlog-proof@v1\n"


@dataclass(frozen=True, slots=True)
class ProvenEvent:
    """What a proven event says; ``time`` in UTC, ``tokens`` how many token ids it names."""

    id: str
    time: datetime
    tenant: str
    principal: str | None
    action: str
    purpose: str | None
    case: str | None
    outcome: str
    tokens: int


@dataclass(frozen=True, slots=True)
class ReceiptReport:
    """What a receipt showed: ``event`` and ``checkpoint`` only where it verified."""

    verdict: Verdict
    findings: Sequence[Finding]
    leaf: int | None
    checkpoint: Checkpoint | None
    event: ProvenEvent | None


def verify_receipt(receipt: bytes, key: VerifierKey) -> ReceiptReport:
    """Verify a receipt that carries its event, with the pinned ``key``. What is wrong is in
    the report, whatever the bytes are."""
    findings = Findings()
    try:
        if len(receipt) > MAX_PROOF_BYTES:
            raise UnicodeError
        proof = LogProof.parse(receipt.decode())
    except (NoteError, UnicodeError):
        return _refused(findings, Kind.MALFORMED, "The receipt cannot be read.")
    if proof.extra is None:
        text = "The receipt does not hold its event: there is nothing to hold against the log."
        return _refused(findings, Kind.MALFORMED, text, proof.index)
    try:
        checkpoint = verify_log_proof(proof, proof.extra, key)
        event = _proven(proof.extra)
    except ProofInvalid:
        kind, text = Kind.PROOF_INVALID, "The event is not in the log that the checkpoint signs."
    except SignatureInvalid:
        kind, text = Kind.SIGNATURE_INVALID, "The checkpoint's signature does not verify."
    except UnknownKey:
        kind, text = Kind.UNKNOWN_KEY, "The checkpoint is not signed by the given key."
    except NoteError:
        kind, text = Kind.MALFORMED, "What is signed is no checkpoint."
    except EventUnreadable:
        kind, text = Kind.EVENT_UNREADABLE, "What was sealed is no event of a known encoding."
    else:
        return ReceiptReport(findings.verdict, (), proof.index, checkpoint, event)
    return _refused(findings, kind, text, proof.index)


def _proven(body: bytes) -> ProvenEvent:
    said = told.read_whole(body)
    return ProvenEvent(
        said.id,
        said.time,
        said.tenant,
        said.principal,
        said.action,
        said.purpose,
        said.case,
        said.outcome,
        sum(len(group.tokens) for group in said.groups),
    )


def _refused(findings: Findings, kind: Kind, text: str, leaf: int | None = None) -> ReceiptReport:
    findings.add(kind, text, leaf=leaf)
    return ReceiptReport(findings.verdict, findings.kept, leaf, None, None)
