"""Rows as the definition says: so many cells, of one type a column, up to the cap.

What does not hold raises while the rows are made, so that the output that they would have
been part of is given up before it is published.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from reporting_jobs.context import Cell
from reporting_jobs.failures import RunFailed
from vault_service.domain.report_failures import FailureCode

LARGEST_INTEGER: Final = 2**63 - 1
MAX_TEXT: Final = 32_767
"""Characters of a text: the most that a cell of a spreadsheet holds."""
_TEXT: Final = "text"
_KINDS: Final[dict[type, str]] = {str: _TEXT, int: "number", float: "number", bool: "truth"}


class CheckedRows:
    """Iterates over rows, and says how many there were so far.

    A column holds text, numbers or truth values, and may be empty (``None``) anywhere.
    Raises :class:`~reporting_jobs.failures.RunFailed`: ``row_cap_exceeded`` at the first
    row over ``cap``, ``output_invalid`` for one that does not fit ``columns``.
    """

    def __init__(self, rows: Iterable[Sequence[Cell]], columns: Sequence[str], cap: int) -> None:
        self.columns = tuple(columns)
        self.count = 0
        self._rows = rows
        self._cap = cap
        self._kinds: list[str | None] = [None] * len(self.columns)

    def __iter__(self) -> Iterator[Sequence[Cell]]:
        kinds = self._kinds
        for row in self._rows:
            if self.count >= self._cap:
                raise RunFailed(
                    FailureCode.ROW_CAP_EXCEEDED, "The report has more rows than it may have."
                )
            if len(row) != len(self.columns):
                raise _invalid("A row has other columns than the definition.")
            for place, cell in enumerate(row):
                if cell is None:
                    continue
                # Most cells: nothing about another short text in a column of texts.
                if (
                    type(cell) is str
                    and kinds[place] == _TEXT
                    and len(cell) <= MAX_TEXT
                    and cell.isascii()
                ):
                    continue
                self._check(place, cell)
            self.count += 1
            yield row

    def _check(self, place: int, cell: Cell) -> None:
        kind = _KINDS.get(type(cell))
        if kind is None:
            raise _invalid("A cell is neither text, a number nor a truth value.")
        if self._kinds[place] is None:
            self._kinds[place] = kind
        elif self._kinds[place] != kind:
            raise _invalid("A column holds cells of different types.")
        if isinstance(cell, str):
            if len(cell) > MAX_TEXT:
                raise _invalid("A text is longer than 32,767 characters.")
            if not cell.isascii() and not _encodable(cell):
                raise _invalid("A text is not valid Unicode.")
        elif isinstance(cell, float):
            if not math.isfinite(cell):
                raise _invalid("A number is not finite.")
        elif isinstance(cell, int) and abs(cell) > LARGEST_INTEGER:
            raise _invalid("A number does not fit 64 bits.")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _invalid(detail: str) -> RunFailed:
    return RunFailed(FailureCode.OUTPUT_INVALID, detail)
