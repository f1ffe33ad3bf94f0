"""The embedded server as it runs: no open door, no value in its log, no right too many."""

import json
import secrets
from pathlib import Path

import psycopg
import pytest

from tests.integration.embedded_homes import one
from vault_service.adapters.postgres.embedded import process
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.migrate import upgrade


@pytest.mark.parametrize("password", ["", "wrong"])
@pytest.mark.parametrize("role", ["strongroom_superuser", "strongroom_app", "postgres"])
def test_no_connection_without_the_password(
    postgres: EmbeddedPostgres, role: str, password: str
) -> None:
    # PCI-DSS 8.3.1: every account needs an authentication factor.
    port = json.loads((postgres.home / "postgres.json").read_text())["port"]
    conninfo = f"host=127.0.0.1 port={port} user={role} dbname=postgres"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(conninfo, password=password, passfile="/dev/null")


def test_listens_on_loopback_alone_and_has_no_socket(postgres: EmbeddedPostgres) -> None:
    assert one(postgres.superuser_url, "SHOW listen_addresses") == "127.0.0.1"
    assert one(postgres.superuser_url, "SHOW unix_socket_directories") == ""
    rules = "SELECT string_agg(DISTINCT type || ' ' || auth_method, ', ') FROM pg_hba_file_rules"
    assert one(postgres.superuser_url, rules) == "host scram-sha-256, local reject"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("log_statement", "none"),
        ("log_parameter_max_length", "0"),
        ("log_parameter_max_length_on_error", "0"),
        ("log_error_verbosity", "terse"),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
    ],
)
def test_setting(postgres: EmbeddedPostgres, setting: str, value: str) -> None:
    assert one(postgres.superuser_url, f"SHOW {setting}") == value


def test_server_process_has_no_environment_of_ours(postgres: EmbeddedPostgres) -> None:
    pid = process.running(postgres.home / "postgres")
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    names = {entry.split(b"=")[0] for entry in environment if b"=" in entry}
    # PostgreSQL itself adds PG* and LC_* names.
    assert {name for name in names if not name.startswith((b"PG", b"LC_", b"OLDPWD", b"PWD"))} <= {
        b"PATH",
        b"TZ",
    }


def test_errors_leave_no_value_in_the_server_log(postgres: EmbeddedPostgres) -> None:
    # OWASP ASVS 5 16.2.5. Each way in which PostgreSQL would quote a value by default.
    canary = "canary" + secrets.token_hex(12)
    statements: list[tuple[str, list[str]]] = [
        ("INSERT INTO log_canary VALUES (%s), (%s)", [canary, canary]),
        ("SELECT %s::int", [canary]),
        ("SELECT %s::timestamptz", [canary]),
        (f"SELECT '{canary}'::int", []),
        (
            "DO $$ BEGIN RAISE WARNING '" + canary + "'; RAISE EXCEPTION '" + canary + "'; END $$",
            [],
        ),
    ]
    with psycopg.connect(postgres.superuser_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE log_canary (value text PRIMARY KEY)")
        for statement, parameters in statements:
            with pytest.raises(psycopg.Error) as raised:
                connection.execute(statement, parameters)
            assert canary in str(raised.value)  # the driver has it, so the server had it
        connection.execute("DROP TABLE log_canary")
    assert canary not in (postgres.home / "postgres.log").read_text()


def test_service_login_has_no_right_before_it_takes_its_role(
    postgres: EmbeddedPostgres,
) -> None:
    # PCI-DSS 7.2.5: system accounts have least privilege.
    urls = postgres.create_database("roles")
    try:
        upgrade(urls["strongroom_migrator"])
        with psycopg.connect(urls["strongroom_app"], autocommit=True) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT 1 FROM strongroom.tokens")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SET ROLE strongroom_owner")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("CREATE TABLE public.other ()")
            for role in ("strongroom_service", "strongroom_sealer", "strongroom_auditor"):
                connection.execute(f"SET ROLE {role}")
                connection.execute("RESET ROLE")
    finally:
        postgres.drop_database("roles")
