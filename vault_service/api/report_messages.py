"""What the routes of reports answer. Times are RFC 3339 in UTC."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec


class ReadingAnswer(msgspec.Struct):
    """A data class in a form that the report reads."""

    data_class: str
    form: str


class ColumnAnswer(msgspec.Struct):
    """A column of the output and what it holds."""

    name: str
    classification: str
    description: str


class ParameterAnswer(msgspec.Struct, omit_defaults=True):
    """A parameter of a report."""

    name: str
    type: str
    description: str
    required: bool
    default: str | int | None = None
    choices: list[str] = []
    lowest: int | None = None
    highest: int | None = None


class StandingAnswer(msgspec.Struct):
    """A standing approval and what it is of."""

    id: str
    approver: str
    approved_at: str
    until: str
    binding: dict[str, Any]


class ReportAnswer(msgspec.Struct):
    """A report, and what the caller may do with it."""

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
    formats: list[str]
    reads: list[ReadingAnswer]
    columns: list[ColumnAnswer]
    parameters: list[ParameterAnswer]
    schedule: str | None
    standing_approvals: list[StandingAnswer]


class ReportsAnswer(msgspec.Struct):
    """The answer of ``GET /v1/reports``."""

    reports: list[ReportAnswer]
    request_id: str


class SealedAnswer(msgspec.Struct):
    """What was sealed of a run or a part, before it counts."""

    rows: int
    output_sha256: str
    output_bytes: int
    output_location: str


class PartAnswer(msgspec.Struct):
    """A part of a run, as its job is told. ``order`` is its signed work item."""

    number: int
    of: int
    done: bool
    leased: bool
    attempts: int
    sealed: SealedAnswer | None
    order: str


class RunAnswer(msgspec.Struct):
    """A run as it stands now. ``binding`` is what an approval is of, field by field. Only
    the run's job is told ``part`` and ``sealed``: what it has the lease of, and what an
    attempt before it had sealed."""

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
    approver: str | None
    approved_at: str | None
    code: str | None
    rule: str | None
    attempts: int
    revealed: int
    lease_until: str | None
    rows: int | None
    output_sha256: str | None
    output_bytes: int | None
    order: str | None
    manifest: str | None
    parts: int
    parts_done: int
    part: PartAnswer | None
    sealed: SealedAnswer | None
    created: bool
    request_id: str

    def __repr__(self) -> str:
        return f"RunAnswer({self.id}, {self.state})"


class RunsAnswer(msgspec.Struct):
    """The answer of ``GET /v1/reports/runs``; ``next_cursor`` is null on the last page."""

    runs: list[RunAnswer]
    next_cursor: str | None
    request_id: str


class PartsAnswer(msgspec.Struct):
    """The answer of ``POST …/split``: no parts where the run stays whole."""

    parts: list[PartAnswer]
    request_id: str


class TokenRowAnswer(msgspec.Struct, omit_defaults=True):
    """What is stored beside a value."""

    token: str
    created_at: datetime
    subject: str | None = None
    tags: Mapping[str, str] = {}
    expires_at: datetime | None = None


class RunTokensAnswer(msgspec.Struct):
    """The answer of ``POST …/tokens``; ``next_cursor`` is null on the last page, and a page
    without tokens need not be that."""

    data_class: str
    tokens: list[TokenRowAnswer]
    next_cursor: str | None
    request_id: str


class HoldingAnswer(msgspec.Struct):
    """How many tokens of a class lie under one key."""

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
    retention_days: int | None
    wrapping_key: str


class InventoryAnswer(msgspec.Struct):
    """The answer of ``GET …/inventory``."""

    holdings: list[HoldingAnswer]
    request_id: str


class PolicyAnswer(msgspec.Struct):
    """A policy in force: its id, where it stands, and its Cedar JSON form."""

    id: str
    file: str
    line: int
    body: dict[str, Any]


class PrincipalAnswer(msgspec.Struct):
    """Who policies are about; no credential."""

    name: str
    type: str
    tenant: str
    tags: dict[str, str]


class RightsAnswer(msgspec.Struct):
    """The answer of ``GET …/rights``."""

    policy_hash: str
    policies: list[PolicyAnswer]
    principals: list[PrincipalAnswer]
    request_id: str
