"""CSV tables (RFC 4180), kept to the byte.

The standard library's reader cannot tell an empty field from a quoted empty one, which
databases load differently, and reads an unclosed quote to the end of the file into
memory. This one keeps the difference (``None`` and ``""``), has a bound, and knows the
line each record begins on. Bytes that are no UTF-8 pass through unharmed.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import pyarrow as pa

from vault_service.client.table_rows import (
    BATCH_CHARACTERS,
    MAX_RECORD,
    BadRow,
    RowBatch,
    TableError,
    TableReader,
    TableWriter,
    Texts,
    distinct,
    text_array,
)

_WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS: Final = (",", ";", "\t", "|")
_REASON: Final = "the number of fields is not that of the header"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV file parts its fields and ends its lines."""

    delimiter: str = ","
    line_end: str = "\n"


def open_text(path: Path) -> TextIO:
    """The file as text, line ends kept, bytes that are no UTF-8 as lone surrogates.

    :class:`TableError` for UTF-16 and UTF-32, which byte order marks tell."""
    with path.open("rb") as file:
        if file.read(2) in _WIDE_MARKS:
            raise TableError("the file is UTF-16 or UTF-32; convert it to UTF-8")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def read_line(file: TextIO, number: int) -> str:
    """The next line with its end, empty at the end of the file."""
    line = file.readline(MAX_RECORD + 1)
    if len(line) > MAX_RECORD:
        raise TableError("the line is longer than 16 MiB", number)
    return line


class CsvBatch(RowBatch):
    """Rows of text, held by column."""

    __slots__ = ("_columns",)

    def __init__(
        self,
        columns: dict[str, Texts],
        lines: Sequence[int],
        bad: Sequence[BadRow] = (),
    ) -> None:
        super().__init__(tuple(columns), lines, bad)
        self._columns = columns

    def texts(self, name: str) -> Texts:
        return self._columns[name]

    def json_values(self, name: str) -> list[bytes | None]:
        return [
            b"null" if text is None else json.dumps(text).encode("ascii")
            for text in self._columns[name]
        ]

    def arrow(self, name: str) -> pa.Array:
        return text_array(self._columns[name], self.lines)

    def replaced(self, columns: Mapping[str, Texts]) -> RowBatch:
        return CsvBatch({**self._columns, **columns}, self.lines, self.bad)

    def kept(self, rows: Sequence[int]) -> RowBatch:
        columns = {name: [texts[i] for i in rows] for name, texts in self._columns.items()}
        return CsvBatch(columns, [self.lines[i] for i in rows])


class CsvReader(TableReader):
    """Reads a CSV file with a header line.

    The delimiter is the one given, or the first of comma, semicolon, tab and bar that
    the header has.
    """

    def __init__(self, path: Path, batch_rows: int, delimiter: str | None = None) -> None:
        self.size = path.stat().st_size
        self._batch_rows = batch_rows
        self._file = open_text(path)
        try:
            first = read_line(self._file, 1)
            if delimiter is None:
                delimiter = next((d for d in _DELIMITERS if d in first), ",")
            self.dialect = Dialect(delimiter, "\r\n" if first.endswith("\r\n") else "\n")
            self._line = 1
            header = self._record(first)
        except BaseException:
            self._file.close()
            raise
        self.names = distinct([name or "" for name in header]) if first else ()

    @property
    def position(self) -> int:
        # The text layer refuses tell() while lines are read; the bytes beneath do not.
        return min(self.size, self._file.buffer.tell())

    def close(self) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[RowBatch]:
        width = len(self.names)
        rows: list[Texts] = []
        lines: list[int] = []
        bad: list[BadRow] = []
        characters = 0
        while width:
            begin = self._line + 1
            line = read_line(self._file, begin)
            if not line:
                break
            self._line = begin
            characters += len(line)
            if line in ("\n", "\r\n", "\r") and width > 1:
                continue
            record = self._record(line)
            if len(record) == width:
                rows.append(record)
                lines.append(begin)
            else:
                bad.append(BadRow(begin, _REASON, tuple(f for f in record if f)))
            if len(rows) + len(bad) >= self._batch_rows or characters >= BATCH_CHARACTERS:
                yield self._batch(rows, lines, bad)
                rows, lines, bad, characters = [], [], [], 0
        if rows or bad:
            yield self._batch(rows, lines, bad)

    def _batch(self, rows: list[Texts], lines: list[int], bad: list[BadRow]) -> RowBatch:
        columns = zip(*rows, strict=True) if rows else ([] for _ in self.names)
        return CsvBatch(dict(zip(self.names, map(list, columns), strict=True)), lines, bad)

    def _record(self, line: str) -> Texts:
        """The fields of the record that begins with ``line``, reading on where a quoted
        field goes over the end of the line."""
        if '"' not in line:
            return [field or None for field in _chomp(line).split(self.dialect.delimiter)]
        fields: Texts = []
        delimiter, begin, at, size = self.dialect.delimiter, self._line, 0, len(line)
        while True:
            if line.startswith('"', at):
                parts: list[str] = []
                at += 1
                while True:
                    close = line.find('"', at)
                    if close < 0:
                        parts.append(line[at:])
                        line = read_line(self._file, self._line + 1)
                        if not line:
                            raise TableError("a quoted field is not closed", begin)
                        self._line += 1
                        size += len(line)
                        if size > MAX_RECORD:
                            raise TableError("the record is longer than 16 MiB", begin)
                        at = 0
                        continue
                    parts.append(line[at:close])
                    at = close + 1
                    if not line.startswith('"', at):
                        break
                    parts.append('"')
                    at += 1
                # Text between the closing quote and the delimiter is kept, as
                # the standard library does.
                end = line.find(delimiter, at)
                parts.append(line[at:end] if end >= 0 else _chomp(line[at:]))
                fields.append("".join(parts))
            else:
                end = line.find(delimiter, at)
                fields.append((line[at:end] if end >= 0 else _chomp(line[at:])) or None)
            if end < 0:
                return fields
            at = end + len(delimiter)


def _chomp(line: str) -> str:
    """``line`` without its end."""
    line = line.removesuffix("\n")
    return line.removesuffix("\r")


class CsvWriter(TableWriter):
    """Writes CSV with a header; quotes only what needs it."""

    def __init__(
        self,
        path: Path,
        names: tuple[str, ...],
        dialect: Dialect | None = None,
        *,
        private: bool = False,
    ) -> None:
        super().__init__(path, private=private)
        dialect = dialect or Dialect()
        self._names = names
        self._delimiter = dialect.delimiter
        self._end = dialect.line_end
        self._special = re.compile(f'[{re.escape(dialect.delimiter)}"\r\n]')
        self._put([list(names)])

    def write(self, batch: RowBatch) -> None:
        if not set(batch.names) <= set(self._names):
            raise TableError("a column appears that the table does not have", batch.lines[0])
        nothing: Texts = [None] * len(batch)
        held = set(batch.names)
        columns = [batch.texts(n) if n in held else nothing for n in self._names]
        self._put(zip(*columns, strict=True))

    def _finish(self) -> None:
        pass

    def _put(self, rows: "Iterator[tuple[str | None, ...]] | list[list[str | None]]") -> None:
        field, delimiter, end = self._field, self._delimiter, self._end
        text = "".join(delimiter.join(map(field, row)) + end for row in rows)
        self._file.write(text.encode("utf-8", "surrogateescape"))

    def _field(self, text: str | None) -> str:
        if text is None:
            return ""
        if text and self._special.search(text) is None:
            return text
        return '"' + text.replace('"', '""') + '"'
