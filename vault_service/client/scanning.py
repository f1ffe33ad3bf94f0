"""Scanning files for card numbers and personal data that should have been tokens.

Each column of each table is judged by its values and its name
(``domain/detection_columns``); text files count as one column of lines. A report names
files, columns, kinds, counts and line numbers, and never holds a value (PCI-DSS 3.2.1,
12.5.2: know where card numbers are).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from vault_service.client.scan_sources import (
    SOURCE_SUFFIXES,
    Piece,
    SourceError,
    open_source,
)
from vault_service.client.tables import TableError
from vault_service.domain.detection import Confidence
from vault_service.domain.detection_columns import ColumnFinding, ColumnScan, shown

_NOTHING: Final = "there is nothing in it to scan"


@dataclass(frozen=True, slots=True)
class FileFinding:
    """``finding`` in a column of ``file``; ``table`` where a file holds several."""

    file: str
    table: str | None
    column: str
    finding: ColumnFinding


@dataclass(slots=True)
class ScanReport:
    """What a scan found. ``unreadable`` pairs files with constant reasons; ``skipped``
    are files in scanned folders whose suffix says that they are no data."""

    findings: list[FileFinding] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    files: int = 0
    values: int = 0


class Progress(Protocol):
    """Hears how far the scan of one file is, in units of that file's own."""

    def __call__(self, file: str, position: int, size: int) -> None:
        """``position`` runs to ``size``; ``file`` is fit to be shown."""


def _silent(file: str, position: int, size: int) -> None:
    pass


def scan_paths(
    paths: Sequence[Path],
    minimum: Confidence = Confidence.MEDIUM,
    progress: Progress = _silent,
) -> ScanReport:
    """Scan files, and folders with all that is in them, for findings of at least the
    ``minimum`` confidence. Trouble with a file is reported, not raised."""
    report = ScanReport()
    for path in paths:
        if path.is_dir():
            known, unknown = _files_under(path)
            report.skipped += [shown(str(file)) for file in unknown]
            if not known:
                report.unreadable.append((shown(str(path)), _NOTHING))
        else:
            known = [path]
        for file in known:
            _scan_file(file, minimum, report, progress)
    return report


def _files_under(folder: Path) -> tuple[list[Path], list[Path]]:
    known: list[Path] = []
    unknown: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(parent, name)
            (known if file.suffix.lower() in SOURCE_SUFFIXES else unknown).append(file)
    return known, unknown


def _scan_file(file: Path, minimum: Confidence, report: ScanReport, progress: Progress) -> None:
    label = shown(str(file))
    scans: dict[tuple[str | None, str], ColumnScan] = {}
    try:
        with open_source(file) as source:
            report.files += 1
            for piece in source:
                report.values += _scan_piece(piece, scans)
                progress(label, source.position, source.size)
    except (SourceError, TableError) as error:
        report.unreadable.append((label, str(error)))
    except OSError as error:
        # The message of the operating system alone: str(error) repeats the file name.
        reason = os.strerror(error.errno) if error.errno else "it cannot be read"
        report.unreadable.append((label, reason))
    for (table, column), scan in scans.items():
        report.findings += [
            FileFinding(label, table, column, finding) for finding in scan.findings(minimum)
        ]


def _scan_piece(piece: Piece, scans: dict[tuple[str | None, str], ColumnScan]) -> int:
    """Look at each distinct value of the piece once."""
    key = (piece.table, shown(piece.column))
    scan = scans.get(key)
    if scan is None:
        scan = scans[key] = ColumnScan(piece.column)
    places: dict[str, list[int]] = {}
    for text, line in zip(piece.texts, piece.lines, strict=True):
        if text is not None:
            places.setdefault(text, []).append(line)
    for text, lines in places.items():
        scan.add(text, lines)
    return len(piece.texts)
