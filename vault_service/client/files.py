"""A file through the vault: columns of values become columns of tokens, or back.

The file streams: a few batches of rows are in memory, each column of a batch is one
request, several requests are under way, and rows are written in order. The output
appears whole or not at all. A run that was interrupted can be repeated: deterministic
classes give the same tokens again, and for the others the requests carry idempotency
keys made of the file's digest, the column and the place in the file, so that a repeat
within 24 hours gets the first answers.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from vault_service.client import file_columns
from vault_service.client.batching import derived_key
from vault_service.client.errors import RequestRefused
from vault_service.client.exchange import Steps
from vault_service.client.file_checks import is_deterministic
from vault_service.client.file_columns import Cells
from vault_service.client.mapping import ColumnMap, MappingError
from vault_service.client.rejects import Reject, RejectsFile
from vault_service.client.sync import Client
from vault_service.client.tables import RowBatch, TableReader, open_table, open_writer
from vault_service.domain.errors import Code

_WINDOW: Final = 8
"""Batches read ahead of the one that is written next."""

_COUNTED: Final = 250_000
"""Distinct cells are counted up to here, so that memory stays flat."""

_ROW_ERRORS: Final = frozenset(
    {
        Code.INVALID_REQUEST,
        Code.INVALID_VALUE,
        Code.SENSITIVE_AUTHENTICATION_DATA,
        Code.SENSITIVE_VALUE_IN_METADATA,
        Code.ACCESS_DENIED,
        Code.NOT_FOUND,
        Code.EXPIRED,
        Code.ERASED,
        Code.PAYLOAD_TOO_LARGE,
        Code.INTERNAL,
    }
)
"""What concerns a row: it is left out. Any other code stops the run."""

Progress = Callable[[int, int, int], None]
"""Told after each batch: how far the reader is, of how much, and the rows done."""


@dataclass(slots=True)
class Summary:
    """What a run did. ``distinct`` counts the different new cells of the mapped columns,
    ``None`` where there are too many to count in flat memory."""

    rows: int = 0
    written: int = 0
    rejected: int = 0
    cells: int = 0
    distinct: int | None = 0
    seconds: float = 0.0
    rejects_file: Path | None = None

    @property
    def rows_per_second(self) -> float:
        """Rows read in a second, over the whole run."""
        return self.rows / self.seconds if self.seconds else 0.0


Send = Callable[[RowBatch, str, int], Steps[Cells]]
"""The steps for a column of the batch with this number."""


@dataclass(slots=True)
class _Pending:
    batch: RowBatch
    columns: dict[str, "Future[Cells]"]
    position: int


@dataclass(slots=True)
class _Run:
    """One file on its way: what is under way, and what was counted."""

    vault: Client
    mapping: ColumnMap
    send: Send
    summary: Summary = field(default_factory=Summary)
    window: deque[_Pending] = field(default_factory=deque)
    seen: set[int] = field(default_factory=set)
    number: int = 0
    anything_allowed: bool = False

    def start(self, batch: RowBatch, position: int) -> None:
        """Send the batch's columns."""
        columns = {
            name: self.vault.submit(self.send(batch, name, self.number))
            for name in self.mapping.columns
            if name in batch.names
        }
        self.window.append(_Pending(batch, columns, position))
        self.number += 1

    def settle(self) -> tuple[RowBatch, list[Reject], int]:
        """Wait for the oldest batch: its rows with new cells, those left out, and how
        far the reader was."""
        pending = self.window.popleft()
        batch = pending.batch
        rejects = [Reject(bad.line, "", "invalid_row", bad.reason) for bad in batch.bad]
        replaced = {}
        dropped: set[int] = set()
        for name, future in pending.columns.items():
            cells = future.result()
            self._check(cells)
            for row, error in cells.errors.items():
                rejects.append(Reject(batch.lines[row], name, error.code, error.detail))
                dropped.add(row)
            replaced[name] = cells.texts
        rejects.sort(key=lambda reject: reject.line)
        result = batch.replaced(replaced)
        if dropped or batch.bad:
            result = result.kept([row for row in range(len(batch)) if row not in dropped])
        self._count(batch, replaced, dropped)
        return result, rejects, pending.position

    def _check(self, cells: Cells) -> None:
        refused = [e for e in cells.errors.values() if e.code not in _ROW_ERRORS]
        denied = [e for e in cells.errors.values() if e.code == Code.ACCESS_DENIED]
        if len(denied) < cells.tried:
            self.anything_allowed = True
        elif denied and not self.anything_allowed:
            # Nothing went through so far: this is about the caller, not about some rows.
            refused = denied
        if refused:
            request = cells.request_ids[0] if cells.request_ids else None
            raise RequestRefused(refused[0].code, refused[0].detail, status=0, request_id=request)

    def _count(
        self, batch: RowBatch, replaced: dict[str, list[str | None]], dropped: set[int]
    ) -> None:
        summary = self.summary
        summary.rows += len(batch) + len(batch.bad)
        summary.written += len(batch) - len(dropped)
        summary.rejected += len(dropped) + len(batch.bad)
        for texts in replaced.values():
            fresh = [text for row, text in enumerate(texts) if text and row not in dropped]
            summary.cells += len(fresh)
            if summary.distinct is not None:
                self.seen.update(map(hash, fresh))
                summary.distinct = len(self.seen)
        if len(self.seen) > _COUNTED:
            self.seen.clear()
            summary.distinct = None

    def abandon(self) -> None:
        """Take back what has not begun."""
        for pending in self.window:
            for future in pending.columns.values():
                future.cancel()


