"""The rows that a run leaves out, in a file beside the output: where and why.

``line,column,code,reason``, never a value (OWASP ASVS 5 16.5.1): reasons are constant
texts of the service or of this code.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

COLUMNS = ("line", "column", "code", "reason")


class Reject(NamedTuple):
    """One row that is not in the output. ``line`` counts from 1, with the header of a
    CSV file; for Parquet it is the row's number. ``column`` is empty where the record
    as a whole is unusable."""

    line: int
    column: str
    code: str
    reason: str


class RejectsFile:
    """Written beside, and renamed when the ``with`` block succeeds; a run without
    rejects leaves no file, and removes the one of an earlier run."""

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(output.name + ".rejects.csv")
        self._partial = self.path.with_name(self.path.name + ".partial")
        self._file: IO[str] | None = None

    def write(self, rejects: Iterable[Reject]) -> None:
        """Append the rejects."""
        for reject in rejects:
            if self._file is None:
                self._file = self._partial.open("w", encoding="utf-8", newline="")
                csv.writer(self._file, lineterminator="\n").writerow(COLUMNS)
            csv.writer(self._file, lineterminator="\n").writerow(reject)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        if kind is not None:
            self._partial.unlink(missing_ok=True)
        elif self._file is not None:
            self._partial.replace(self.path)
        else:
            self.path.unlink(missing_ok=True)
