"""What each login may do and what it may not, tried over a connection of its own with TLS.

The logins are those of ``strongroom db roles``, on a database that ``strongroom_migrator``
migrated, as in production (PCI-DSS 7.2.5, 8.6, 10.3.2). ``test_database_roles`` has more of
what the roles behind them may not.
"""

import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import psycopg
import pytest
from psycopg import sql

from tests.secured import SecuredPostgres
from tests.serving import ROOT
from vault_service.adapters.postgres.embedded.state import SUPERUSER
from vault_service.adapters.postgres.roles import AUDIT, LOGINS, MIGRATOR, SEALING, SERVICE, Login
from vault_service.adapters.postgres.schema import (
    AUDITOR_ROLE,
    OWNER_ROLE,
    ROLES,
    SEALER_ROLE,
    SERVICE_ROLE,
)

DENIED: Final = psycopg.errors.InsufficientPrivilege
_EVENT: Final = (
    "INSERT INTO strongroom.audit_events (id, occurred_at, tenant, action, outcome,"
    " data_classes, terms, body) VALUES ('evt_{0}', now(), '{0}', 'x', 'ok', '{{}}', '{{}}', '')"
)
_TOKEN: Final = (
    "INSERT INTO strongroom.tokens (tenant, token, data_class, key_id, ciphertext, created_at)"
    " VALUES ('{0}', 'tok_{0}', 'pan', 1, '', now())"
)
_TREE: Final = ("log_leaves", "log_tiles", "log_checkpoints", "log_tree", "log_archives")
_SECRETS: Final = (
    "tokens",
    "token_subjects",
    "data_keys",
    "api_keys",
    "idempotency",
    "auth_failures",
    "budget_usage",
    "report_runs",
    "report_approvals",
)

_NOBODY: Final = (
    # More of itself, or another.
    "ALTER ROLE {login} SUPERUSER",
    "ALTER ROLE {login} BYPASSRLS",
    # Its own password is anybody's to change; with tokens of IAM there is none.
    f"ALTER ROLE {SUPERUSER} PASSWORD 'other'",
    "CREATE ROLE another",
    "SET SESSION AUTHORIZATION " + SUPERUSER,
    "SET ROLE " + SUPERUSER,
    "GRANT pg_read_all_data TO {login}",
    # A place of its own, or the machine beneath.
    "CREATE TEMPORARY TABLE copies (value text)",
    "CREATE TABLE public.copies (value text)",
    "CREATE DATABASE copies",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY (SELECT 1) TO '/tmp/copies'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT rolpassword FROM pg_authid",
    "ALTER SYSTEM SET log_statement = 'all'",
    "SET log_statement = 'all'",
    "SET session_replication_role = replica",
)
_CHANGES_TO_EVENTS: Final = (
    "UPDATE strongroom.audit_events SET outcome = 'ok'",
    "DELETE FROM strongroom.audit_events",
    "TRUNCATE strongroom.audit_events",
    "ALTER TABLE strongroom.audit_events DISABLE TRIGGER ALL",
    "DROP TABLE strongroom.audit_events",
)
_DEFINITIONS: Final = (
    "CREATE SCHEMA copies",
    "CREATE TABLE strongroom.copies (value text)",
    "CREATE FUNCTION strongroom.peek() RETURNS void LANGUAGE sql AS ''",
    "ALTER TABLE strongroom.tokens DISABLE ROW LEVEL SECURITY",
    "DROP POLICY tenant ON strongroom.tokens",
    "GRANT strongroom_service TO strongroom_audit",
)


@pytest.fixture(scope="module")
def rows(secured_postgres: SecuredPostgres) -> Iterator[SecuredPostgres]:
    """A token and an event of each of two tenants."""
    with secured_postgres.connect() as connection:
        for tenant in ("main", "other"):
            connection.execute(_TOKEN.format(tenant).encode())
            connection.execute(_EVENT.format(tenant).encode())
    yield secured_postgres
    with secured_postgres.connect() as connection:
        connection.execute(b"DELETE FROM strongroom.tokens WHERE ciphertext = ''")


def _as(
    server: SecuredPostgres, login: Login, role: str | None = None, tenant: str = "main"
) -> psycopg.Connection[tuple[object, ...]]:
    connection = server.connect(login.name)
    if role is not None:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    connection.execute("SELECT set_config('strongroom.tenant', %s, false)", (tenant,))
    return connection


def _refused(connection: psycopg.Connection[tuple[object, ...]], statement: str) -> bool:
    try:
        connection.execute(statement.encode())
    except DENIED:
        return True
    return False


def test_each_login_has_its_roles_and_none_by_itself(rows: SecuredPostgres) -> None:
    """``NOINHERIT``: whoever forgets the role is refused, not let in without a fence."""
    for login in LOGINS:
        with _as(rows, login) as connection:
            for role in ROLES:
                taken = not _refused(connection, f"SET ROLE {role}")
                assert taken == (role in login.member_of), (login.name, role)
                connection.execute(b"RESET ROLE")
            for table in (*_SECRETS, *_TREE, "audit_events"):
                assert _refused(connection, f"SELECT 1 FROM strongroom.{table}"), table


@pytest.mark.parametrize("login", LOGINS, ids=lambda login: login.name)
@pytest.mark.parametrize("statement", _NOBODY)
def test_what_no_login_may(rows: SecuredPostgres, login: Login, statement: str) -> None:
    for role in (None, *login.member_of):
        with _as(rows, login, role) as connection:
            assert _refused(connection, statement.format(login=login.name)), role


