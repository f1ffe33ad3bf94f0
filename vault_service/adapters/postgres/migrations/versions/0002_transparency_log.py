"""The transparency log: leaves, tiles and checkpoints over the audit events.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE strongroom.log_leaves (
    leaf_index  bigint PRIMARY KEY,
    position    bigint NOT NULL CONSTRAINT log_leaves_position UNIQUE,
    occurred_at timestamptz NOT NULL
);

-- Leaves come in the order of time, nearly: a few bytes a thousand rows find a time.
CREATE INDEX log_leaves_occurred ON strongroom.log_leaves USING brin (occurred_at);

CREATE TABLE strongroom.log_tiles (
    level      smallint NOT NULL,
    tile_index bigint NOT NULL,
    hashes     bytea NOT NULL,
    PRIMARY KEY (level, tile_index)
);
-- Hashes do not compress.
ALTER TABLE strongroom.log_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

CREATE TABLE strongroom.log_checkpoints (
    tree_size   bigint PRIMARY KEY,
    note        text COLLATE "C" NOT NULL,
    created_at  timestamptz NOT NULL,
    anchored_at timestamptz
);
CREATE INDEX log_checkpoints_loose ON strongroom.log_checkpoints (tree_size)
    WHERE anchored_at IS NULL;

CREATE TABLE strongroom.log_tree (
    one     boolean PRIMARY KEY CHECK (one),
    size    bigint NOT NULL,
    settled bigint NOT NULL,
    wanted  bigint NOT NULL
);
INSERT INTO strongroom.log_tree VALUES (true, 0, 0, 0);

-- Months whose events are in a file and no more in audit_events (PCI-DSS 10.5.1).
CREATE TABLE strongroom.log_archives (
    month       date PRIMARY KEY CHECK (extract(day FROM month) = 1),
    first_leaf  bigint NOT NULL,
    last_leaf   bigint NOT NULL,
    events      bigint NOT NULL,
    sha256      bytea NOT NULL CHECK (length(sha256) = 32),
    archived_at timestamptz NOT NULL
);
"""

# PCI-DSS 10.3.2: what was sealed stays as it was, for the table's owner too.
_APPEND_ONLY = """
CREATE TRIGGER log_leaves_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON strongroom.log_leaves
    FOR EACH STATEMENT EXECUTE FUNCTION strongroom.refuse_change();
CREATE TRIGGER log_checkpoints_append_only
    BEFORE UPDATE OF tree_size, note, created_at OR DELETE OR TRUNCATE
    ON strongroom.log_checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION strongroom.refuse_change();
CREATE TRIGGER log_archives_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON strongroom.log_archives
    FOR EACH STATEMENT EXECUTE FUNCTION strongroom.refuse_change();
"""

# Asked by processes that see one tenant at a time, about the log as a whole.
_TAIL = """
CREATE FUNCTION strongroom.unsealed_since() RETURNS timestamptz
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT e.occurred_at FROM strongroom.audit_events AS e
    WHERE e.position > coalesce(
        (SELECT position FROM strongroom.log_leaves ORDER BY position DESC LIMIT 1), 0)
    ORDER BY e.position LIMIT 1
$$;
REVOKE EXECUTE ON FUNCTION strongroom.unsealed_since() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION strongroom.unsealed_since()
    TO strongroom_service, strongroom_sealer, strongroom_auditor;
"""

_GRANTS = """
GRANT SELECT ON strongroom.log_leaves, strongroom.log_tiles, strongroom.log_checkpoints,
    strongroom.log_tree, strongroom.log_archives
    TO strongroom_service, strongroom_sealer, strongroom_auditor;
GRANT UPDATE (wanted) ON strongroom.log_tree TO strongroom_service;
GRANT INSERT ON strongroom.log_leaves, strongroom.log_tiles, strongroom.log_checkpoints
    TO strongroom_sealer;
GRANT UPDATE (hashes) ON strongroom.log_tiles TO strongroom_sealer;
GRANT UPDATE (anchored_at) ON strongroom.log_checkpoints TO strongroom_sealer;
GRANT UPDATE (size, settled) ON strongroom.log_tree TO strongroom_sealer;
"""


def upgrade() -> None:
    """Create the tables and what each role may do with them (PCI-DSS 7.2.5, 10.3.2)."""
    op.execute(_TABLES)
    op.execute(_APPEND_ONLY)
    op.execute(_TAIL)
    op.execute(_GRANTS)


def downgrade() -> None:
    """Refused: checkpoints that were given out could never be met again."""
    raise NotImplementedError("downgrading would drop the transparency log")
