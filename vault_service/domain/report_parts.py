"""Parts of a run: how a heavy report splits, and what becomes of each part.

A report may split where each of its rows follows from one token of one class. Its run is
then cut into ranges of that class's tokens, in their order; each is a work item of its own
and gives one sealed piece of the output. The ranges leave nothing out and share nothing:
the first begins before every token, the last ends behind every token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

MAX_PARTS: Final = 500
"""The most parts of a run: as many as its manifest lists."""


@dataclass(frozen=True, slots=True)
class Split:
    """A report splits by the tokens of ``data_class``, about ``tokens`` of them a part.

    In a part, the report is given those of the part where it asks for all tokens of the
    class, and everything else as in a whole run."""

    data_class: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Range:
    """Tokens behind ``after`` up to and with ``until``; ``None`` is an open end."""

    after: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a run as the service keeps it; ``number`` counts from 1, ``order`` is its
    signed work item. ``lease_holder`` works on it until ``lease_until``, ``attempts``
    counts leases, ``version`` the changes.

    ``rows`` and ``output_…`` tell what its job sealed; they count once it is ``done``."""

    tenant: str
    run: str
    number: int
    after: str | None
    until: str | None
    order: str
    done: bool = False
    attempts: int = 0
    lease_holder: str | None = None
    lease_until: datetime | None = None
    rows: int | None = None
    output_sha256: str | None = None
    output_bytes: int | None = None
    output_location: str | None = None
    version: int = 0

    @property
    def range(self) -> Range:
        """The tokens that it is of."""
        return Range(self.after, self.until)

    def leased(self, at: datetime) -> bool:
        """Whether somebody works on it."""
        return not self.done and self.lease_until is not None and at < self.lease_until


def ranges(boundaries: Sequence[str]) -> Sequence[Range]:
    """The ranges between boundaries, which are ordered: one more than those."""
    ends = [None, *boundaries, None]
    return [Range(after, until) for after, until in pairwise(ends)]
