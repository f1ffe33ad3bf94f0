"""Checkpoints: the size and root of the log's tree, as the text of a signed note.

C2SP tlog-checkpoint, without extension lines, which this log never writes and nobody
could audit: a checkpoint that has any is refused.
"""

import base64
import re
from dataclasses import dataclass
from typing import Final

from vault_service.domain.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE
from vault_service.domain.notes import (
    NoteError,
    NoteMalformed,
    VerifierKey,
    decode_base64,
    open_note,
)

_ORIGIN: Final = re.compile("[^\x00-\x1f\ud800-\udfff]+")
_DECIMAL: Final = re.compile("0|[1-9][0-9]{0,18}")


class OriginMismatch(NoteError):
    """The checkpoint is of another log."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The log named ``origin`` at ``size`` leaves has this root (32 bytes). Raises
    :class:`NoteMalformed` where no log can."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if _ORIGIN.fullmatch(self.origin) is None:
            raise NoteMalformed("not an origin")
        if not 0 <= self.size <= MAX_SIZE:
            raise NoteMalformed("not a tree size")
        if len(self.root) != HASH_SIZE or (self.size == 0 and self.root != EMPTY_ROOT):
            raise NoteMalformed("not the root of such a tree")

    def text(self) -> str:
        """The note text, which is what is signed, with its final newline."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read a note text; :class:`NoteMalformed` where it is not a checkpoint's."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise NoteMalformed("not a checkpoint: it has three lines")
        return cls(lines[0], parse_decimal(lines[1]), decode_base64(lines[2]))


def open_checkpoint(signed: str, key: VerifierKey, origin: str | None = None) -> Checkpoint:
    """The checkpoint in a signed note, verified with ``key``; of the log ``origin``, where
    that is given (:class:`OriginMismatch`). Otherwise raises as
    :func:`~vault_service.domain.notes.open_note` does."""
    checkpoint = Checkpoint.parse(open_note(signed, key))
    if origin is not None and checkpoint.origin != origin:
        raise OriginMismatch("the checkpoint is of another log")
    return checkpoint


def parse_decimal(text: str) -> int:
    """A size or index as C2SP writes it: ASCII digits, no sign, no leading zero, below
    2**63. :class:`NoteMalformed` otherwise."""
    if _DECIMAL.fullmatch(text) is None or int(text) > MAX_SIZE:
        raise NoteMalformed("not a number of leaves")
    return int(text)
