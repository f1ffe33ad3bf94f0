"""A safe configuration runs, on PostgreSQL with TLS, and stays safe while it does."""

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.secured import Authority, Production
from tests.serving import ROOT
from tests.synthetic import cards
from vault_service.adapters.postgres.roles import SEALING, SERVICE

_SECONDS: Final = 120.0
# What each process of Python that the service consists of says of its memory, again and again.
_TELLS: Final = """
import ctypes, os, pathlib, resource, threading, time
def tell():
    while True:
        dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
        size = max(resource.getrlimit(resource.RLIMIT_CORE))
        path = pathlib.Path(os.environ["TELL_HERE"], str(os.getpid()))
        path.with_suffix(".new").write_text(f"{dumpable} {size}")
        path.with_suffix(".new").rename(path)
        time.sleep(0.1)
threading.Thread(target=tell, daemon=True).start()
"""


def strongroom(production: Production, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vault_service", *arguments],
        env=production.environment({}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass
class Running:
    """``strongroom serve`` in production."""

    production: Production
    process: subprocess.Popen[str]
    url: str
    log: Path
    told: Path
    verified: ssl.SSLContext
    _keys: dict[str, str] = field(default_factory=dict)

    def key(self, principal: str) -> str:
        if principal not in self._keys:
            issued = strongroom(self.production, "principal", "issue-key", principal)
            assert issued.returncode == 0, issued.stderr
            self._keys[principal] = issued.stdout.strip()
        return self._keys[principal]

    def post(self, principal: str, path: str, body: dict[str, Any]) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.key(principal)}"}
        return httpx2.post(
            self.url + path, json=body, headers=headers, verify=self.verified, timeout=60
        )

    def tokenize(self, value: str) -> httpx2.Response:
        items = [{"data_class": "pan", "value": value}]
        return self.post("checkout", "/v1/tokenize", {"items": items})

    def cut(self) -> None:
        """End the service's connections to the database, so that it makes new ones."""
        with self.production.postgres.connect() as connection:
            connection.execute(
                b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                b" WHERE usename IN ('strongroom_app', 'strongroom_seal')"
            )


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def running(
    production: Production, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("safe")
    (directory / "sitecustomize.py").write_text(_TELLS)
    told, log = directory / "told", directory / "stderr.log"
    told.mkdir()
    changes: dict[str, str | None] = {
        "PYTHONPATH": str(directory),
        "TELL_HERE": str(told),
        "STRONGROOM_WORKERS": "2",
    }
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "vault_service", "serve"],
            env=production.environment(changes),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"Strongroom is ready at (https://127\.0\.0\.1:\d+)\n", line)
        assert found, line + log.read_text()
        verified = ssl.create_default_context(cafile=authority.path)
        yield Running(production, process, found[1], log, told, verified)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_it_serves_over_tls_and_speaks_tls_to_the_database(running: Running) -> None:
    [card] = cards(1, seed=300)
    stored = running.tokenize(card)
    assert stored.status_code == 200, stored.text
    token = stored.json()["items"][0]["token"]
    asked = {"purpose": "chargeback", "items": [{"token": token, "form": "plain"}]}
    shown = running.post("chargeback-service", "/v1/detokenize", asked)
    assert shown.json()["items"][0]["value"] == card
    with running.production.postgres.connect() as connection:
        # PCI-DSS 4.2.1, 7.2.5
        rows = connection.execute(
            b"SELECT usename, bool_and(ssl) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)"
            b" WHERE usename LIKE 'strongroom_%' AND usename <> 'strongroom_superuser' GROUP BY 1"
        ).fetchall()
        assert dict(rows) == {SERVICE.name: True, SEALING.name: True}  # type: ignore[arg-type]
        until(lambda: _leaves(running) > 0)


def _leaves(running: Running) -> int:
    with running.production.postgres.connect() as connection:
        row = connection.execute(b"SELECT count(*) FROM strongroom.log_leaves").fetchone()
    assert row is not None
    return int(str(row[0]))


def test_what_is_not_tls_or_too_old_is_not_served(running: Running) -> None:
    port = httpx2.URL(running.url).port
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"http://127.0.0.1:{port}/healthz")
    old = ssl.create_default_context(cafile=running.production.postgres.authority.path)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        old.wrap_socket(plain, server_hostname="localhost")


def test_the_health_check_asks_over_tls(running: Running) -> None:
    port = str(httpx2.URL(running.url).port)
    done = subprocess.run(
        [sys.executable, "-m", "vault_service.healthcheck", port],
        env=running.production.environment({}),
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0


def test_principals_of_other_environments_do_not_exist(running: Running) -> None:
    refused = strongroom(running.production, "principal", "issue-key", "load-tester")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "load-tester" not in strongroom(running.production, "principal", "list").stdout


def test_doctor_finds_it_sound(running: Running) -> None:
    done = strongroom(running.production, "doctor", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 0, answer
    found = " ".join(check["found"] for check in answer["checks"])
    assert "login strongroom_app, encrypted" in found
    assert "login strongroom_seal" in found


def test_no_process_leaves_its_memory_behind(running: Running) -> None:
    """PCI-DSS 3.5.1: neither the supervisor nor a worker can be dumped, or looked into."""
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
    pids = [running.process.pid]
    pids += [
        pid
        for pid in map(int, children.read_text().split())
        if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert len(pids) == 3, "the supervisor and two workers"
    for pid in pids:
        until((running.told / str(pid)).exists)
        assert (running.told / str(pid)).read_text() == "0 0"
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits)


def test_a_rotated_password_holds_without_a_restart(running: Running) -> None:
    postgres = running.production.postgres
    path = running.production.password_file(SERVICE.name)
    old = postgres.passwords[SERVICE.name]
    try:
        postgres.set_password(SERVICE.name, "r7-" + old)
        running.cut()
        [card, another] = cards(2, seed=301)
        until(lambda: running.tokenize(card).status_code == 503)
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text("r7-" + old)
        draft.rename(path)
        until(lambda: running.tokenize(another).status_code == 200)
        assert running.process.poll() is None
        assert old not in running.log.read_text()
    finally:
        postgres.set_password(SERVICE.name, "r7-" + old)
        path.write_text("r7-" + old)


def test_a_password_file_that_is_opened_to_others_is_not_read(running: Running) -> None:
    path = running.production.password_file(SERVICE.name)
    [card] = cards(1, seed=302)
    try:
        path.chmod(0o644)
        running.cut()
        until(lambda: running.tokenize(card).status_code == 503)
        assert "the file is open to other users" in running.log.read_text()
    finally:
        path.chmod(0o600)
    until(lambda: running.tokenize(card).status_code == 200)


def test_a_login_that_is_given_more_is_refused_while_it_runs(running: Running) -> None:
    [card] = cards(1, seed=303)
    with running.production.postgres.connect() as connection:
        try:
            connection.execute(b"GRANT strongroom_owner TO strongroom_app")
            running.cut()
            until(lambda: running.tokenize(card).status_code == 503)
            assert "database_login_refused" in running.log.read_text()
        finally:
            connection.execute(b"REVOKE strongroom_owner FROM strongroom_app")
    until(lambda: running.tokenize(card).status_code == 200)
