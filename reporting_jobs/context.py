"""What a report is given, and what it gives back.

A report is a function of a :class:`Context`: it reads through the run, and returns tables of
rows that the runner writes, holds against the definition, seals and signs for. It never
sees a file, a key or a credential.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, Protocol

from vault_service.domain.holdings import Holding, TokenEntry
from vault_service.domain.report_failures import FailureCode
from vault_service.domain.reports import ReportDefinition
from vault_service.domain.rights import HeldPolicy, Rights

__all__ = [
    "Cell",
    "Chart",
    "Context",
    "HeldPolicy",
    "Holding",
    "Make",
    "Output",
    "ReportRefused",
    "Rights",
    "RunVault",
    "Section",
    "TokenEntry",
]

Cell = str | int | float | bool | None
"""What may stand in an output. Times are RFC 3339 in UTC."""


class ReportRefused(Exception):
    """A report that cannot be made: the text says the mend and holds no value. The run
    fails with ``code``."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class RunVault(Protocol):
    """The vault as one run may read it. Methods raise the client's errors, among them
    ``RequestRefused`` with ``access_denied`` for what the definition does not declare."""

    def tokens(
        self,
        data_class: str,
        *,
        subjects: Sequence[str] | None = None,
        among: Sequence[str] | None = None,
        overdue: bool = False,
    ) -> Iterator[Sequence[TokenEntry]]:
        """Tokens of a declared class, page by page: all, those of these subjects, those
        ``among`` these tokens, or those past their expiry or retention.

        A token that belongs to several people comes once for each of them, except where
        ``subjects`` are given (then for those alone) and with ``overdue`` (then once).

        In a part of a run that was split, all tokens of the class that the definition
        splits by are those of the part."""

    def reveal(self, tokens: Sequence[str], form: str) -> Sequence[str | None]:
        """Values in order, in a declared form, for the definition's purpose; ``None`` for
        tokens that are no more."""

    def delete(self, tokens: Sequence[str]) -> int:
        """Delete tokens for good; how many there were."""

    def rights(self) -> Rights:
        """The policies in force and the principals they are about, for a definition that
        declares ``reads_rights``."""

    def events(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Audit events of the tenant, newest first; filters as the client's
        ``audit_events``. What a run did has its id in ``detail``, as ``run``."""

    def inventory(self) -> Sequence[Holding]:
        """What is stored, by class and key, without a value."""

    def catalog(self) -> Mapping[str, Any]:
        """Data classes and purposes, as ``GET /v1/catalog`` has them."""

    def export_log(self, *, cursor: int = 0) -> Iterator[bytes]:
        """The audit log from this leaf on as a bundle, piece by piece."""

    def checkpoint(self) -> str:
        """The newest signed checkpoint of the audit log."""

    def verifier_key(self) -> str:
        """The key that signs checkpoints."""


@dataclass(frozen=True, slots=True)
class Context:
    """One run as its report sees it. ``parameters`` are checked and complete; ``now`` is in
    UTC; ``progress`` takes how many of how many rows are done. ``requested_at`` is when the
    run was asked for, and ``row_cap`` the most rows that it may have (``None``: as the
    definition says). ``inputs`` opens, by the
    parameter's name, the file that each given parameter of type input names: it is read as
    a stream and once, and :class:`FileNotFoundError` says that there is none."""

    definition: ReportDefinition
    parameters: Mapping[str, Any]
    period: str
    run_id: str
    now: datetime
    vault: RunVault
    progress: Callable[[int, int | None], None] = lambda done, total: None
    requested_at: datetime | None = None
    row_cap: int | None = None
    inputs: Mapping[str, Callable[[], BinaryIO]] = field(default_factory=dict)

    @property
    def cap(self) -> int:
        """The most rows that the output may have."""
        return self.definition.limits.row_cap if self.row_cap is None else self.row_cap


@dataclass(frozen=True, slots=True)
class Chart:
    """A bar chart for people who would rather look: labels and a figure each."""

    title: str
    labels: Sequence[str]
    values: Sequence[float]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a PDF: paragraphs, a small table, a chart; figures in it are suppressed
    already."""

    title: str
    paragraphs: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    chart: Chart | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """What a report gives back: rows with a cell for each column of the definition, made as
    they are asked for, and for a PDF its sections (asked for after the rows)."""

    rows: Iterable[Sequence[Cell]]
    sections: Callable[[], Sequence[Section]] = field(default=lambda: ())


Make = Callable[[Context], Output]
"""Makes a report."""
