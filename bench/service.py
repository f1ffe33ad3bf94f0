"""The real service, two workers, on a fresh database of an embedded server."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.embedded.state import APP, MIGRATOR, SUPERUSER
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.bootstrap import open_services
from vault_service.settings import load

WORKERS = 2
SHARED_BUFFERS = "2GB"
"""About a tenth of the memory of the machine that the figures were first taken on."""


@dataclass(frozen=True)
class Database:
    """A fresh database, as the service's login and as a superuser; ``home`` is the folder of
    its server."""

    home: Path
    url: str
    superuser_url: str

    def vacuum(self) -> None:
        """Bring the database to rest between two measurements."""
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")


@dataclass
class Service:
    """A running service. ``environ`` is what it was started with, ``key`` an API key of
    ``load-tester``."""

    port: int
    database: Database
    environ: dict[str, str] = field(repr=False)
    key: str = field(repr=False)
    process: "subprocess.Popen[bytes]" = field(repr=False)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def issue_key(self, principal: str) -> str:
        """An API key of another principal."""
        return asyncio.run(_key(self.environ, principal))

    def stop(self) -> None:
        """Stop the service, if it still runs; the database stays."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(timeout=60)

    def empty(self) -> None:
        """Empty the token table: each round begins as the floor's does."""
        with psycopg.connect(self.database.superuser_url, autocommit=True) as connection:
            connection.execute("TRUNCATE strongroom.tokens CASCADE")


@contextlib.contextmanager
def databases(home: Path, *names: str) -> Iterator[list[Database]]:
    """A server below ``home`` with these databases in it, stopped at the end."""
    with EmbeddedPostgres.own(home, shared_buffers=SHARED_BUFFERS) as server:
        made = []
        for name in names:
            urls = server.create_database(name)
            upgrade(urls[MIGRATOR])
            made.append(Database(home, urls[APP], urls[SUPERUSER]))
        yield made


@contextlib.contextmanager
def database(home: Path, name: str) -> Iterator[Database]:
    """A server below ``home`` with one database in it, stopped at the end."""
    with databases(home, name) as (made,):
        yield made


@contextlib.contextmanager
def running(database: Database, module: str = "vault_service") -> Iterator[Service]:
    """Start the service on the database, stop it at the end. ``module`` is what is run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {
        **os.environ,
        "STRONGROOM_ENV": "test",
        "STRONGROOM_HOME": str(database.home),
        "STRONGROOM_DATABASE_URL": database.url,
        "STRONGROOM_PORT": str(port),
        "STRONGROOM_WORKERS": str(WORKERS),
    }
    key = asyncio.run(_key(environ, "load-tester"))
    process = subprocess.Popen(  # our own program
        [sys.executable, "-m", module, "serve"],
        env=environ,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=(database.home / f"service-{port}.log").open("wb"),
    )
    service = Service(port, database, environ, key, process)
    try:
        _wait(port, process)
        yield service
    finally:
        service.stop()


async def _key(environ: dict[str, str], principal: str) -> str:
    async with open_services(load(environ)) as services:
        issued = await services.api_keys.issue(principal, "bench")
        return issued.secret.reveal()


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError("the service ended; see its log")
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5),
        ):
            return
        time.sleep(0.2)
    raise RuntimeError("the service did not get ready")
