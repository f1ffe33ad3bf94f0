"""The tables, as SQLAlchemy Core, but for those of reports (``report_tables``).
``migrations/`` builds them; a test holds both equal.

Every table with a ``tenant`` column is fenced by row-level security on the setting
``strongroom.tenant``. Nothing here can hold a plaintext value or an unwrapped key
(PCI-DSS 3.5.1). Strings are compared bytewise (collation ``C``), so that index order
does not depend on the operating system's locale data.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB, TEXT, ExcludeConstraint

from vault_service.adapters.postgres.columns import text as _text
from vault_service.adapters.postgres.columns import time as _time

SCHEMA = "strongroom"
SERVICE_ROLE = "strongroom_service"
OWNER_ROLE = "strongroom_owner"
SEALER_ROLE = "strongroom_sealer"
AUDITOR_ROLE = "strongroom_auditor"
ROLES = (OWNER_ROLE, SERVICE_ROLE, SEALER_ROLE, AUDITOR_ROLE)
TENANT_SETTING = "strongroom.tenant"

metadata = sa.MetaData(schema=SCHEMA)


data_key_ids = sa.Sequence("data_key_ids", schema=SCHEMA, metadata=metadata)

data_keys = sa.Table(
    "data_keys",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    _text("tenant"),
    _text("data_class"),
    _text("purpose"),
    sa.Column("epoch", sa.Integer, nullable=False),
    _text("state"),
    sa.Column("wrapped", BYTEA, nullable=False),
    _text("wrapper"),
    sa.Column("wrapped_by", sa.BigInteger, sa.ForeignKey(f"{SCHEMA}.data_keys.id")),
    sa.Column("uses", sa.BigInteger, nullable=False),
    _time("created_at"),
    sa.UniqueConstraint("tenant", "data_class", "purpose", "epoch", name="data_keys_epoch"),
    sa.Index(
        "data_keys_one_active",
        "tenant",
        "data_class",
        "purpose",
        unique=True,
        postgresql_where=sa.text("state = 'active' AND purpose <> 'record'"),
    ),
)

tokens = sa.Table(
    "tokens",
    metadata,
    _text("token", primary_key=True),
    _text("tenant", primary_key=True),
    _text("data_class"),
    sa.Column("key_id", sa.BigInteger, nullable=False),
    sa.Column("ciphertext", BYTEA, nullable=False),
    sa.Column("blind_index", BYTEA),
    sa.Column("index_key_id", sa.BigInteger),
    sa.Column("tags", JSONB),
    _text("subject", nullable=True),
    _time("created_at"),
    _time("expires_at", nullable=True),
    ExcludeConstraint(("blind_index", "="), using="hash", name="tokens_blind_index"),
    sa.Index(
        "tokens_subject", "tenant", "subject", postgresql_where=sa.text("subject IS NOT NULL")
    ),
)

token_subjects = sa.Table(
    "token_subjects",
    metadata,
    _text("token", primary_key=True),
    _text("tenant", primary_key=True),
    _text("subject", primary_key=True),
    sa.ForeignKeyConstraint(
        ["token", "tenant"],
        [f"{SCHEMA}.tokens.token", f"{SCHEMA}.tokens.tenant"],
        ondelete="CASCADE",
        name="token_subjects_token",
    ),
    sa.Index("token_subjects_subject", "tenant", "subject"),
)

# Not the column's default to SQLAlchemy: it would draw the number and send it, which the
# service may not.
audit_positions = sa.Sequence("audit_positions", schema=SCHEMA, metadata=metadata)

audit_events = sa.Table(
    "audit_events",
    metadata,
    sa.Column(
        "position",
        sa.BigInteger,
        primary_key=True,
        autoincrement=True,
        server_default=audit_positions.next_value(),
    ),
    _text("id"),
    _time("occurred_at", primary_key=True),
    _text("tenant"),
    _text("principal", nullable=True),
    _text("action"),
    _text("outcome"),
    _text("purpose", nullable=True),
    sa.Column("data_classes", ARRAY(TEXT(collation="C")), nullable=False),
    sa.Column("terms", ARRAY(sa.Integer), nullable=False),
    sa.Column("body", BYTEA, nullable=False),
    sa.UniqueConstraint("id", "occurred_at", name="audit_events_id"),
    sa.Index("audit_events_principal", "tenant", "principal", "position"),
    # One partition a month, and a default one; see migrations/0001.
    postgresql_partition_by="RANGE (occurred_at)",
)

# What finds events by token and subject; see migrations/0004. The owner's alone.
event_segments = sa.Table(
    "event_segments",
    metadata,
    sa.Column("last_position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("after_position", sa.BigInteger, nullable=False),
    sa.Column("merged", sa.Boolean, nullable=False),
    sa.Column("shift", sa.Integer, nullable=False),
    sa.Column("terms", sa.BigInteger, nullable=False),
    _time("first_at"),
    _time("last_at"),
)
event_postings = sa.Table(
    "event_postings",
    metadata,
    sa.Column("last_position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("postings", ARRAY(sa.BigInteger), nullable=False),
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    _text("tenant", primary_key=True),
    _text("principal", primary_key=True),
    _text("key", primary_key=True),
    sa.Column("request_digest", BYTEA, nullable=False),
    sa.Column("answer", BYTEA),
    _time("lease_until"),
    _time("created_at"),
)

budget_usage = sa.Table(
    "budget_usage",
    metadata,
    _text("tenant", primary_key=True),
    _text("principal", primary_key=True),
    _text("purpose", primary_key=True),
    _text("kind", primary_key=True),
    _time("window_start", primary_key=True),
    sa.Column("used", sa.BigInteger, nullable=False),
)

budget_subjects = sa.Table(
    "budget_subjects",
    metadata,
    _text("tenant", primary_key=True),
    _text("principal", primary_key=True),
    _text("purpose", primary_key=True),
    _text("kind", primary_key=True),
    _time("window_start", primary_key=True),
    _text("subject", primary_key=True),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    _text("id", primary_key=True),
    _text("principal"),
    sa.Column("key_hash", BYTEA, nullable=False, unique=True),
    _time("created_at"),
    _time("expires_at"),
    _time("revoked_at", nullable=True),
    _time("last_used_at", nullable=True),
    sa.Index("api_keys_principal", "principal"),
)

auth_failures = sa.Table(
    "auth_failures",
    metadata,
    _text("source", primary_key=True),
    _time("window_start", primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
)

log_leaves = sa.Table(
    "log_leaves",
    metadata,
    sa.Column("leaf_index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    _time("occurred_at"),
    sa.UniqueConstraint("position", name="log_leaves_position"),
    sa.Index("log_leaves_occurred", "occurred_at", postgresql_using="brin"),
)

log_tiles = sa.Table(
    "log_tiles",
    metadata,
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("tile_index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hashes", BYTEA, nullable=False),
)

log_checkpoints = sa.Table(
    "log_checkpoints",
    metadata,
    sa.Column("tree_size", sa.BigInteger, primary_key=True, autoincrement=False),
    _text("note"),
    _time("created_at"),
    _time("anchored_at", nullable=True),
    sa.Index("log_checkpoints_loose", "tree_size", postgresql_where=sa.text("anchored_at IS NULL")),
)

log_tree = sa.Table(
    "log_tree",
    metadata,
    sa.Column("one", sa.Boolean, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("settled", sa.BigInteger, nullable=False),
    sa.Column("wanted", sa.BigInteger, nullable=False),
)

log_archives = sa.Table(
    "log_archives",
    metadata,
    sa.Column("month", sa.Date, primary_key=True),
    sa.Column("first_leaf", sa.BigInteger, nullable=False),
    sa.Column("last_leaf", sa.BigInteger, nullable=False),
    sa.Column("events", sa.BigInteger, nullable=False),
    sa.Column("sha256", BYTEA, nullable=False),
    _time("archived_at"),
)
