"""Newline-delimited JSON tables: one object a line, kept to the byte.

Values stay undecoded unless they are asked for, so that numbers keep their spelling
(``1.10``, 30 digits) and what is not replaced is written as it was read.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
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
    text_array,
)

Objects = list[dict[str, msgspec.Raw]]

_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.encode
_REASON: Final = "not a JSON object"
_MARK: Final = b"\xef\xbb\xbf"


class NdjsonBatch(RowBatch):
    """Rows as objects of undecoded values. ``names`` are the keys that any row has."""

    __slots__ = ("_objects",)

    def __init__(self, objects: Objects, lines: Sequence[int], bad: Sequence[BadRow] = ()) -> None:
        names = dict.fromkeys(name for item in objects for name in item)
        super().__init__(tuple(names), lines, bad)
        self._objects = objects

    def json_lines(self) -> Iterator[bytes]:
        """The rows as JSON objects, their fields in the order of each row."""
        return map(_encode, self._objects)

    def texts(self, name: str) -> Texts:
        return [_text(item.get(name)) for item in self._objects]

    def json_values(self, name: str) -> list[bytes | None]:
        raws = (item.get(name) for item in self._objects)
        return [None if raw is None else bytes(raw) for raw in raws]

    def arrow(self, name: str) -> pa.Array:
        return text_array(self.texts(name), self.lines)

    def replaced(self, columns: Mapping[str, Texts]) -> RowBatch:
        objects = [dict(item) for item in self._objects]
        for name, texts in columns.items():
            for item, text in zip(objects, texts, strict=True):
                if text is not None or name in item:
                    item[name] = msgspec.Raw(json_text(text))
        return NdjsonBatch(objects, self.lines, self.bad)

    def kept(self, rows: Sequence[int]) -> RowBatch:
        return NdjsonBatch([self._objects[i] for i in rows], [self.lines[i] for i in rows])


def json_text(text: str | None) -> bytes:
    """A string as JSON; a lone surrogate as its escape."""
    try:
        return _encode(text)
    except UnicodeEncodeError:
        return json.dumps(text).encode("ascii")


def _text(raw: msgspec.Raw | None) -> str | None:
    if raw is None:
        return None
    value = bytes(raw)
    if value.startswith(b'"'):
        try:
            return msgspec.json.decode(value, type=str)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # Lone surrogates and broken UTF-8, which the standard library lets through.
            return str(json.loads(value.decode("utf-8", "surrogateescape"), strict=False))
    return None if value == b"null" else value.decode("utf-8", "surrogateescape")


class NdjsonReader(TableReader):
    """Reads one object a line; blank lines are skipped. ``names`` are the keys of the
    first batch."""

    def __init__(self, path: Path, batch_rows: int) -> None:
        self.size = path.stat().st_size
        self._batch_rows = batch_rows
        self._file = path.open("rb", buffering=2**20)
        try:
            if self._file.read(3) != _MARK:
                self._file.seek(0)
            self._line = 0
            self._first = self._read()
        except BaseException:
            self._file.close()
            raise
        self.names = self._first.names

    @property
    def position(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[RowBatch]:
        batch = self._first
        while len(batch) or batch.bad:
            yield batch
            batch = self._read()

    def _read(self) -> RowBatch:
        objects: Objects = []
        lines: list[int] = []
        bad: list[BadRow] = []
        size = 0
        while len(objects) + len(bad) < self._batch_rows and size < BATCH_CHARACTERS:
            line = self._file.readline(MAX_RECORD + 1)
            if not line:
                break
            self._line += 1
            if len(line) > MAX_RECORD:
                raise TableError("the line is longer than 16 MiB", self._line)
            size += len(line)
            if line.isspace():
                continue
            try:
                objects.append(_decode_object(line))
                lines.append(self._line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                text = line.decode("utf-8", "surrogateescape")
                bad.append(BadRow(self._line, _REASON, (text,)))
        return NdjsonBatch(objects, lines, bad)


class NdjsonWriter(TableWriter):
    """Writes one object a line; a row has the fields that its batch gives it."""

    def write(self, batch: RowBatch) -> None:
        """Append the rows."""
        if isinstance(batch, NdjsonBatch):
            self._file.writelines(line + b"\n" for line in batch.json_lines())
            return
        names = [(json_text(name) + b":") for name in batch.names]
        columns = [batch.json_values(name) for name in batch.names]
        for values in zip(*columns, strict=True):
            fields = (n + v for n, v in zip(names, values, strict=True) if v is not None)
            self._file.write(b"{" + b",".join(fields) + b"}\n")

    def _finish(self) -> None:
        pass
