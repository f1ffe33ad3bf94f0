"""Parts of report runs.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES = """
ALTER TABLE strongroom.report_runs
    ADD COLUMN parts      integer NOT NULL DEFAULT 0,
    ADD COLUMN parts_done integer NOT NULL DEFAULT 0;

CREATE TABLE strongroom.report_parts (
    tenant          text COLLATE "C" NOT NULL,
    run             text COLLATE "C" NOT NULL,
    number          integer NOT NULL,
    after           text COLLATE "C",
    until           text COLLATE "C",
    work_order      text COLLATE "C" NOT NULL,
    done            boolean NOT NULL,
    attempts        integer NOT NULL,
    lease_holder    text COLLATE "C",
    lease_until     timestamptz,
    rows            bigint,
    output_sha256   text COLLATE "C",
    output_bytes    bigint,
    output_location text COLLATE "C",
    version         integer NOT NULL,
    PRIMARY KEY (tenant, run, number)
);
"""

# What a part is of is settled when the run is split: the service may write how it goes on.
_GRANTS = """
GRANT SELECT, INSERT ON strongroom.report_parts TO strongroom_service;
GRANT UPDATE (done, attempts, lease_holder, lease_until, rows, output_sha256, output_bytes,
    output_location, version) ON strongroom.report_parts TO strongroom_service;
GRANT UPDATE (parts, parts_done) ON strongroom.report_runs TO strongroom_service;
"""


def upgrade() -> None:
    """Create the table, its fence, and what the service may do (PCI-DSS 7.2.5)."""
    op.execute(_TABLES)
    op.execute("ALTER TABLE strongroom.report_parts ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE strongroom.report_parts FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant ON strongroom.report_parts TO strongroom_service"
        " USING (tenant = (SELECT current_setting('strongroom.tenant', true)))"
    )
    op.execute(_GRANTS)


def downgrade() -> None:
    """Refused: runs that were split could never be finished or verified again."""
    raise NotImplementedError("downgrading would drop the parts of report runs")
