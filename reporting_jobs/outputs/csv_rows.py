"""CSV (RFC 4180): UTF-8, commas, CRLF, one line of column names.

A spreadsheet takes a cell that begins like a formula for one, and a formula can send what is
in the sheet elsewhere. So a *text* that begins with such a character, or with an apostrophe,
gets an apostrophe before it; leaving out the first apostrophe of a text that has one gives
back what it was. Numbers are written bare, and stay numbers: of a number only digits, sign,
point and exponent can be in the file (OWASP ASVS 5 1.2.10).
"""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from typing import Final

from reporting_jobs.context import Cell
from reporting_jobs.outputs.checking import CheckedRows

ESCAPE: Final = "'"
FORMULA_STARTS: Final = frozenset("=+-@\t\r\n＝＋－＠" + ESCAPE)
"""What a text may not begin with bare."""
_PIECE_CHARACTERS: Final = 1 << 16
_AT_ONCE: Final = 32
"""Rows that are written at once, each of which may be long."""


def pieces(rows: CheckedRows, *, headed: bool = True) -> Iterator[bytes]:
    """The file, in pieces of some 64 KiB; ``headed`` by the names of its columns."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    if headed:
        writer.writerow([_written(name) for name in rows.columns])
    remaining = iter(rows)
    while some := [[_written(cell) for cell in row] for row in islice(remaining, _AT_ONCE)]:
        writer.writerows(some)
        if buffer.tell() >= _PIECE_CHARACTERS:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def _written(cell: Cell) -> str | int | float | None:
    if isinstance(cell, str):
        return ESCAPE + cell if cell and cell[0] in FORMULA_STARTS else cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return cell
