"""The database's roles and logins: who there is, and what makes them.

Rights belong to four roles without login, and are granted by the migrations, next to the
tables they are on. Logins hold none: each is a member of the roles it needs, and takes one on
(``NOINHERIT``), so that whoever forgets to is refused instead of let in (PCI-DSS 7.2.5).

This is the one place that says so. ``strongroom db roles`` prints it; ``infra/sql/roles.sql``
is what it prints for RDS, for review, and a test holds both equal.
"""

from typing import Final, NamedTuple

from vault_service.adapters.postgres.schema import (
    AUDITOR_ROLE,
    OWNER_ROLE,
    ROLES,
    SEALER_ROLE,
    SERVICE_ROLE,
)

_RDS_IAM: Final = "rds_iam"
"""The role of RDS whose members log in with a token of IAM instead of a password."""


class Login(NamedTuple):
    """A role that may log in. ``member_of``: what it may act as; ``use`` is for people."""

    name: str
    member_of: tuple[str, ...]
    use: str


MIGRATOR: Final = Login(
    "strongroom_migrator",
    (OWNER_ROLE, SERVICE_ROLE, SEALER_ROLE, AUDITOR_ROLE),
    "strongroom db upgrade, strongroom audit archive",
)
SERVICE: Final = Login("strongroom_app", (SERVICE_ROLE,), "STRONGROOM_DATABASE_URL of the service")
SEALING: Final = Login(
    "strongroom_seal",
    (SEALER_ROLE, AUDITOR_ROLE),
    "STRONGROOM_SEALER_DATABASE_URL of the service",
)
AUDIT: Final = Login("strongroom_audit", (AUDITOR_ROLE,), "auditors, with psql")
LOGINS: Final = (MIGRATOR, SERVICE, SEALING, AUDIT)

_HEAD: Final = """\
-- Roles and logins of Strongroom, made by: strongroom db roles{option}
-- To be run once in the vault's own database, before the first `strongroom db upgrade`, by a
-- superuser or by the owner of the database with CREATEROLE (on RDS: the master user). Harmless
-- where it ran before. What a role may do with which table is granted by the migrations.
BEGIN;
"""
_CREATED: Final = """\
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
        CREATE ROLE {role} {options};
    END IF;
END $$;"""
_CLOSED: Final = """
-- Every role may connect, make temporary tables and use the schema public, until that is
-- taken away.
DO $$ BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO {logins}', current_database());
    EXECUTE format('GRANT CREATE ON DATABASE %I TO {owner}', current_database());
END $$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
COMMIT;
"""
_PASSWORDS: Final = """
-- No password is set here. In psql, which sends a verifier in its place:
"""


def script(*, iam: bool) -> str:
    """SQL that makes the roles and logins, and closes the database to all others. ``iam``:
    logins show tokens of RDS; else they have passwords, which are not set here."""
    logins = ", ".join(login.name for login in LOGINS)
    parts = [_HEAD.format(option=" --iam" if iam else "")]
    parts += [_CREATED.format(role=role, options="NOLOGIN") for role in ROLES]
    for login in LOGINS:
        parts.append(f"\n-- {login.use}")
        parts.append(_CREATED.format(role=login.name, options="LOGIN NOINHERIT"))
        parts.append(f"GRANT {', '.join(login.member_of)} TO {login.name};")
    if iam:
        parts.append(f"\nGRANT {_RDS_IAM} TO {logins};")
    parts.append(_CLOSED.format(logins=logins, owner=OWNER_ROLE))
    text = "\n".join(parts)
    if not iam:
        text += _PASSWORDS + "".join(f"--   \\password {login.name}\n" for login in LOGINS)
    return text