@pytest.mark.parametrize("login", [SERVICE, SEALING, AUDIT], ids=lambda login: login.name)
@pytest.mark.parametrize("statement", [*_CHANGES_TO_EVENTS, *_DEFINITIONS])
def test_what_only_the_owner_may(rows: SecuredPostgres, login: Login, statement: str) -> None:
    for role in login.member_of:
        with _as(rows, login, role) as connection:
            assert _refused(connection, statement), role


def test_the_service_works_within_one_tenant(rows: SecuredPostgres) -> None:
    with _as(rows, SERVICE, SERVICE_ROLE) as connection:
        for table in ("tokens", "audit_events"):
            query = f"SELECT DISTINCT tenant FROM strongroom.{table}"
            assert connection.execute(query.encode()).fetchall() == [("main",)]
        for statement in (_TOKEN, _EVENT):
            assert _refused(connection, statement.format("other")), "not for another tenant"
        connection.execute(_EVENT.format("main").replace("evt_main", "evt_own").encode())
        for table in ("log_leaves", "log_tiles", "log_checkpoints", "log_archives"):
            assert _refused(connection, f"DELETE FROM strongroom.{table}")
            assert _refused(connection, f"INSERT INTO strongroom.{table} DEFAULT VALUES")


def test_the_sealer_seals_and_reads_no_value(rows: SecuredPostgres) -> None:
    with _as(rows, SEALING, SEALER_ROLE) as connection:
        tenants = connection.execute(b"SELECT DISTINCT tenant FROM strongroom.audit_events")
        assert {"main", "other"} <= {row[0] for row in tenants.fetchall()}
        connection.execute(b"SELECT strongroom.ensure_audit_partitions()")
        with connection.transaction(force_rollback=True):
            connection.execute(b"INSERT INTO strongroom.log_leaves VALUES (999999, 999999, now())")
            connection.execute(b"UPDATE strongroom.log_tree SET size = size + 1")
        assert _refused(connection, _EVENT.format("main"))
        for table in _SECRETS:
            assert _refused(connection, f"SELECT 1 FROM strongroom.{table}"), table
        for table in ("log_leaves", "log_checkpoints", "log_archives"):
            assert _refused(connection, f"DELETE FROM strongroom.{table}"), table
        assert _refused(connection, "UPDATE strongroom.log_checkpoints SET note = ''")


def test_an_auditor_reads_events_and_writes_nothing(rows: SecuredPostgres) -> None:
    with _as(rows, AUDIT, AUDITOR_ROLE) as connection:
        tenants = connection.execute(b"SELECT DISTINCT tenant FROM strongroom.audit_events")
        assert {"main", "other"} <= {row[0] for row in tenants.fetchall()}
        for table in _TREE:
            connection.execute(f"SELECT 1 FROM strongroom.{table}".encode())
        for table in _SECRETS:
            assert _refused(connection, f"SELECT 1 FROM strongroom.{table}"), table
        for table in (*_SECRETS, *_TREE, "audit_events"):
            assert _refused(connection, f"INSERT INTO strongroom.{table} DEFAULT VALUES"), table
            assert _refused(connection, f"DELETE FROM strongroom.{table}"), table
        assert _refused(connection, "SELECT nextval('strongroom.audit_positions')")


def test_the_migrator_changes_the_schema_and_not_what_was_recorded(rows: SecuredPostgres) -> None:
    """The owner could take the triggers away, on record in the server's log; short of that,
    events stay as they are, and no tenant's rows are seen."""
    with _as(rows, MIGRATOR, OWNER_ROLE) as connection:
        with connection.transaction(force_rollback=True):
            connection.execute(b"CREATE TABLE strongroom.copies (value text)")
            connection.execute(b"ALTER TABLE strongroom.tokens ADD COLUMN more text")
        for statement in _CHANGES_TO_EVENTS[:3]:
            assert _refused(connection, statement), statement
        assert connection.execute(b"SELECT count(*) FROM strongroom.tokens").fetchall() == [(0,)]


def test_nobody_else_may_connect(rows: SecuredPostgres) -> None:
    with rows.connect() as connection:
        connection.execute(b"DROP ROLE IF EXISTS stranger")
        connection.execute(b"CREATE ROLE stranger LOGIN")
    rows.set_password("stranger", "s1-" + rows.passwords[SERVICE.name])
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        rows.connect("stranger")


def test_the_script_is_harmless_where_it_ran_before(rows: SecuredPostgres) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "vault_service", "db", "roles"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    with rows.connect() as connection:
        connection.execute(printed)
        connection.execute(printed)
        found = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND (rolsuper OR rolcreaterole"
            " OR rolcreatedb OR rolreplication OR rolbypassrls OR rolinherit)",
            ([login.name for login in LOGINS],),
        ).fetchall()
    assert found == []


def test_the_script_for_rds_is_kept_as_it_is_printed(rows: SecuredPostgres) -> None:
    kept = ROOT / "infra" / "sql" / "roles.sql"
    printed = subprocess.run(
        [sys.executable, "-m", "vault_service", "db", "roles", "--iam"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    assert kept.read_bytes() == printed, "run: strongroom db roles --iam > infra/sql/roles.sql"
    with rows.connect() as connection:
        # The role that RDS brings along.
        connection.execute(b"CREATE ROLE rds_iam NOLOGIN")
        try:
            connection.execute(printed)
            members = connection.execute(
                b"SELECT count(*) FROM pg_auth_members WHERE roleid = 'rds_iam'::regrole"
            ).fetchall()
            assert members == [(len(LOGINS),)]
        finally:
            connection.execute(b"DROP ROLE rds_iam")
