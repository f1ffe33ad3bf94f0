"""The tables of reports: runs and their parts, approvals, and which tokens a run has read."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA

from vault_service.adapters.postgres.columns import number, text, time
from vault_service.adapters.postgres.schema import metadata

report_runs = sa.Table(
    "report_runs",
    metadata,
    text("id", primary_key=True),
    *map(text, ("tenant", "report", "template_hash", "parameters", "parameters_sha256")),
    *map(text, ("period", "format", "recipient")),
    number("row_cap"),
    text("requester"),
    time("requested_at"),
    time("expires_at"),
    text("first_event"),
    text("state"),
    time("updated_at"),
    sa.Column("version", sa.Integer, nullable=False),
    text("approver", nullable=True),
    time("approved_at", nullable=True),
    text("code", nullable=True),
    text("rule", nullable=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    text("lease_holder", nullable=True),
    time("lease_until", nullable=True),
    number("revealed"),
    number("rows", nullable=True),
    text("output_sha256", nullable=True),
    number("output_bytes", nullable=True),
    *(text(name, nullable=True) for name in ("output_location", "work_order", "manifest")),
    *(
        sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0"))
        for name in ("parts", "parts_done")
    ),
    sa.Index(
        "report_runs_one",
        *("tenant", "report", "parameters_sha256", "period", "format", "recipient"),
        unique=True,
        postgresql_where=sa.text("state IN ('requested', 'approved', 'running', 'succeeded')"),
    ),
    sa.Index("report_runs_newest", "tenant", "id"),
)

report_parts = sa.Table(
    "report_parts",
    metadata,
    *(text(name, primary_key=True) for name in ("tenant", "run")),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    *(text(name, nullable=True) for name in ("after", "until")),
    text("work_order"),
    sa.Column("done", sa.Boolean, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    text("lease_holder", nullable=True),
    time("lease_until", nullable=True),
    number("rows", nullable=True),
    text("output_sha256", nullable=True),
    number("output_bytes", nullable=True),
    text("output_location", nullable=True),
    sa.Column("version", sa.Integer, nullable=False),
)

report_approvals = sa.Table(
    "report_approvals",
    metadata,
    text("id", primary_key=True),
    *map(text, ("tenant", "report")),
    text("run", nullable=True),
    text("standing", nullable=True),
    *map(text, ("binding", "approver")),
    *map(time, ("approved_at", "until")),
    time("withdrawn_at", nullable=True),
    sa.Index(
        "report_approvals_run", "run", unique=True, postgresql_where=sa.text("run IS NOT NULL")
    ),
    sa.Index(
        "report_approvals_standing", "tenant", "report", postgresql_where=sa.text("run IS NULL")
    ),
)

report_reads = sa.Table(
    "report_reads",
    metadata,
    text("run", primary_key=True),
    text("tenant", primary_key=True),
    sa.Column("digest", BYTEA, primary_key=True),
)
