"""What each database role may not do, tried as that role (PCI-DSS 7.2.5, 10.3.2).

The service logs in as ``strongroom_app``, which can do nothing until it takes on
``strongroom_service``. The sealer and the auditor read events and nothing else.
"""

from typing import Final

import psycopg
import pytest

from tests.serving import Serve, Server
from tests.synthetic import cards
from vault_service.adapters.postgres.embedded.state import SUPERUSER
from vault_service.adapters.postgres.schema import AUDITOR_ROLE, SEALER_ROLE, SERVICE_ROLE

DENIED: Final = psycopg.errors.InsufficientPrivilege
_TABLES: Final = (
    "data_keys",
    "tokens",
    "token_subjects",
    "audit_events",
    "idempotency",
    "budget_usage",
    "budget_subjects",
    "api_keys",
    "auth_failures",
)
_LOG_TABLES: Final = ("log_leaves", "log_tiles", "log_checkpoints", "log_tree", "log_archives")
_INDEX_TABLES: Final = ("event_segments", "event_postings")

_NOT_THE_SERVICE: Final = (
    # The audit log only grows.
    "UPDATE strongroom.audit_events SET outcome = 'ok'",
    "DELETE FROM strongroom.audit_events",
    "TRUNCATE strongroom.audit_events",
    "ALTER TABLE strongroom.audit_events DISABLE TRIGGER ALL",
    "UPDATE strongroom.audit_events_default SET outcome = 'ok'",
    "DELETE FROM strongroom.audit_events_default",
    "TRUNCATE strongroom.audit_events_default",
    "SELECT body FROM strongroom.audit_events_default",
    "ALTER TABLE strongroom.audit_events DETACH PARTITION strongroom.audit_events_default",
    "SELECT strongroom.add_audit_partition('2020-01-01')",
    # In an order that nobody chooses.
    "INSERT INTO strongroom.audit_events (position, id, occurred_at, tenant, action, outcome,"
    " data_classes, terms, body) VALUES (1, 'evt', now(), 'main', 'x', 'ok', '{}', '{}', '')",
    "UPDATE strongroom.audit_events SET position = 1",
    "SELECT setval('strongroom.audit_positions', 1)",
    "DROP TRIGGER audit_events_append_only ON strongroom.audit_events",
    "SET session_replication_role = replica",
    "CREATE OR REPLACE FUNCTION strongroom.refuse_change() RETURNS trigger"
    " LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    # So does what was sealed, and nobody calls archived what was not.
    "INSERT INTO strongroom.log_leaves VALUES (0, 0, now())",
    "DELETE FROM strongroom.log_leaves",
    "INSERT INTO strongroom.log_archives"
    " VALUES ('2020-01-01', 0, 1, 2, decode(repeat('00', 32), 'hex'), now())",
    "UPDATE strongroom.log_archives SET last_leaf = 9",
    "DELETE FROM strongroom.log_archives",
    # The index is of all tenants: it is asked, and extended, through functions alone.
    "SELECT * FROM strongroom.event_segments",
    "SELECT * FROM strongroom.event_postings",
    "DELETE FROM strongroom.event_postings",
    "INSERT INTO strongroom.event_segments VALUES (9, 0, true, 32, 0, now(), now())",
    "SELECT strongroom.merge_event_segments(1)",
    "SELECT strongroom.settled_position()",
    # What a record is, and whose, is settled when it is stored.
    "UPDATE strongroom.tokens SET ciphertext = ''",
    "UPDATE strongroom.tokens SET tags = NULL",
    "UPDATE strongroom.tokens SET data_class = 'email'",
    "UPDATE strongroom.tokens SET tenant = 'other'",
    "UPDATE strongroom.tokens SET token = 'x'",
    "UPDATE strongroom.tokens SET key_id = 1",
    "UPDATE strongroom.tokens SET blind_index = NULL",
    "TRUNCATE strongroom.tokens CASCADE",
    # So is a key; a credential can end, and not change hands.
    "UPDATE strongroom.data_keys SET wrapped = ''",
    "UPDATE strongroom.data_keys SET tenant = 'other'",
    "DELETE FROM strongroom.data_keys",
    "UPDATE strongroom.api_keys SET key_hash = ''",
    "UPDATE strongroom.api_keys SET principal = 'auditor'",
    "DELETE FROM strongroom.api_keys",
    # The fences are the owner's.
    "ALTER TABLE strongroom.tokens DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE strongroom.tokens NO FORCE ROW LEVEL SECURITY",
    "DROP POLICY tenant ON strongroom.tokens",
    "CREATE POLICY all_of_it ON strongroom.tokens USING (true)",
    "ALTER ROLE strongroom_app SUPERUSER",
    "ALTER ROLE strongroom_service BYPASSRLS",
    "GRANT strongroom_owner TO strongroom_app",
    "SET ROLE strongroom_owner",
    "SET ROLE strongroom_migrator",
    f"SET SESSION AUTHORIZATION {SUPERUSER}",
    # No way to keep something beside the schema, and none to the machine beneath.
    "CREATE TABLE strongroom.copies (value text)",
    "CREATE TABLE public.copies (value text)",
    "CREATE TEMPORARY TABLE copies (value text)",
    "CREATE SCHEMA copies",
    "CREATE FUNCTION strongroom.peek() RETURNS void LANGUAGE sql AS ''",
    "DROP TABLE strongroom.tokens",
    "COPY strongroom.tokens TO PROGRAM 'cat'",
    "COPY strongroom.tokens TO '/tmp/tokens'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_ls_dir('.')",
    "SELECT rolpassword FROM pg_authid",
    "ALTER SYSTEM SET log_statement = 'all'",
    "SET log_statement = 'all'",
    "SET log_min_duration_statement = 0",
)


