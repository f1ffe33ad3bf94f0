"""What a table is to the file commands: batches of rows, whatever file they come from.

A batch shows a column in three ways, one for each kind of file it may be written to:
as text (CSV), as JSON, and as an Arrow array (Parquet). What is not replaced keeps its
spelling or type where the file formats allow it.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import pyarrow as pa

BATCH_ROWS: Final = 1000
"""Rows a batch has at most, unless said otherwise."""
BATCH_CHARACTERS: Final = 4 * 2**20
"""A batch of text ends at the row that takes it past this size, so memory stays flat."""
MAX_RECORD: Final = 16 * 2**20
"""Characters a record may have; longer ones are an error, not a full memory."""

Texts = list[str | None]
"""One column of a batch as text; ``None`` where there is no value."""


class TableError(Exception):
    """A file cannot be read or written as a table.

    The message is constant text with the line number where there is one, never
    anything from inside the file.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class BadRow:
    """A record that is no row of the table. ``reason`` is constant text; ``fields``
    are its pieces, for a scan, which must look at everything."""

    line: int
    reason: str
    fields: tuple[str, ...] = field(default=(), repr=False)


class RowBatch(ABC):
    """Some consecutive rows.

    ``lines`` are where they begin: line numbers from 1 with the header counted for text
    files, row numbers from 1 for Parquet. ``bad`` are the records between them that
    are no rows.
    """

    __slots__ = ("bad", "lines", "names")

    def __init__(
        self, names: tuple[str, ...], lines: Sequence[int], bad: Sequence[BadRow] = ()
    ) -> None:
        self.names = names
        self.lines = lines
        self.bad = bad

    def __len__(self) -> int:
        return len(self.lines)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.lines)} rows)"

    @abstractmethod
    def texts(self, name: str) -> Texts:
        """The column as text. Bytes that are no UTF-8 become lone surrogates
        (``surrogateescape``), see :func:`is_clean`. ``KeyError`` for an unknown name,
        save in JSON, where any row may lack any field."""

    @abstractmethod
    def json_values(self, name: str) -> list[bytes | None]:
        """The column as JSON texts; ``None`` where the row has no such field."""

    @abstractmethod
    def arrow(self, name: str) -> pa.Array:
        """The column as an Arrow array; :class:`TableError` where text is not UTF-8."""

    @abstractmethod
    def replaced(self, columns: Mapping[str, Texts]) -> "RowBatch":
        """The same rows with these columns as text instead. A name that the batch
        does not have is added at the end. A row that has no such field keeps none
        where the new value is ``None``."""

    @abstractmethod
    def kept(self, rows: Sequence[int]) -> "RowBatch":
        """Only the rows at these positions, in this order, without the bad ones."""


class TableReader(ABC):
    """An open table; iterating gives its batches once, in order. A context manager.

    ``names`` are the columns, as far as known before reading on (newline-delimited JSON
    may bring more later); a name that comes twice is told apart as ``name#2``. ``size``
    and ``position`` are in the same unit, for a progress bar.
    """

    names: tuple[str, ...]
    size: int

    @property
    @abstractmethod
    def position(self) -> int:
        """How far the reader is, from 0 to ``size``."""

    @abstractmethod
    def __iter__(self) -> Iterator[RowBatch]:
        """Batches in order; :class:`TableError` where the file turns out unreadable."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class TableWriter(ABC):
    """Writes ``path.partial`` and renames it at the end of the ``with`` block; when the
    block fails, what was at ``path`` stays as it was and the partial file goes."""

    def __init__(self, path: Path, *, private: bool) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._partial.unlink(missing_ok=True)
        # Plaintext is the owner's alone; tokens follow the umask.
        descriptor = os.open(
            self._partial,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0),
            0o600 if private else 0o666,
        )
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=2**20)

    @abstractmethod
    def write(self, batch: RowBatch) -> None:
        """Append the rows. :class:`TableError` where they do not fit the table."""

    @abstractmethod
    def _finish(self) -> None:
        """Write what is still held back."""

    def _abandon(self) -> None:  # noqa: B027  # most writers have nothing to let go of
        """Let go of what stands on the file, which is about to be closed and removed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        done = False
        try:
            if kind is None:
                self._finish()
                self._file.flush()
                os.fsync(self._file.fileno())
                done = True
            else:
                self._abandon()
        finally:
            self._file.close()
            if done:
                self._partial.replace(self._path)
            else:
                self._partial.unlink(missing_ok=True)


def is_clean(text: str) -> bool:
    """Whether ``text`` came from valid UTF-8: the vault and Parquet refuse any other."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def text_array(texts: Texts, lines: Sequence[int]) -> pa.Array:
    """Text as Arrow strings; :class:`TableError` naming the line that is not UTF-8."""
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        bad = next(
            line for line, t in zip(lines, texts, strict=True) if t is not None and not is_clean(t)
        )
        raise TableError("the text is not UTF-8, which Parquet demands", bad) from None


def distinct(names: Collection[str]) -> tuple[str, ...]:
    """The names, repeated ones told apart by ``#2``, ``#3`` and so on."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, count = name, 1
        while candidate in taken:
            count += 1
            candidate = f"{name}#{count}"
        taken.add(candidate)
        result.append(candidate)
    return tuple(result)
