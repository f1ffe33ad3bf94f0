"""The list that people are screened against, as a file: CSV in UTF-8 with a head line.

``entry_id,name,birth_date``: a line for each name of an entry, aliases under the same id, in
any script. The birth date is ISO 8601, a year alone, or empty. An entry with several dates
has a line for each. Ids go into the output, so they are checked to be ids.
"""

import csv
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import BinaryIO, Final

from reporting_jobs.context import ReportRefused
from vault_service.domain.report_failures import FailureCode

MAX_LINES: Final = 200_000
_MAX_LINE_BYTES: Final = 4096
_HEAD: Final = ["entry_id", "name", "birth_date"]
_ENTRY_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_YEAR: Final = re.compile("[12][0-9]{3}")


@dataclass(slots=True)
class ListEntry:
    """A person on the list. Names and dates are not in its ``repr``."""

    id: str
    names: list[str] = field(default_factory=list, repr=False)
    dates: set[date] = field(default_factory=set, repr=False)
    years: set[int] = field(default_factory=set, repr=False)


@dataclass(frozen=True, slots=True)
class SanctionsList:
    """The entries in the order of the file, and the file's SHA-256 (hex)."""

    entries: tuple[ListEntry, ...]
    sha256: str


def read_list(stream: BinaryIO) -> SanctionsList:
    """Read the whole list. :class:`ReportRefused` (``input_invalid``) names the line that
    cannot be used and what it lacks, never what stands in it."""
    digest = hashlib.sha256()
    entries: dict[str, ListEntry] = {}
    # strict: an open quote would otherwise swallow the rest of the list without a word.
    reader = csv.reader(_lines(stream, digest.update), strict=True)
    try:
        if next(reader, None) != _HEAD:
            raise _unusable(1, f"the head has to be {','.join(_HEAD)}")
        for cells in reader:
            if cells:
                _take(cells, reader.line_num, entries)
    except csv.Error:
        raise _unusable(reader.line_num, "it is not CSV") from None
    if not entries:
        raise ReportRefused(
            FailureCode.INPUT_INVALID, "The list has no entry; hand in a list with some."
        )
    return SanctionsList(tuple(entries.values()), digest.hexdigest())


def _take(cells: list[str], line: int, entries: dict[str, ListEntry]) -> None:
    if len(cells) != len(_HEAD):
        raise _unusable(line, "it has to have three cells")
    entry_id, name, born = (cell.strip() for cell in cells)
    if _ENTRY_ID.fullmatch(entry_id) is None:
        raise _unusable(line, "the entry id has to be letters, digits and . _ : / -, at most 64")
    if not name:
        raise _unusable(line, "the name is missing")
    entry = entries.setdefault(entry_id, ListEntry(entry_id))
    if name not in entry.names:
        entry.names.append(name)
    if _YEAR.fullmatch(born) is not None:
        entry.years.add(int(born))
    elif born:
        try:
            entry.dates.add(date.fromisoformat(born))
        except ValueError:
            raise _unusable(line, "the birth date has to be YYYY-MM-DD, YYYY or empty") from None


def _lines(stream: BinaryIO, seen: Callable[[bytes], None]) -> Iterator[str]:
    number = 0
    while raw := stream.readline(_MAX_LINE_BYTES + 1):
        number += 1
        seen(raw)
        if number > MAX_LINES or len(raw) > _MAX_LINE_BYTES:
            raise _unusable(number, "lists have at most 200,000 lines of 4 KiB")
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise _unusable(number, "it is not UTF-8") from None


def _unusable(line: int, why: str) -> ReportRefused:
    return ReportRefused(
        FailureCode.INPUT_INVALID, f"Line {line} of the list cannot be used: {why}."
    )
