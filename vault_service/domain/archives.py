"""Months of the audit log that leave the database when their retention is over.

A month (UTC) leaves whole, and only when a file holds its events that was verified like any
other export of the log. The tree keeps every leaf, so that all proofs hold as before.
"""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import BinaryIO, Protocol

MIN_MONTHS = 3
"""PCI-DSS 10.5.1: twelve months are kept, the last three at hand."""


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month in UTC, by its ``first`` day. Prints as ``2025-03``."""

    first: date

    @classmethod
    def of(cls, at: datetime) -> "Month":
        """The month in which ``at`` lies."""
        return cls(at.astimezone(UTC).date().replace(day=1))

    def before(self, months: int) -> "Month":
        """The month that lies so many months before this one."""
        years, index = divmod(self.first.year * 12 + self.first.month - 1 - months, 12)
        return Month(date(years, index + 1, 1))

    @property
    def start(self) -> datetime:
        """Its first moment (UTC)."""
        return datetime(self.first.year, self.first.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first moment after it (UTC)."""
        return self.before(-1).start

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"


@dataclass(frozen=True, slots=True)
class MonthAtHand:
    """A month that is past its retention and in the database yet: how many ``events`` it
    has, how many of these are ``unsigned`` (in no leaf that a checkpoint covers), its lowest
    and highest leaf (``None`` where nothing is sealed) and its highest position."""

    month: Month
    events: int
    unsigned: int
    first_leaf: int | None
    last_leaf: int | None
    last_position: int


@dataclass(frozen=True, slots=True)
class Archive:
    """A month that is in a file: its lowest and highest leaf, how many of the leaves from
    one to the other are its ``events``, and the SHA-256 of the file."""

    month: Month
    first_leaf: int
    last_leaf: int
    events: int
    sha256: bytes


class MonthChanged(Exception):
    """Events came in for a month that was just written to its file."""


class LogBusy(Exception):
    """Somebody reads the log for so long that nothing can be taken off now."""


class LogArchives(Protocol):
    """The log in the hands of the tables' owner."""

    async def due(self, before: Month) -> Sequence[MonthAtHand]:
        """The months before this one that have events and were never archived, oldest
        first."""

    async def leaves(self, month: Month, after: int, limit: int) -> Sequence[int]:
        """The lowest leaves of the month above ``after``, ascending."""

    async def take_off(self, archive: Archive, last_position: int, *, drop: bool) -> None:
        """Record the archive and take the month's events out of the log, in one
        transaction; they lie in a table of their own, or are dropped. Raises
        :class:`MonthChanged` where there are events above ``last_position``, and
        :class:`LogBusy`; then nothing was done."""

    async def detached(self) -> Sequence[Archive]:
        """The archived months whose events lie in tables of their own yet."""

    async def drop(self, month: Month) -> None:
        """Drop the table of a month that was taken off."""

    def table(self, month: Month) -> str:
        """What the table of a month that was taken off is called."""


class ArchiveFiles(Protocol):
    """Where the files are kept. Every method raises ``OSError``."""

    def name(self, month: Month) -> str:
        """What the month's file is called."""

    def open(self, month: Month) -> io.FileIO | None:
        """The month's file, to be read from its beginning; ``None`` where there is none."""

    def writing(self, month: Month) -> AbstractContextManager[BinaryIO]:
        """A stream into the month's file, which is there, complete and durable, once the
        block has ended, and not before."""
