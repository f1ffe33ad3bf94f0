"""Tables as files: CSV, newline-delimited JSON and Parquet, by suffix, streamed.

    with open_table(source) as table:
        with open_writer(target, table, ["cardnumber"]) as writer:
            for batch in table:
                texts = batch.texts("cardnumber")
                writer.write(batch.replaced({"cardnumber": tokens_for(texts)}))

Memory stays flat however long the file is: a batch is at most 1,000 rows or about
4 MiB of text, and no record may have more than 16 MiB.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from vault_service.client.table_csv import CsvReader, CsvWriter, Dialect
from vault_service.client.table_ndjson import NdjsonReader, NdjsonWriter
from vault_service.client.table_parquet import (
    ParquetReader,
    ParquetWriter,
    parquet_schema,
)
from vault_service.client.table_rows import (
    BATCH_ROWS,
    BadRow,
    RowBatch,
    TableError,
    TableReader,
    TableWriter,
    Texts,
    is_clean,
)

__all__ = [
    "BadRow",
    "RowBatch",
    "TableError",
    "TableReader",
    "TableWriter",
    "Texts",
    "is_clean",
    "open_table",
    "open_writer",
    "table_suffixes",
]

_CSV: Final = frozenset({".csv", ".tsv"})
_NDJSON: Final = frozenset({".ndjson", ".jsonl", ".json"})
_PARQUET: Final = frozenset({".parquet", ".pq"})
table_suffixes: Final = _CSV | _NDJSON | _PARQUET
"""The file name endings that are tables."""

_UNKNOWN: Final = "the suffix says no table: .csv, .tsv, .ndjson, .jsonl, .json or .parquet"


def open_table(path: Path, *, batch_rows: int = BATCH_ROWS) -> TableReader:
    """Open the file for reading in batches of at most ``batch_rows`` rows.

    :class:`TableError` where its suffix or its beginning says that it is no table;
    ``OSError`` where it cannot be opened."""
    suffix = path.suffix.lower()
    if suffix in _CSV:
        return CsvReader(path, batch_rows, "\t" if suffix == ".tsv" else None)
    if suffix in _NDJSON:
        return NdjsonReader(path, batch_rows)
    if suffix in _PARQUET:
        return ParquetReader(path, batch_rows)
    raise TableError(_UNKNOWN)


def open_writer(
    path: Path, source: TableReader, replaced: Collection[str], *, private: bool = False
) -> TableWriter:
    """Begin a file with the columns of ``source``, of which ``replaced`` become text;
    a replaced name that the source lacks becomes a new column at the end.

    The file is there, whole, when the ``with`` block ends without an exception.
    ``private`` files are readable by their owner alone. CSV from CSV keeps delimiter and
    line ends, Parquet from Parquet the types. Errors as with :func:`open_table`."""
    suffix = path.suffix.lower()
    names = (*source.names, *(name for name in replaced if name not in source.names))
    if suffix in _CSV:
        dialect = source.dialect if isinstance(source, CsvReader) else Dialect()
        if suffix == ".tsv" or dialect.delimiter == "\t":
            dialect = Dialect("\t" if suffix == ".tsv" else ",", dialect.line_end)
        return CsvWriter(path, names, dialect, private=private)
    if suffix in _NDJSON:
        return NdjsonWriter(path, private=private)
    if suffix in _PARQUET:
        schema = source.schema if isinstance(source, ParquetReader) else None
        return ParquetWriter(path, parquet_schema(names, schema, replaced), private=private)
    raise TableError(_UNKNOWN)
