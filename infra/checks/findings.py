"""What a check says: findings, the summary of a step, and why a step could not run."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """One thing that does not hold: the rule's name, where it is broken, and the mend."""

    rule: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step looked at, in a few words, and what it found there."""

    looked_at: str
    findings: Sequence[Finding] = ()


class CannotCheck(Exception):
    """A step could not do its work; the text says why and the mend. It counts as a failure."""