@pytest.fixture(scope="module")
def vault(serve_module: Serve) -> Server:
    """A service with a row of each of two tenants."""
    server = serve_module()
    one, other = cards(2, seed=99)
    server.caller("load-tester").tokenize("pan", [one], subject="cus_1")
    server.caller("other-merchant").tokenize("pan", [other])
    return server


def _as(vault: Server, role: str | None, tenant: str | None = None) -> psycopg.Connection[object]:
    connection = psycopg.connect(vault.app_url, autocommit=True)
    if role is not None:
        connection.execute("SELECT set_config('role', %s, false)", (role,))
    if tenant is not None:
        connection.execute("SELECT set_config('strongroom.tenant', %s, false)", (tenant,))
    return connection


@pytest.mark.parametrize("statement", _NOT_THE_SERVICE)
def test_what_the_service_may_not_do(vault: Server, statement: str) -> None:
    with _as(vault, SERVICE_ROLE, "main") as connection, pytest.raises(DENIED):
        connection.execute(statement.encode())


@pytest.mark.parametrize("table", [*_TABLES, *_LOG_TABLES, *_INDEX_TABLES])
def test_the_login_alone_may_nothing(vault: Server, table: str) -> None:
    """``NOINHERIT``: whoever forgets the role is refused, not let in without a fence."""
    with _as(vault, None, "main") as connection, pytest.raises(DENIED):
        connection.execute(f"SELECT count(*) FROM strongroom.{table}".encode())


@pytest.mark.parametrize("role", [SEALER_ROLE, AUDITOR_ROLE])
@pytest.mark.parametrize("table", [n for n in (*_TABLES, *_INDEX_TABLES) if n != "audit_events"])
def test_readers_of_events_read_nothing_else(vault: Server, role: str, table: str) -> None:
    with _as(vault, role, "main") as connection, pytest.raises(DENIED):
        connection.execute(f"SELECT count(*) FROM strongroom.{table}".encode())


@pytest.mark.parametrize("role", [SEALER_ROLE, AUDITOR_ROLE])
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO strongroom.audit_events SELECT * FROM strongroom.audit_events",
        "UPDATE strongroom.audit_events SET outcome = 'ok'",
        "DELETE FROM strongroom.audit_events",
        "TRUNCATE strongroom.audit_events",
        "SELECT strongroom.find_events(ARRAY[1], 9, 9)",
        "SELECT strongroom.index_events(1, 1)",
        "SET ROLE strongroom_owner",
        "CREATE TABLE strongroom.copies (value text)",
        "SELECT nextval('strongroom.data_key_ids')",
        "SELECT nextval('strongroom.audit_positions')",
        "DELETE FROM strongroom.audit_events_default",
        "DELETE FROM strongroom.log_leaves",
        "INSERT INTO strongroom.log_archives"
        " VALUES ('2020-01-01', 0, 1, 2, decode(repeat('00', 32), 'hex'), now())",
        "DELETE FROM strongroom.log_archives",
        "SELECT body FROM strongroom.audit_events_default",
    ],
)
def test_readers_of_events_change_nothing(vault: Server, role: str, statement: str) -> None:
    with _as(vault, role) as connection, pytest.raises(DENIED):
        connection.execute(statement.encode())


@pytest.mark.parametrize("role", [SEALER_ROLE, AUDITOR_ROLE])
def test_readers_of_events_read_all_of_them(vault: Server, role: str) -> None:
    with _as(vault, role) as connection:
        found = connection.execute("SELECT DISTINCT tenant FROM strongroom.audit_events")
        assert {"main", "other"} <= {row[0] for row in found.fetchall()}  # type: ignore[index]


@pytest.mark.parametrize("table", ["tokens", "data_keys", "audit_events"])
def test_a_tenant_sees_its_own_rows(vault: Server, table: str) -> None:
    """Row-level security, the second fence: by the setting alone, without a condition."""
    query = f"SELECT DISTINCT tenant FROM strongroom.{table}".encode()
    for tenant, seen in (("main", {"main"}), ("other", {"other"}), ("none", set()), (None, set())):
        with _as(vault, SERVICE_ROLE, tenant) as connection:
            rows = connection.execute(query).fetchall()
            assert {row[0] for row in rows} == seen  # type: ignore[index]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO strongroom.tokens (tenant, token, data_class, key_id, ciphertext, created_at)"
        " VALUES ('other', 'tok', 'pan', 1, '', now())",
        "INSERT INTO strongroom.audit_events (id, occurred_at, tenant, action, outcome,"
        " data_classes, terms, body) VALUES ('evt', now(), 'other', 'x', 'ok', '{}', '{}', '')",
        "INSERT INTO strongroom.data_keys (id, tenant, data_class, purpose, epoch, state, wrapped,"
        " wrapper, uses, created_at) VALUES (0, 'other', 'pan', 'record', 9, 'active', '', '', 0,"
        " now())",
    ],
)
def test_a_tenant_writes_its_own_rows(vault: Server, statement: str) -> None:
    with _as(vault, SERVICE_ROLE, "main") as connection:
        with pytest.raises(DENIED):
            connection.execute(statement.encode())
        deleted = connection.execute("DELETE FROM strongroom.tokens WHERE tenant = 'other'")
        assert deleted.rowcount == 0


def test_the_migrator_does_not_serve_values(vault: Server) -> None:
    """The owner of the tables is fenced too: it sees no tenant's rows."""
    with _as(vault, None) as connection:
        owners = connection.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'strongroom'"
        ).fetchall()
        forced = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'strongroom'::regnamespace"
            " AND relrowsecurity AND relforcerowsecurity"
        ).fetchall()
    assert len(owners) == 1
    assert {"tokens", "data_keys", "idempotency"} <= {row[0] for row in forced}  # type: ignore[index]
