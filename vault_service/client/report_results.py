"""What the routes of reports answer, typed. Times are RFC 3339 in UTC."""

from datetime import datetime
from typing import Any

import msgspec


class ReportColumn(msgspec.Struct, frozen=True):
    """A column of a report's output."""

    name: str
    classification: str
    description: str = ""


class ReportParameter(msgspec.Struct, frozen=True):
    """A parameter of a report."""

    name: str
    type: str
    description: str = ""
    required: bool = True
    default: str | int | None = None
    choices: list[str] = []
    lowest: int | None = None
    highest: int | None = None


class ReportReading(msgspec.Struct, frozen=True):
    """A data class in a form that a report reads."""

    data_class: str
    form: str


class StandingApproval(msgspec.Struct, frozen=True):
    """An approval of every run alike until a time; ``binding`` is what it is of."""

    id: str
    approver: str
    approved_at: str
    until: str
    binding: dict[str, Any]


class ReportInfo(msgspec.Struct, frozen=True):
    """A report that the vault knows, and what the caller may do with it."""

    name: str
    title: str
    description: str
    owner: str
    purpose: str
    job: str
    row_cap: int
    token_cap: int
    minimum_group: int
    needs_approval: bool
    may_run: bool
    may_approve: bool
    template_hash: str
    formats: list[str] = []
    reads: list[ReportReading] = []
    columns: list[ReportColumn] = []
    parameters: list[ReportParameter] = []
    schedule: str | None = None
    standing_approvals: list[StandingApproval] = []


class Reports(msgspec.Struct, frozen=True):
    """The answer of ``GET /v1/reports``."""

    reports: list[ReportInfo]


class SealedInfo(msgspec.Struct, frozen=True):
    """What an attempt sealed, before it counts."""

    rows: int
    output_sha256: str
    output_bytes: int
    output_location: str


class PartInfo(msgspec.Struct, frozen=True):
    """A part of a run, as its job is told; ``order`` is its signed work item."""

    number: int
    of: int
    done: bool
    leased: bool
    attempts: int
    order: str
    sealed: SealedInfo | None = None


class Parts(msgspec.Struct, frozen=True):
    """The answer of ``POST …/split``."""

    parts: list[PartInfo]


class RunInfo(msgspec.Struct, frozen=True):
    """A run. ``binding`` is what an approval is of, field by field; ``order`` and
    ``manifest`` are signed notes; ``code`` and ``rule`` say why it did not succeed;
    ``parts_done`` of its ``parts`` are done. Its job alone is told the ``part`` that it
    makes, and what an attempt before it had ``sealed``."""

    id: str
    report: str
    purpose: str
    state: str
    parameters: dict[str, Any]
    period: str
    format: str
    recipient: str
    row_cap: int
    requester: str
    requested_at: str
    expires_at: str
    updated_at: str
    template_hash: str
    needs_approval: bool
    binding: dict[str, Any]
    approver: str | None = None
    approved_at: str | None = None
    code: str | None = None
    rule: str | None = None
    attempts: int = 0
    revealed: int = 0
    lease_until: str | None = None
    rows: int | None = None
    output_sha256: str | None = None
    output_bytes: int | None = None
    order: str | None = None
    manifest: str | None = None
    parts: int = 0
    parts_done: int = 0
    part: PartInfo | None = None
    sealed: SealedInfo | None = None
    created: bool = False

    def __repr__(self) -> str:
        return f"RunInfo({self.id}, {self.report}, {self.state})"


class RunPage(msgspec.Struct, frozen=True):
    """A page of runs, newest first; ``next_cursor`` is ``None`` on the last."""

    runs: list[RunInfo]
    next_cursor: str | None = None


class TokenRow(msgspec.Struct, frozen=True):
    """What is stored beside a value."""

    token: str
    created_at: datetime
    subject: str | None = None
    tags: dict[str, str] = {}
    expires_at: datetime | None = None


class TokenPage(msgspec.Struct, frozen=True):
    """A page of tokens of one class; ``next_cursor`` is ``None`` on the last. A page may
    hold none and yet not be the last."""

    data_class: str
    tokens: list[TokenRow]
    next_cursor: str | None = None


class HoldingRow(msgspec.Struct, frozen=True):
    """A row of the inventory."""

    data_class: str
    tags: list[str]
    key_id: int
    epoch: int
    key_state: str
    key_created_at: str
    tokens: int
    subjects: int
    oldest: str
    newest: str
    overdue: int
    retention_days: int | None = None
    wrapping_key: str = ""


class Inventory(msgspec.Struct, frozen=True):
    """The answer of ``GET …/inventory``."""

    holdings: list[HoldingRow]


class PolicyRow(msgspec.Struct, frozen=True):
    """A policy in force, in its Cedar JSON form."""

    id: str
    file: str
    line: int
    body: dict[str, Any]


class PrincipalRow(msgspec.Struct, frozen=True):
    """Who policies are about."""

    name: str
    type: str
    tenant: str
    tags: dict[str, str] = {}


class RightsTold(msgspec.Struct, frozen=True):
    """The answer of ``GET …/rights``."""

    policy_hash: str
    policies: list[PolicyRow]
    principals: list[PrincipalRow]
