"""Reads the file of an archived month: does it verify, and what does it hold?"""

import hashlib
import io
from dataclasses import dataclass
from typing import Final

from vault_service.domain.bundle import WHOLE_LOG
from vault_service.domain.notes import VerifierKey
from vault_service.verifier.bundles import BundleReport, verify_bundle

_EVENT: Final = b'{"type":"event","leaf":'
_DIGITS: Final = 19
"""The most that a leaf's index has."""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What the offline verifier says of a file, its SHA-256, and which leaves it shows with
    their events: runs, each from a leaf up to another."""

    report: BundleReport
    sha256: bytes
    shown: tuple[range, ...]

    @property
    def whole_log(self) -> bool:
        """Whether the file is of all tenants."""
        return self.report.scope == WHOLE_LOG


def check_file(file: io.FileIO, key: VerifierKey) -> FileCheck:
    """Read the file once, so that what was verified is what was hashed."""
    with _Watched(file) as stream:
        report = verify_bundle(stream, key)
        for _ in stream:  # what the verifier left after a line that was too long
            pass
        return FileCheck(report, stream.digest(), stream.shown())


class _Watched(io.BufferedReader):
    """Hashes the lines that are read, and notes the leaves of those with events."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self._hash = hashlib.sha256()
        self._runs: list[range] = []
        self._first = self._next = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self._hash.update(line)
        if line.startswith(_EVENT):
            digits, comma, _ = line[len(_EVENT) : len(_EVENT) + _DIGITS + 1].partition(b",")
            if comma and digits.isdigit():
                self._note(int(digits))
        return line

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def digest(self) -> bytes:
        """SHA-256 of what was read."""
        return self._hash.digest()

    def shown(self) -> tuple[range, ...]:
        """The leaves of the events that were read."""
        return (*self._runs, range(self._first, self._next))

    def _note(self, leaf: int) -> None:
        if leaf != self._next:
            self._runs.append(range(self._first, self._next))
            self._first = leaf
        self._next = leaf + 1
