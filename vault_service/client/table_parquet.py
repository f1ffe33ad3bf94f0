"""Parquet tables: streamed by row batch, Arrow types kept where nothing is replaced."""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from vault_service.client.table_rows import (
    RowBatch,
    TableError,
    TableReader,
    TableWriter,
    Texts,
    distinct,
    text_array,
)

_READ_BUFFER: Final = 2**20
_GROUP_ROWS: Final = 100_000
_GROUP_BYTES: Final = 32 * 2**20
# What pandas noted about the columns is not true of tokens any more.
_STALE: Final = b"pandas"


def scalar_text(value: Any) -> str | None:
    """A Python value of an Arrow column as text: floats in full (``4.0``), bytes as the
    UTF-8 they may be, nested values as JSON."""
    match value:
        case None | str():
            return value
        case bytes():
            return value.decode("utf-8", "surrogateescape")
        case list() | dict() | tuple():
            return json.dumps(value, ensure_ascii=False, default=scalar_text)
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)


class ArrowBatch(RowBatch):
    """Rows as Arrow arrays."""

    __slots__ = ("_columns",)

    def __init__(self, columns: dict[str, pa.Array], lines: Sequence[int]) -> None:
        super().__init__(tuple(columns), lines)
        self._columns = columns

    def texts(self, name: str) -> Texts:
        return [scalar_text(value) for value in self._columns[name].to_pylist()]

    def json_values(self, name: str) -> list[bytes | None]:
        array = self._columns[name]
        if pa.types.is_boolean(array.type) or pa.types.is_integer(array.type):
            return [msgspec.json.encode(value) for value in array.to_pylist()]
        if pa.types.is_floating(array.type) or pa.types.is_decimal(array.type):
            return [_number(value) for value in array.to_pylist()]
        if pa.types.is_nested(array.type):
            return [
                json.dumps(value, default=scalar_text).encode("ascii")
                for value in array.to_pylist()
            ]
        return [json.dumps(text).encode("ascii") for text in self.texts(name)]

    def arrow(self, name: str) -> pa.Array:
        return self._columns[name]

    def replaced(self, columns: Mapping[str, Texts]) -> RowBatch:
        arrays = {name: text_array(texts, self.lines) for name, texts in columns.items()}
        return ArrowBatch({**self._columns, **arrays}, self.lines)

    def kept(self, rows: Sequence[int]) -> RowBatch:
        indices = pa.array(rows, pa.int64())
        columns = {name: array.take(indices) for name, array in self._columns.items()}
        return ArrowBatch(columns, [self.lines[i] for i in rows])


def _number(value: Any) -> bytes:
    """A float or decimal as a JSON number; what JSON has no number for as null."""
    if value is None or not math.isfinite(value):
        return b"null"
    return (repr(value) if isinstance(value, float) else format(value, "f")).encode("ascii")


class ParquetReader(TableReader):
    """Reads a Parquet file. ``size`` and ``position`` count rows."""

    def __init__(self, path: Path, batch_rows: int) -> None:
        self._batch_rows = batch_rows
        try:
            self._file = pq.ParquetFile(path, buffer_size=_READ_BUFFER, pre_buffer=False)
        except pa.ArrowException:
            raise TableError("the file is no Parquet file, or a damaged one") from None
        self.schema: pa.Schema = self._file.schema_arrow
        self.names = distinct(self.schema.names)
        self.size = self._file.metadata.num_rows
        self._position = 0

    @property
    def position(self) -> int:
        return self._position

    def close(self) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[RowBatch]:
        batches = self._file.iter_batches(self._batch_rows, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError):
                raise TableError("the file is damaged", self._position + 1) from None
            if batch is None:
                return
            first = self._position + 1
            self._position += batch.num_rows
            columns = dict(zip(self.names, batch.columns, strict=True))
            yield ArrowBatch(columns, range(first, first + batch.num_rows))


def parquet_schema(
    names: tuple[str, ...], source: pa.Schema | None, replaced: Collection[str]
) -> pa.Schema:
    """What to write: the source's types where there are any, strings for the rest."""
    given = list(source) if source is not None else []
    kept = {n: field for n, field in zip(names, given, strict=False) if n not in replaced}
    fields = [
        kept[name].with_name(name) if name in kept else pa.field(name, pa.string())
        for name in names
    ]
    metadata = dict(source.metadata or {}) if source is not None else {}
    metadata.pop(_STALE, None)
    return pa.schema(fields, metadata=metadata)


class ParquetWriter(TableWriter):
    """Writes Parquet (zstd), gathering batches into row groups of a readable size."""

    def __init__(self, path: Path, schema: pa.Schema, *, private: bool = False) -> None:
        super().__init__(path, private=private)
        self._schema = schema
        self._held: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        self._parquet = pq.ParquetWriter(self._file, schema, compression="zstd")

    def write(self, batch: RowBatch) -> None:
        """Append the rows."""
        if not set(batch.names) <= set(self._schema.names):
            raise TableError("a column appears that the table does not have", batch.lines[0])
        held = set(batch.names)
        arrays = [
            batch.arrow(f.name) if f.name in held else pa.nulls(len(batch), f.type)
            for f in self._schema
        ]
        record = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._held.append(record)
        self._rows += record.num_rows
        self._bytes += record.nbytes
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            self._parquet.write_table(pa.Table.from_batches(self._held, self._schema))
        self._held.clear()
        self._rows = self._bytes = 0

    def _finish(self) -> None:
        self._flush()
        self._parquet.close()

    def _abandon(self) -> None:
        self._held.clear()
        self._parquet.close()
