"""Where a scan reads from: tables, DuckDB files and plain text, column by column."""

import importlib.util
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from vault_service.client.table_csv import CsvReader, open_text, read_line
from vault_service.client.table_ndjson import NdjsonBatch
from vault_service.client.table_parquet import ArrowBatch
from vault_service.client.table_rows import BATCH_CHARACTERS, RowBatch, TableReader, Texts
from vault_service.client.tables import open_table, table_suffixes
from vault_service.domain.detection import find

_BATCH_ROWS: Final = 10_000
_TEXT: Final = frozenset({".txt", ".log", ".md", ".sql", ".yml", ".yaml", ".xml", ".html"})
_DUCKDB: Final = frozenset({".duckdb", ".ddb"})
SOURCE_SUFFIXES: Final = table_suffixes | _TEXT | _DUCKDB
"""The file name endings that can be scanned."""

_BAD_ROWS: Final = "(rows that do not fit)"
_LINES: Final = "(line)"
_KEYS: Final = "(keys)"


class SourceError(Exception):
    """A file cannot be scanned; the message is constant text."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of one column: values and the lines they stand on."""

    table: str | None
    column: str
    texts: Texts = field(repr=False)
    lines: Sequence[int]


class SourceReader(AbstractContextManager["SourceReader"], ABC):
    """Gives the pieces of a file once, in order. ``position`` runs to ``size``."""

    size: int
    position: int

    @abstractmethod
    def __iter__(self) -> Iterator[Piece]:
        """The pieces; raises like :func:`open_source`."""


def open_source(path: Path) -> SourceReader:
    """Open a file by its suffix. :class:`SourceError` or ``TableError`` where it cannot
    be scanned, ``OSError`` where it cannot be opened."""
    suffix = path.suffix.lower()
    if suffix in table_suffixes:
        return _TableSource(open_table(path, batch_rows=_BATCH_ROWS))
    if suffix in _DUCKDB:
        return _DuckdbSource(path)
    if suffix in _TEXT:
        return _TextSource(path)
    raise SourceError(f"a scan reads {', '.join(sorted(SOURCE_SUFFIXES))} files")


class _TableSource(SourceReader):
    def __init__(self, table: TableReader) -> None:
        self._table = table
        self.size = table.size
        self.position = 0

    def __exit__(self, *exception: object) -> None:
        self._table.close()

    def __iter__(self) -> Iterator[Piece]:
        for name in self._table.names if isinstance(self._table, CsvReader) else ():
            # A file without a header line has its first values here.
            if _telling(name):
                yield Piece(None, name, [name], [1])
        for batch in self._table:
            yield from batch_pieces(batch, None)
            self.position = self._table.position


def batch_pieces(batch: RowBatch, table: str | None) -> Iterator[Piece]:
    """The columns of a batch, the records that are no rows, and, of JSON, the keys,
    since an object may have its values there."""
    for name in batch.names:
        if isinstance(batch, ArrowBatch):
            if not _harmless(batch.arrow(name).type):
                yield Piece(table, name, batch.texts(name), batch.lines)
        elif isinstance(batch, NdjsonBatch):
            yield Piece(table, name, [_unescaped(t) for t in batch.texts(name)], batch.lines)
            if _telling(name):
                values = zip(batch.json_values(name), batch.lines, strict=True)
                lines = [line for value, line in values if value is not None]
                yield Piece(table, _KEYS, [name] * len(lines), lines)
        else:
            yield Piece(table, name, batch.texts(name), batch.lines)
    if batch.bad:
        fields = [(text, row.line) for row in batch.bad for text in row.fields]
        texts: Texts = [text for text, _ in fields]
        yield Piece(table, _BAD_ROWS, texts, [line for _, line in fields])


def _telling(name: str) -> bool:
    """Whether a name is itself a finding."""
    return next(find(name), None) is not None


def _unescaped(text: str | None) -> str | None:
    """Nested JSON with its escapes undone, so that they hide nothing."""
    if text is None or "\\u" not in text or text[:1] not in ("{", "["):
        return text
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _harmless(kind: pa.DataType) -> bool:
    """Whether values of the type are too short or too regular to be a finding."""
    return bool(
        pa.types.is_boolean(kind)
        or pa.types.is_temporal(kind)
        or pa.types.is_null(kind)
        or (pa.types.is_integer(kind) and kind.bit_width < 32)
    )


class _TextSource(SourceReader):
    def __init__(self, path: Path) -> None:
        self.size = path.stat().st_size
        self.position = 0
        self._file = open_text(path)

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Piece]:
        number = 0
        texts: Texts = []
        lines: list[int] = []
        characters = 0
        while line := read_line(self._file, number + 1):
            number += 1
            texts.append(line)
            lines.append(number)
            characters += len(line)
            if len(texts) >= _BATCH_ROWS or characters >= BATCH_CHARACTERS:
                yield Piece(None, _LINES, texts, lines)
                self.position = min(self.size, self._file.buffer.tell())
                texts, lines, characters = [], [], 0
        yield Piece(None, _LINES, texts, lines)


class _DuckdbSource(SourceReader):
    """Every table of every schema of a DuckDB file, opened read-only."""

    def __init__(self, path: Path) -> None:
        if importlib.util.find_spec("duckdb") is None:
            raise SourceError("DuckDB is not installed: pip install 'strongroom[warehouse]'")
        import duckdb

        if not path.is_file():
            raise FileNotFoundError(2, "no such file")
        self._error: type[Exception] = duckdb.Error
        try:
            self._connection: Any = duckdb.connect(
                str(path), read_only=True, config={"memory_limit": "512MB", "threads": 1}
            )
            self._tables: list[tuple[str, str, int]] = self._connection.execute(
                "SELECT schema_name, table_name, estimated_size FROM duckdb_tables()"
                " WHERE NOT internal AND database_name = current_database()"
                " ORDER BY schema_name, table_name"
            ).fetchall()
        except duckdb.Error:
            raise SourceError("the file is no DuckDB database, damaged, or in use") from None
        self.size = sum(size for _, _, size in self._tables)
        self.position = 0

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def __iter__(self) -> Iterator[Piece]:
        try:
            for schema, table, _ in self._tables:
                yield from self._table(schema, table)
        except (self._error, pa.ArrowException):
            raise SourceError("the database is damaged") from None

    def _table(self, schema: str, table: str) -> Iterator[Piece]:
        name = f"{schema}.{table}"
        # Identifiers cannot be parameters; they come from the catalog and are quoted.
        source = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, table))
        relation = self._connection.sql(f"SELECT * FROM {source}")
        row = 1
        for batch in relation.to_arrow_reader(_BATCH_ROWS):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            rows = range(row, row + batch.num_rows)
            yield from batch_pieces(ArrowBatch(columns, rows), name)
            row += batch.num_rows
            self.position += batch.num_rows
