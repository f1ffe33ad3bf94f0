"""Report runs, what was approved, and which tokens a run has read.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE strongroom.report_runs (
    id                text COLLATE "C" PRIMARY KEY,
    tenant            text COLLATE "C" NOT NULL,
    report            text COLLATE "C" NOT NULL,
    template_hash     text COLLATE "C" NOT NULL,
    parameters        text COLLATE "C" NOT NULL,
    parameters_sha256 text COLLATE "C" NOT NULL,
    period            text COLLATE "C" NOT NULL,
    format            text COLLATE "C" NOT NULL,
    recipient         text COLLATE "C" NOT NULL,
    row_cap           bigint NOT NULL,
    requester         text COLLATE "C" NOT NULL,
    requested_at      timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    first_event       text COLLATE "C" NOT NULL,
    state             text COLLATE "C" NOT NULL,
    updated_at        timestamptz NOT NULL,
    version           integer NOT NULL,
    approver          text COLLATE "C",
    approved_at       timestamptz,
    code              text COLLATE "C",
    rule              text COLLATE "C",
    attempts          integer NOT NULL,
    lease_holder      text COLLATE "C",
    lease_until       timestamptz,
    revealed          bigint NOT NULL,
    rows              bigint,
    output_sha256     text COLLATE "C",
    output_bytes      bigint,
    output_location   text COLLATE "C",
    work_order        text COLLATE "C",
    manifest          text COLLATE "C"
);
-- A repeated request or delivery finds the run that is there.
CREATE UNIQUE INDEX report_runs_one ON strongroom.report_runs
    (tenant, report, parameters_sha256, period, format, recipient)
    WHERE state IN ('requested', 'approved', 'running', 'succeeded');
CREATE INDEX report_runs_newest ON strongroom.report_runs (tenant, id);

CREATE TABLE strongroom.report_approvals (
    id           text COLLATE "C" PRIMARY KEY,
    tenant       text COLLATE "C" NOT NULL,
    report       text COLLATE "C" NOT NULL,
    run          text COLLATE "C",
    standing     text COLLATE "C",
    binding      text COLLATE "C" NOT NULL,
    approver     text COLLATE "C" NOT NULL,
    approved_at  timestamptz NOT NULL,
    until        timestamptz NOT NULL,
    withdrawn_at timestamptz
);
CREATE UNIQUE INDEX report_approvals_run ON strongroom.report_approvals (run)
    WHERE run IS NOT NULL;
CREATE INDEX report_approvals_standing ON strongroom.report_approvals (tenant, report)
    WHERE run IS NULL;

CREATE TABLE strongroom.report_reads (
    run    text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    PRIMARY KEY (run, tenant, digest)
);
"""

# What a run binds, and what was approved, is settled when it is written: the service may
# write how a run goes on, and when an approval was withdrawn, and nothing else.
_GRANTS = """
GRANT SELECT, INSERT ON strongroom.report_runs, strongroom.report_approvals,
    strongroom.report_reads TO strongroom_service;
GRANT UPDATE (state, updated_at, version, approver, approved_at, code, rule, attempts,
    lease_holder, lease_until, revealed, rows, output_sha256, output_bytes, output_location,
    work_order, manifest) ON strongroom.report_runs TO strongroom_service;
GRANT UPDATE (withdrawn_at) ON strongroom.report_approvals TO strongroom_service;
"""


def upgrade() -> None:
    """Create the tables, their fences, and what the service may do (PCI-DSS 7.2.5)."""
    op.execute(_TABLES)
    for table in ("report_runs", "report_approvals", "report_reads"):
        op.execute(f"ALTER TABLE strongroom.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE strongroom.{table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant ON strongroom.{table} TO strongroom_service"
            " USING (tenant = (SELECT current_setting('strongroom.tenant', true)))"
        )
    op.execute(_GRANTS)


def downgrade() -> None:
    """Refused: approvals and manifests that were given out could never be met again."""
    raise NotImplementedError("downgrading would drop report runs and approvals")