def _stream(
    run: _Run,
    source: TableReader,
    output: Path,
    *,
    private: bool,
    progress: Progress | None,
) -> Summary:
    began = time.monotonic()
    run.mapping.check_columns(source.names)
    with ExitStack() as stack:
        writer = stack.enter_context(
            open_writer(output, source, list(run.mapping.columns), private=private)
        )
        rejects = stack.enter_context(RejectsFile(output))
        stack.callback(run.abandon)

        def settle() -> None:
            rows, left_out, position = run.settle()
            writer.write(rows)
            rejects.write(left_out)
            if progress is not None:
                progress(position, source.size, run.summary.rows)

        for batch in source:
            run.start(batch, source.position)
            if len(run.window) >= _WINDOW:
                settle()
        while run.window:
            settle()
    run.summary.seconds = time.monotonic() - began
    run.summary.rejects_file = rejects.path if run.summary.rejected else None
    return run.summary


def _open(source: Path, output: Path) -> TableReader:
    if output.exists() and output.samefile(source):
        raise MappingError("The output must be another file than the input.")
    return open_table(source)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tokenize_file(
    vault: Client,
    source: Path,
    mapping: ColumnMap,
    output: Path,
    *,
    progress: Progress | None = None,
) -> Summary:
    """Replace the mapped columns of ``source`` by tokens and write ``output``.

    Formats go by suffix. Empty cells stay as they are; rows with a cell that is refused
    are left out and listed in ``OUTPUT.rejects.csv``. Raises :class:`MappingError` where
    the mapping does not fit the file or the catalog, ``TableError`` and ``OSError`` for
    unusable files, and what :class:`Client` raises where the service refuses the work;
    then ``output`` is as it was.
    """
    mapping.check_classes()
    with _open(source, output) as table:
        mapping.check_columns(table.names)
        catalog = vault.catalog()
        steady = {
            name: is_deterministic(catalog, name, rule.data_class or "")
            for name, rule in mapping.columns.items()
        }
        digest = "" if all(steady.values()) else _digest(source)

        def send(batch: RowBatch, name: str, number: int) -> Steps[Cells]:
            rule = mapping.columns[name]
            subject = mapping.subject
            subjects = batch.texts(subject) if subject and subject in batch.names else None
            described = msgspec.json.encode(rule).decode()
            key = derived_key(digest, name, described, subject, number)
            return file_columns.tokenize_column(
                batch.texts(name),
                rule,
                subjects,
                vault.retry,
                deterministic=steady[name],
                key=key,
            )

        return _stream(_Run(vault, mapping, send), table, output, private=False, progress=progress)


def detokenize_file(
    vault: Client,
    source: Path,
    mapping: ColumnMap,
    output: Path,
    *,
    purpose: str,
    case: str | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Replace the tokens in the mapped columns by values, in the form that each column
    of the mapping asks for (``masked`` by default). The output is readable by its owner
    alone. Errors as :func:`tokenize_file`."""

    def send(batch: RowBatch, name: str, number: int) -> Steps[Cells]:
        rule = mapping.columns[name]
        return file_columns.detokenize_column(batch.texts(name), rule, purpose, case, vault.retry)

    with _open(source, output) as table:
        return _stream(_Run(vault, mapping, send), table, output, private=True, progress=progress)
