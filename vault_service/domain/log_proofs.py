"""Receipts: a proof that an entry is in the log, to be verified offline.

C2SP tlog-proof@v1: the entry's index, its audit path and a signed checkpoint, as text.
``extra`` may carry the entry itself, so that a receipt can be verified alone; nothing
vouches for it until its hash has led to the checkpoint's root.
"""

import base64
from dataclasses import dataclass
from typing import Final

from vault_service.domain.checkpoints import Checkpoint, open_checkpoint, parse_decimal
from vault_service.domain.merkle import HASH_SIZE, MAX_SIZE, leaf_hash, verify_inclusion
from vault_service.domain.notes import NoteMalformed, VerifierKey, decode_base64, parse_note

MAX_PROOF_BYTES: Final = 1 << 24
"""An event of 10,000 tokens, in base64, and room to spare."""
MAX_HASHES: Final = MAX_SIZE.bit_length()
_FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
_EXTRA: Final = "extra "
_INDEX: Final = "index "


@dataclass(frozen=True, slots=True)
class LogProof:
    """Entry ``index``, its audit path (32 bytes each, the leaf's sibling first), a signed
    checkpoint as its log issued it, and extra data, not empty. Raises
    :class:`NoteMalformed` where one of them cannot be; verifies nothing."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index < MAX_SIZE:
            raise NoteMalformed("not the index of an entry")
        if len(self.hashes) > MAX_HASHES or any(len(node) != HASH_SIZE for node in self.hashes):
            raise NoteMalformed("not an audit path")
        if self.extra == b"":
            raise NoteMalformed("extra data is left out where there is none")
        Checkpoint.parse(parse_note(self.checkpoint).text)

    def encode(self) -> str:
        """What :meth:`parse` reads."""
        lines = [_FIRST_LINE]
        if self.extra is not None:
            lines.append(_EXTRA + base64.b64encode(self.extra).decode())
        lines.append(f"{_INDEX}{self.index}")
        lines += [base64.b64encode(node).decode() for node in self.hashes]
        return "\n".join(lines) + "\n\n" + self.checkpoint

    @classmethod
    def parse(cls, text: str) -> "LogProof":
        """Read a proof; :class:`NoteMalformed` where it is none or over 16 MiB."""
        if len(text) > MAX_PROOF_BYTES:
            raise NoteMalformed("not a proof: too long")
        head, blank, checkpoint = text.partition("\n\n")
        first, *lines = head.split("\n")
        if not blank or first != _FIRST_LINE:
            raise NoteMalformed("not a proof")
        extra: bytes | None = None
        if lines and lines[0].startswith(_EXTRA):
            extra = decode_base64(lines.pop(0).removeprefix(_EXTRA))
        if not lines or not lines[0].startswith(_INDEX):
            raise NoteMalformed("not a proof: no index")
        index = parse_decimal(lines[0].removeprefix(_INDEX))
        if len(lines) - 1 > MAX_HASHES:
            raise NoteMalformed("not an audit path")
        return cls(index, tuple(decode_base64(line) for line in lines[1:]), checkpoint, extra)


def verify_log_proof(proof: LogProof, leaf: bytes, key: VerifierKey) -> Checkpoint:
    """The checkpoint, signed by ``key``, of a log whose entry ``proof.index`` is ``leaf``
    (the entry's bytes, not their hash). Raises
    :class:`~vault_service.domain.merkle.ProofInvalid` where it is not, and
    :class:`~vault_service.domain.notes.NoteError` as
    :func:`~vault_service.domain.checkpoints.open_checkpoint` does."""
    checkpoint = open_checkpoint(proof.checkpoint, key)
    hashed = leaf_hash(leaf)
    verify_inclusion(hashed, proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return checkpoint
