"""What ``strongroom doctor`` asks the database about itself: no value, no key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.failures import translated
from vault_service.adapters.postgres.schema import ROLES, SEALER_ROLE, SERVICE_ROLE
from vault_service.domain.ports import Clock

_SETTINGS: Final = (
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "log_parameter_max_length",
    "log_parameter_max_length_on_error",
)
_AS_LOGIN: Final = sa.text("SET LOCAL ROLE NONE")
"""Who has taken on a role sees nothing of its login's connection."""
_AS_SERVICE: Final = sa.text(f"SET LOCAL ROLE {SERVICE_ROLE}")
_LOGIN: Final = sa.text(
    "SELECT session_user::text AS login, rolsuper AS superuser, rolbypassrls AS bypasses_fences,"
    " rolcreaterole OR rolcreatedb OR rolreplication AS administers,"
    " coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted,"
    " ARRAY(SELECT o.rolname::text FROM pg_roles AS o WHERE o.rolname = ANY(:roles)"
    " AND pg_has_role(session_user, o.oid, 'MEMBER') ORDER BY 1) AS acts_as"
    " FROM pg_roles WHERE rolname = session_user"
)
_SEALING_LOGIN: Final = str(_LOGIN).replace(":roles", "%s")
_SERVER: Final = sa.text(
    "SELECT current_setting('server_version_num')::int AS version,"
    " current_setting('server_version') AS version_text,"
    " to_regclass('strongroom.audit_events') IS NOT NULL AS has_schema,"
    " EXISTS (SELECT FROM pg_database AS d,"
    " aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a"
    " WHERE d.datname = current_database() AND a.grantee = 0) AS open_to_all"
)
_NOW: Final = sa.text("SELECT clock_timestamp()")
_READ_SETTINGS: Final = sa.text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)")
_UNFENCED: Final = sa.text(
    "SELECT c.relname FROM pg_class c WHERE c.relnamespace = to_regnamespace('strongroom')"
    " AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity AND EXISTS (SELECT FROM pg_attribute a"
    " WHERE a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped) ORDER BY 1"
)
_PARTS: Final = "pg_partition_tree(to_regclass('strongroom.audit_events')) AS part"
# pg_trigger.tgtype: 2 is BEFORE; 8, 16 and 32 are DELETE, UPDATE and TRUNCATE.
_APPEND_ONLY: Final = sa.text(
    "SELECT bool_and((SELECT coalesce(bit_or(tgtype), 0) & 56 = 56 FROM pg_trigger"
    " WHERE tgrelid = part.relid AND NOT tgisinternal AND tgenabled IN ('O', 'A')"
    f" AND tgtype & 2 = 2)) FROM {_PARTS}"
)
_MAY_CHANGE: Final = sa.text(
    "SELECT bool_or(has_table_privilege(part.relid, 'UPDATE, DELETE, TRUNCATE')"
    f" OR has_any_column_privilege(part.relid, 'UPDATE')) FROM {_PARTS}"
)
_NEWEST: Final = sa.text("SELECT max(occurred_at) FROM strongroom.audit_events")
_WRAPPERS: Final = sa.text(
    "SELECT wrapper, count(*) FROM strongroom.data_keys"
    " WHERE wrapped_by IS NULL AND state <> 'destroyed' GROUP BY wrapper"
)


@dataclass(frozen=True, slots=True)
class Login:
    """Who this process is at the database. ``acts_as``: the roles of the vault that it may
    take on; ``administers``: it may make roles or databases, or replicate."""

    login: str
    superuser: bool
    bypasses_fences: bool
    administers: bool
    encrypted: bool
    acts_as: Sequence[str]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database says. ``skew`` is its clock less this machine's, in seconds, to
    within ``uncertainty``. ``open_to_all``: every role may connect or make temporary
    tables. ``unfenced`` names tables of tenants without row-level security. What needs the
    schema is ``None`` or empty where there is none."""

    version: int
    version_text: str
    login: Login
    has_schema: bool
    open_to_all: bool
    skew: float
    uncertainty: float
    settings: dict[str, str]
    unfenced: tuple[str, ...] = ()
    append_only: bool = False
    may_change_audit: bool = False


async def inspect(database: Database, clock: Clock) -> Facts:
    """The facts, as the service's role sees them; ``database_unavailable`` where they
    cannot be had."""
    async with database.transaction() as connection:
        await connection.execute(_AS_LOGIN)
        row = (await connection.execute(_LOGIN, {"roles": list(ROLES)})).one()
        await connection.execute(_AS_SERVICE)
        found: dict[str, Any] = dict((await connection.execute(_SERVER)).one()._mapping)
        found["login"] = Login(*row)
        before = clock()
        now: datetime = (await connection.execute(_NOW)).scalar_one()
        after = clock()
        rows = await connection.execute(_READ_SETTINGS, {"names": list(_SETTINGS)})
        found["settings"] = {row[0]: row[1] for row in rows}
        if found["has_schema"]:
            found["unfenced"] = tuple((await connection.execute(_UNFENCED)).scalars())
            found["append_only"] = bool((await connection.execute(_APPEND_ONLY)).scalar_one())
            found["may_change_audit"] = bool((await connection.execute(_MAY_CHANGE)).scalar_one())
    half = (after - before) / 2
    return Facts(
        **found, skew=(now - before - half).total_seconds(), uncertainty=half.total_seconds()
    )


async def sealing_login(database: Database) -> Login:
    """The login that seals; ``database_unavailable`` where it cannot be had, ``internal``
    where it may not act as the sealer."""
    with translated():
        async with database.dedicated(SEALER_ROLE) as connection:
            await connection.execute("RESET ROLE")
            cursor = await connection.execute(_SEALING_LOGIN, (list(ROLES),))
            row = await cursor.fetchone()
    assert row is not None  # it is logged in
    return Login(*row)


async def newest_event(database: Database, tenants: Sequence[str]) -> datetime | None:
    """When the newest event of these tenants was recorded, ``None`` where there is none."""
    times: list[datetime] = []
    for tenant in tenants:
        async with database.transaction(tenant) as connection:
            at = (await connection.execute(_NEWEST)).scalar_one_or_none()
            times += [] if at is None else [at]
    return max(times, default=None)


async def wrapped_by(database: Database, tenants: Sequence[str]) -> dict[str, int]:
    """How many data keys of these tenants lie under which wrapping key, by reference."""
    counts: dict[str, int] = {}
    for tenant in tenants:
        async with database.transaction(tenant) as connection:
            for reference, count in await connection.execute(_WRAPPERS):
                counts[reference] = counts.get(reference, 0) + count
    return counts
