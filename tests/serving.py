"""The real service for tests: its own processes, its own database, its own home.

Tests get theirs from the fixtures of ``fresh_services.py``::

    def test_something(serve: Serve) -> None:
        server = serve(workers=2, environment={"STRONGROOM_...": "..."})
        checkout = server.caller("checkout")
        answer = checkout.post("/v1/tokenize", {"items": [...]})
        server.kill()        # SIGKILL to every process of it
        server.start()       # the same database, home and port again

What runs is ``strongroom serve`` itself. Its standard output and error go to files.
"""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import httpx2
import psycopg

from tests.calling import Caller
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.embedded.state import free_port
from vault_service.bootstrap import open_services
from vault_service.settings import load

ROOT: Final = Path(__file__).parents[1]
START_SECONDS: Final = 120.0
SERVICE: Final = "from vault_service.cli.service import serve; serve()"
T = TypeVar("T")
C = TypeVar("C", bound="Closed")


class Closed(Protocol):
    """Something to be closed with the server."""

    def close(self) -> None: ...


@dataclass
class Server:
    """A service on a database of its own. ``start`` it first; see the module's text."""

    postgres: EmbeddedPostgres
    database: str
    directory: Path
    app_url: str = field(repr=False)
    superuser_url: str = field(repr=False)
    workers: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    program: str = SERVICE
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    _keys: dict[str, str] = field(default_factory=dict, repr=False)
    _callers: list[Closed] = field(default_factory=list, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def home(self) -> Path:
        """The service's ``STRONGROOM_HOME``: the local root key lies here."""
        return self.directory / "home"

    @property
    def stdout(self) -> Path:
        """What all starts of this server wrote to standard output."""
        return self.directory / "stdout.log"

    @property
    def stderr(self) -> Path:
        return self.directory / "stderr.log"

    def settings(self) -> dict[str, str]:
        """The environment of the service, this process's own ``STRONGROOM_*`` left out."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("STRONGROOM_")}
        return {
            **inherited,
            "STRONGROOM_ENV": "test",
            "STRONGROOM_HOME": str(self.home),
            "STRONGROOM_DATABASE_URL": self.app_url,
            "STRONGROOM_POLICY_DIR": str(ROOT / "policies"),
            "STRONGROOM_PORT": str(self.port),
            "STRONGROOM_WORKERS": str(self.workers),
            **self.environment,
        }

    def start(self, ready: str = "/readyz") -> "Server":
        """Start the processes and wait until ``ready`` answers 200."""
        assert self.process is None, "the server runs already"
        self.home.mkdir(mode=0o700, exist_ok=True)
        with self.stdout.open("ab") as stdout, self.stderr.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-c", self.program],
                cwd=ROOT,
                env=self.settings(),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self.wait(ready)
        return self

    def wait(self, path: str = "/readyz", status: int = 200) -> None:
        """Wait until ``path`` answers with ``status``."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                raise AssertionError(f"the server ended:\n{self.stderr.read_text()[-4000:]}")
            with contextlib.suppress(httpx2.TransportError):
                if httpx2.get(self.url + path, timeout=10.0).status_code == status:
                    return
            time.sleep(0.05)
        raise AssertionError(f"no {status} from {path}:\n{self.stderr.read_text()[-4000:]}")

    def kill(self) -> None:
        """SIGKILL to every process of the server at once; returns when they are gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """The orderly end: SIGTERM, requests in flight are answered."""
        self._end(signal.SIGTERM)

    def end(self) -> int:
        """SIGTERM, and wait for the orderly end, however long that takes; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=120)
        self.process = None
        return code

    def beside(self, workers: int = 1) -> "Server":
        """Another service on the same database, home and settings, not yet started; ends
        with this one."""
        other = replace(self, workers=workers, port=free_port(), process=None, _callers=[])
        self._callers.append(_Ending(other))
        return other

    def restart(self) -> "Server":
        """Kill it and start it again on the same database."""
        self.kill()
        return self.start()

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if how is signal.SIGKILL:
                os.killpg(process.pid, how)
            else:
                process.send_signal(how)
        try:
            process.wait(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def key(self, principal: str) -> str:
        """An API key of ``principal``, the same one at every call."""
        if principal not in self._keys:
            self._keys[principal] = self.new_key(principal)
        return self._keys[principal]

    def new_key(self, principal: str, days: int | None = None) -> str:
        """A fresh API key of ``principal``."""

        async def issue() -> str:
            async with open_services(load(self.settings())) as services:
                issued = await services.api_keys.issue(principal, "tests", days=days)
                return issued.secret.reveal()

        return run(issue())

    def caller(self, principal: str | None) -> Caller:
        """A new connection as ``principal``; ``None``: without credential. Closed with
        the server."""
        caller = Caller(self.url, None if principal is None else self.key(principal))
        self._callers.append(caller)
        return caller

    def closing(self, client: C) -> C:
        """The same client, to be closed with the server."""
        self._callers.append(client)
        return client

    def raw(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Send bytes as they are, read until the server closes: status, head and body.
        For requests that no client would make; send ``Connection: close`` in them."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60.0) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(65536):
                    received += part
        head, _, body = received.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
        assert status is not None, "the server gave no HTTP answer"
        return int(status[1]), head, body

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of an SQL statement, run and committed as the database's superuser."""
        with psycopg.connect(self.superuser_url) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description is not None else []

    def command(self, *arguments: str) -> str:
        """What ``strongroom`` with these arguments prints on the settings of the service;
        it must exit with 0."""
        done = subprocess.run(
            [sys.executable, "-m", "vault_service", *arguments],
            env=self.settings(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def close(self) -> None:
        """End the processes and drop the database."""
        for caller in self._callers:
            caller.close()
        self._callers.clear()
        self.kill()
        self.postgres.ensure_running()
        self.postgres.drop_database(self.database)


@dataclass
class _Ending:
    """A service that ends with the one it was made beside."""

    server: Server

    def close(self) -> None:
        self.server.kill()


class Serve(Protocol):
    """Makes and starts a server; all end with the test (or module) that asked."""

    def __call__(
        self,
        *,
        workers: int = 1,
        environment: Mapping[str, str] | None = None,
        start: bool = True,
        program: str = SERVICE,
    ) -> Server: ...


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, on an event loop of its own thread, so that it may be
    asked for from inside another loop too."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
