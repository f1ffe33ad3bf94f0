"""What a verification can find, and the verdict that follows."""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

_LIMIT: Final = 100
_SHOWN: Final = 300


class Verdict(Enum):
    """How a verification ended; the value is the command's exit code."""

    VERIFIED = 0
    TAMPERED = 1
    UNVERIFIABLE = 3


class Kind(StrEnum):
    """What is wrong. The log was tampered with, or what the file claims is untrue:"""

    EVENT_ALTERED = "event_altered"
    EVENT_MOVED = "event_moved"
    EVENT_MISSING = "event_missing"
    EVENT_HIDDEN = "event_hidden"
    EVENT_REPEATED = "event_repeated"
    EVENT_OUTSIDE = "event_outside"
    LEAVES_MISSING = "leaves_missing"
    LEAVES_OUT_OF_ORDER = "leaves_out_of_order"
    ROOT_DIFFERS = "root_differs"
    PROOF_INVALID = "proof_invalid"
    SIGNATURE_INVALID = "signature_invalid"
    CHECKPOINT_SHRINKS = "checkpoint_shrinks"
    CHECKPOINT_INCONSISTENT = "checkpoint_inconsistent"
    LOG_ROLLED_BACK = "log_rolled_back"
    LOG_REWRITTEN = "log_rewritten"

    # Nobody can tell from this file and this key:
    MALFORMED = "malformed"
    CUT_OFF = "cut_off"
    COUNTS_DIFFER = "counts_differ"
    UNKNOWN_KEY = "unknown_key"
    OTHER_LOG = "other_log"
    NOTHING_SIGNED = "nothing_signed"
    NOT_COVERED = "not_covered"
    EVENT_UNREADABLE = "event_unreadable"
    SCOPE_DIFFERS = "scope_differs"
    KEPT_UNSIGNED = "kept_unsigned"
    KEPT_UNPROVEN = "kept_unproven"

    @property
    def verdict(self) -> Verdict:
        """What follows from it."""
        return Verdict.UNVERIFIABLE if self in _UNVERIFIABLE else Verdict.TAMPERED


_UNVERIFIABLE: Final = frozenset(
    {
        Kind.MALFORMED,
        Kind.CUT_OFF,
        Kind.COUNTS_DIFFER,
        Kind.UNKNOWN_KEY,
        Kind.OTHER_LOG,
        Kind.NOTHING_SIGNED,
        Kind.NOT_COVERED,
        Kind.EVENT_UNREADABLE,
        Kind.SCOPE_DIFFERS,
        Kind.KEPT_UNSIGNED,
        Kind.KEPT_UNPROVEN,
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, in a sentence; the leaf, the event's id and the line of the
    file (from 1) where they are known. Texts are printable."""

    kind: Kind
    text: str
    leaf: int | None = None
    event_id: str | None = None
    line: int | None = None


class Findings:
    """Collects findings in the order of the file: the first 100, and the verdict of all."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.left_out = 0
        self.verdict = Verdict.VERIFIED

    def add(
        self,
        kind: Kind,
        text: str,
        *,
        leaf: int | None = None,
        event_id: str | None = None,
        line: int | None = None,
    ) -> int | None:
        """Note a finding; its place in ``kept``, or ``None`` where it was one too many."""
        if self.verdict is not Verdict.TAMPERED:
            self.verdict = kind.verdict
        if len(self.kept) == _LIMIT:
            self.left_out += 1
            return None
        named = None if event_id is None else printable(event_id)
        self.kept.append(Finding(kind, printable(text), leaf, named, line))
        return len(self.kept) - 1


def printable(text: str) -> str:
    """``text`` as it may be shown: a hostile file must not drive the terminal or fill it."""
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return "".join(character if character.isprintable() else "?" for character in cut)
