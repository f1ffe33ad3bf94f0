"""What every test may use: a PostgreSQL of its own, and no way out of this machine.

Nothing may ask the metadata address of the host for credentials, the service's processes
included: botocore is pointed at a stand-in that fails the run when anybody knocks.

The server is the one that ``strongroom dev`` starts, by the same launcher; each xdist
worker has one. ``STRONGROOM_PG_BINDIR`` chooses the PostgreSQL that is tested against.
"""

import itertools
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.soak import times
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.embedded.state import APP, MIGRATOR, SUPERUSER

# No deadline: what a machine that is busy does slowly is not wrong.
settings.register_profile("strongroom", max_examples=times(100, 5000), deadline=None)
settings.load_profile("strongroom")

# The fixtures server, serve and serve_module; authority, secured_postgres and production.
pytest_plugins = ("tests.fresh_services", "tests.secured")

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class DatabaseUrls:
    """The URLs of one database, by login role."""

    name: str
    app_url: str = field(repr=False)
    migrator_url: str = field(repr=False)
    superuser_url: str = field(repr=False)


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    """A test that would talk to the outside fails instead."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in _LOOPBACK:
            raise RuntimeError("tests may connect to this machine alone")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(scope="session", autouse=True)
def metadata_address() -> Iterator[list[object]]:
    """Who asked for the metadata address, which nobody may by the end of the run.

    The stand-in is named by the environment, which the processes of services inherit.
    """
    asked: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as stand_in:

        def take() -> None:
            while True:
                try:
                    connection, caller = stand_in.accept()
                except OSError:
                    return
                asked.append(caller)
                connection.close()

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        with pytest.MonkeyPatch.context() as patch:
            address = f"http://127.0.0.1:{stand_in.getsockname()[1]}"
            patch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
            yield asked
        stand_in.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert not asked, "something asked the host's metadata address for credentials"


@pytest.fixture(scope="session")
def pg_bindir() -> Path | None:
    """The PostgreSQL programs to test against; ``None`` for the first that is found."""
    named = os.environ.get("STRONGROOM_PG_BINDIR")
    return Path(named) if named else None


@pytest.fixture(scope="session")
def postgres(
    tmp_path_factory: pytest.TempPathFactory, pg_bindir: Path | None
) -> Iterator[EmbeddedPostgres]:
    """One running server for the whole session of this worker."""
    home = tmp_path_factory.mktemp("home")
    with EmbeddedPostgres.own(home, bindir=pg_bindir, shared_buffers="64MB") as server:
        yield server
    shutil.rmtree(home)


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[DatabaseUrls]:
    """A database without a schema, for this test alone."""
    name = f"empty_{next(_numbers)}"
    urls = postgres.create_database(name)
    yield DatabaseUrls(name, urls[APP], urls[MIGRATOR], urls[SUPERUSER])
    postgres.drop_database(name)
