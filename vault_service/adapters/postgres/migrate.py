"""Brings a database to the schema of this release, and tells whether it is there.

The login that migrates is ``strongroom_migrator`` where ``strongroom db roles`` was run
before. Elsewhere it must be a superuser's, or own the database and have CREATEROLE, to make
what is missing; the service's own login needs neither.
"""

from importlib.resources import files

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from vault_service.adapters.postgres.access import driver_url
from vault_service.adapters.postgres.schema import OWNER_ROLE, ROLES, SCHEMA, SERVICE_ROLE

_TAKE_SERVICE_ROLE = (
    "SELECT set_config('role', rolname, false) FROM pg_roles"
    " WHERE rolname = :role AND pg_has_role(current_user, oid, 'MEMBER')"
)
_ALLOW_SCHEMAS = f"""
DO $$ BEGIN
    IF NOT has_database_privilege('{OWNER_ROLE}', current_database(), 'CREATE') THEN
        EXECUTE format('GRANT CREATE ON DATABASE %I TO {OWNER_ROLE}', current_database());
    END IF;
END $$
"""
_ADVISORY_LOCK = 0x5354524F4E47  # one migration at a time, over all hosts


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option(
        "script_location", str(files("vault_service.adapters.postgres") / "migrations")
    )
    config.attributes["connection"] = connection
    return config


def head_revision() -> str:
    """The newest migration of this release."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None  # the package always ships a migration
    return head


def current_revision(database_url: str) -> str | None:
    """The migration that the database stands at, ``None`` for an empty database."""
    engine = sa.create_engine(driver_url(database_url), poolclass=sa.NullPool, hide_parameters=True)
    with engine.connect() as connection:
        # The service's own login may have no rights before it takes its role.
        connection.execute(sa.text(_TAKE_SERVICE_ROLE), {"role": SERVICE_ROLE})
        context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
        return context.get_current_revision()


def upgrade(database_url: str) -> tuple[str | None, str]:
    """Create roles and schema where missing, run the migrations, and make the audit log's
    partitions of this month and the next three.

    Returns the revisions before and after.
    """
    engine = sa.create_engine(driver_url(database_url), poolclass=sa.NullPool, hide_parameters=True)
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        _ensure_roles(connection)
        connection.execute(sa.text(f"SET LOCAL ROLE {OWNER_ROLE}"))
        connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        before = MigrationContext.configure(
            connection, opts={"version_table_schema": SCHEMA}
        ).get_current_revision()
        command.upgrade(_config(connection), "head")
        # At each time, for a service that was away for months: it has no sealer to do this.
        connection.execute(sa.text("SELECT strongroom.ensure_audit_partitions()"))
    return before, head_revision()


def _ensure_roles(connection: sa.Connection) -> None:
    present = set(
        connection.execute(
            sa.text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:roles)"),
            {"roles": list(ROLES)},
        ).scalars()
    )
    for role in ROLES:
        if role not in present:
            connection.execute(sa.text(f"CREATE ROLE {role} NOLOGIN"))
    # Since PostgreSQL 16 who creates a role may administer it, but not act as it.
    version = connection.dialect.server_version_info or (0,)
    member = connection.execute(
        sa.text("SELECT pg_has_role(current_user, :role, :right)"),
        {"role": OWNER_ROLE, "right": "SET" if version >= (16,) else "MEMBER"},
    ).scalar_one()
    if not member:
        connection.execute(sa.text(f"GRANT {OWNER_ROLE} TO CURRENT_USER"))
    connection.execute(sa.text(_ALLOW_SCHEMAS))
