"""Parquet: a row group for each 10,000 rows, compressed with zstd.

Columns get their types from the first row group: text, double where a number in it has a
fraction, else 64-bit integers, truth values. A column that is empty throughout the first
group is text, and what comes later is written as text.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from reporting_jobs.context import Cell
from reporting_jobs.failures import RunFailed
from reporting_jobs.outputs.checking import CheckedRows
from vault_service.domain.report_failures import FailureCode

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP_ROWS: Final = 10_000
_EXACT: Final = 2**53  # the largest integer up to which a double holds each


def pieces(rows: CheckedRows) -> Iterator[bytes]:
    """The file, a piece for each row group. Raises ``output_invalid`` for a number that
    does not fit its column's type: a fraction among integers, an integer over 2**53 among
    doubles."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    left = iter(rows)
    first = list(islice(left, _GROUP_ROWS))
    schema = _schema(rows.columns, first)
    sink = _Drained()
    writer = pq.ParquetWriter(sink, schema, compression="zstd")
    group: list[Sequence[Cell]] = first
    while group:
        arrays = [
            pa.array(_cells(group, place, field.type), type=field.type)
            for place, field in enumerate(schema)
        ]
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        yield from sink.drain()
        group = list(islice(left, _GROUP_ROWS))
    writer.close()
    yield from sink.drain()


def _schema(columns: Sequence[str], group: Sequence[Sequence[Cell]]) -> "pa.Schema":
    import pyarrow as pa

    fields = []
    for place, name in enumerate(columns):
        types = {type(row[place]) for row in group} - {type(None)}
        if types == {bool}:
            kind = pa.bool_()
        elif types == {int}:
            kind = pa.int64()
        elif types and types <= {int, float}:
            kind = pa.float64()
        else:
            kind = pa.string()
        fields.append(pa.field(name, kind))
    return pa.schema(fields)


def _cells(group: Sequence[Sequence[Cell]], place: int, kind: Any) -> list[Cell]:
    import pyarrow as pa

    cells = [row[place] for row in group]
    if pa.types.is_string(kind):
        return [cell if cell is None or isinstance(cell, str) else _text(cell) for cell in cells]
    # pyarrow would cut a fraction off, and round an integer, without a word.
    if (pa.types.is_int64(kind) and any(isinstance(cell, float) for cell in cells)) or (
        pa.types.is_float64(kind)
        and any(isinstance(cell, int) and abs(cell) > _EXACT for cell in cells)
    ):
        raise RunFailed(FailureCode.OUTPUT_INVALID, "A number does not fit the type of its column.")
    return cells


def _text(cell: int | float | bool) -> str:
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


class _Drained:
    """A file to write that hands on what was written and keeps nothing."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._written = 0

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._written += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """What was written is still to be drained."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def drain(self) -> Iterator[bytes]:
        """What was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return iter(pieces)
