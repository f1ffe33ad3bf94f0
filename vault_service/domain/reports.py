"""Reports: what one is. Runs of one: ``report_runs``.

A definition is data: policies judge it, its hash is in every approval and manifest, and
what a job reads is held against it. The code that makes the figures is in
``reporting_jobs``; here is what service and jobs have to agree on.
"""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from vault_service.domain.access import ReportFacts
from vault_service.domain.report_parts import Split

NAME: Final = re.compile(r"[a-z][a-z0-9_]{2,39}")
NO_VALUE: Final = "none"
"""The form of a reading that sees tokens and what is stored beside them, and no value."""
INPUT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What a parameter of type input may be: the name of a file, without a path."""


class Format(StrEnum):
    """How an output is written, before it is sealed."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"
    PDF = "pdf"


IN_LINES: Final = frozenset({Format.CSV, Format.JSON})
"""Formats whose files can be laid end to end: those that the parts of a run may have."""


class Classification(StrEnum):
    """What a column of an output holds, from harmless to plain values."""

    FIGURE = "figure"
    IDENTIFIER = "identifier"
    TOKEN = "token"
    MASKED = "masked"
    PERSONAL = "personal"
    CARDHOLDER = "cardholder"


PLAIN: Final = frozenset({Classification.PERSONAL, Classification.CARDHOLDER})
"""Columns of these hold plain values: their reports need an approval."""


class ParameterType(StrEnum):
    """What a parameter may be. Times are RFC 3339 in UTC, dates ISO 8601; an input is the
    name (:data:`INPUT_NAME`) of a file that is handed to the job beside the vault."""

    TEXT = "text"
    INTEGER = "integer"
    DATE = "date"
    TIME = "time"
    CHOICE = "choice"
    PRINCIPAL = "principal"
    SUBJECT = "subject"
    TOKENS = "tokens"
    INPUT = "input"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a report. ``lowest`` and ``highest`` bound an integer, or the number of
    tokens in a list; ``choices`` are those of a choice."""

    name: str
    type: ParameterType
    description: str
    required: bool = True
    default: str | int | None = None
    choices: tuple[str, ...] = ()
    lowest: int | None = None
    highest: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A data class in a form that the report reads, or :data:`NO_VALUE`."""

    data_class: str
    form: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the output."""

    name: str
    classification: Classification
    description: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The most rows that an output may have, and the fewest people or tokens that a figure
    in it may stand for: smaller groups are suppressed.

    ``token_cap`` is the most tokens that a run may read, for a report that has to read more
    than it shows; a requester's lower row cap does not change it. Without one it follows
    from the row cap."""

    row_cap: int
    minimum_group: int = 10
    token_cap: int | None = None


@dataclass(frozen=True, slots=True)
class ReportDefinition:
    """A report. ``schedule`` is an EventBridge expression, ``None`` for one that is run on
    request alone; ``source_digest`` the SHA-256 (hex) of the code that makes it.

    Its job is the principal ``job:<name>``. ``needs_approval`` follows from the columns
    unless a report without plain values asks for it too. ``reads_rights`` declares that it
    reads the policies in force and the tenant's principals; ``split``, how its heavy runs
    are cut into parts.
    """

    name: str
    title: str
    description: str
    owner: str
    purpose: str
    reads: tuple[Reading, ...]
    columns: tuple[Column, ...]
    limits: Limits
    formats: tuple[Format, ...]
    parameters: tuple[Parameter, ...] = ()
    schedule: str | None = None
    approval: bool = False
    reads_rights: bool = False
    split: Split | None = None
    source_digest: str = ""

    @property
    def job(self) -> str:
        """The principal that runs it."""
        return f"job:{self.name}"

    @property
    def needs_approval(self) -> bool:
        """Whether somebody else has to approve a run."""
        return self.approval or any(c.classification in PLAIN for c in self.columns)

    @property
    def data_classes(self) -> frozenset[str]:
        """The data classes that it reads."""
        return frozenset(reading.data_class for reading in self.reads)

    @property
    def forms(self) -> frozenset[str]:
        """The forms that it reads them in."""
        return frozenset(reading.form for reading in self.reads)

    def facts(self, *, row_cap: int | None = None, requester: str | None = None) -> ReportFacts:
        """What the policies see of it, or of a run of it."""
        return ReportFacts(
            name=self.name,
            purpose=self.purpose,
            data_classes=self.data_classes,
            forms=self.forms,
            classifications=frozenset(column.classification.value for column in self.columns),
            row_cap=self.limits.row_cap if row_cap is None else row_cap,
            needs_approval=self.needs_approval,
            scheduled=self.schedule is not None,
            requester=requester,
        )

    def splitting(self, format: Format) -> Split | None:
        """How a run of this format may be cut into parts; ``None`` where it stays whole."""
        return self.split if format in IN_LINES else None

    def token_cap(self, row_cap: int) -> int:
        """The most tokens that a run may read: what the limits say, or as many as rows can
        show, which is one value of each reading at the most."""
        if self.limits.token_cap is not None:
            return self.limits.token_cap
        return row_cap * max(1, len(set(self.reads)))

    def template_hash(self) -> str:
        """SHA-256 (hex) over the definition and its code: what an approval is of."""
        return hashlib.sha256(canonical(self)).hexdigest()


def canonical(value: Any) -> bytes:
    """The value as JSON in one spelling: keys sorted, no white space, UTF-8."""
    return msgspec.json.encode(value, order="sorted")
