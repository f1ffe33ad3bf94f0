"""``strongroom dev`` and what operators do beside it, as processes on a home of their own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import IO, Any

import pytest

from tests.conftest import DatabaseUrls
from vault_service.client import Client, TokenizeItem
from vault_service.domain.credentials import api_key_id

ROOT = Path(__file__).parents[2]
CARD = "4111 1111 1111 1111"
Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(home: Path, **more: str) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("STRONGROOM_")}
    kept = {k: v for k, v in os.environ.items() if k == "STRONGROOM_PG_BINDIR"}
    policies = str(ROOT / "policies")
    return {
        **inherited,
        **kept,
        "STRONGROOM_HOME": str(home),
        "STRONGROOM_POLICY_DIR": policies,
        **more,
    }


def strongroom(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    home = Path(settings.pop("home"))
    return subprocess.run(
        [sys.executable, "-m", "vault_service", *arguments],
        env=environment(home, **settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


class Dev:
    """A running ``strongroom dev``."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        self.log = home.with_suffix(".log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vault_service", "dev", "--port", "0", *options],
                env=environment(home),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.fullmatch(r"Strongroom is ready at (http://127\.0\.0\.1:\d+)\n", line)
        if found is None:
            self.stop()
        assert found, self.log.read_text()
        self.url = found[1]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Have it end; its exit code, the same when asked again."""
        self.process.send_signal(how)
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    running = Dev(tmp_path_factory.mktemp("cli") / "home")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def run(dev: Dev) -> Run:
    return lambda *arguments, **settings: strongroom(*arguments, home=str(dev.home), **settings)


@pytest.fixture(scope="module")
def key(run: Run) -> str:
    result = run("principal", "issue-key", "checkout")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") == 1
    return result.stdout.strip()


@pytest.fixture(scope="module")
def token(dev: Dev, key: str) -> str:
    with Client(dev.url, key) as vault:
        return vault.tokenize("pan", [CARD])[0]


def events(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_key_issued_beside_the_running_service_works(dev: Dev, key: str) -> None:
    assert api_key_id(key) is not None
    with Client(dev.url, key) as vault:
        assert vault.whoami().principal == "checkout"


def test_the_home_has_one_owner(run: Run) -> None:
    second = run("dev", "--port", "0")
    assert (second.returncode, second.stdout) == (2, "")
    assert "is in use by another Strongroom process" in second.stderr


def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = strongroom("dev", "--port", str(port), home=str(tmp_path / "home"))
    assert (result.returncode, result.stdout) == (2, "")
    assert f"port {port}" in result.stderr
    assert not (tmp_path / "home").exists()


def test_dev_is_not_for_prod_or_other_databases(tmp_path: Path) -> None:
    url = "postgresql://me:hidden-word@127.0.0.1:1/x"
    result = strongroom("dev", home=str(tmp_path), STRONGROOM_DATABASE_URL=url)
    assert (result.returncode, result.stdout) == (2, "")
    assert "strongroom serve" in result.stderr
    assert "hidden-word" not in result.stderr


def test_the_log_is_json_without_values(dev: Dev, token: str) -> None:
    lines = dev.log.read_text().splitlines()
    assert lines
    assert all(json.loads(line)["level"] for line in lines)
    assert "4111" not in dev.log.read_text()


def test_no_process_of_the_service_may_dump_its_memory(dev: Dev) -> None:
    limits = Path(f"/proc/{dev.process.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)


def test_tail_tells_who_did_what_and_that_it_was_read(run: Run, token: str) -> None:
    seen = events(run("audit", "tail", "--token", token, "--json"))
    assert [(e["principal"], e["action"], e["outcome"]) for e in seen] == [
        ("checkout", "tokenize", "ok")
    ]
    read = events(run("audit", "tail", "--json", "--action", "read_audit", "--tenant", "main"))
    assert read[-1]["principal"].startswith("operator:")
    assert read[-1]["detail"]["events"] == 1
    table = run("audit", "tail", "-n", "1", "--principal", "checkout").stdout
    assert table.count("\n") == 1
    assert "main/checkout  tokenize  1 pan" in table
    assert "by capture-tokenizes-its-clearance" in table


def test_tail_shows_the_newest_oldest_first(run: Run, dev: Dev, key: str) -> None:
    with Client(dev.url, key) as vault:
        made = [vault.tokenize_items(_item(value)).event_ids[0] for value in ("a", "b", "c")]
    seen = events(run("audit", "tail", "-n", "2", "--principal", "checkout", "--json"))
    assert [event["id"] for event in seen] == made[1:]


def _item(name: str) -> list[TokenizeItem]:
    return [TokenizeItem("pan", CARD, reference=name)]


def _pass_on(source: IO[str], target: "Queue[str]") -> None:
    for line in source:
        target.put(line)


def test_tail_follows(dev: Dev, key: str) -> None:
    asked = ["audit", "tail", "-n", "1", "-f", "--json", "--principal", "checkout"]
    with subprocess.Popen(
        [sys.executable, "-m", "vault_service", *asked],
        env=environment(dev.home),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as tail:
        assert tail.stdout is not None
        lines: Queue[str] = Queue()
        stdout = tail.stdout
        reader = threading.Thread(target=_pass_on, args=(stdout, lines))
        reader.start()
        with Client(dev.url, key) as vault:
            vault.tokenize_items(_item("before"))
            first = json.loads(lines.get(timeout=120))
            made = vault.tokenize_items(_item("after")).event_ids[0]
        seen = [first["id"]]
        while seen[-1] != made:
            seen.append(json.loads(lines.get(timeout=60))["id"])
        assert len(seen) == len(set(seen))
        tail.send_signal(signal.SIGINT)
        assert tail.wait(60) == 130
        reader.join()
        assert tail.stderr is not None
        assert "Traceback" not in tail.stderr.read()


@pytest.mark.parametrize(
    "arguments", [("--token", CARD), ("--tenant", "nobody"), ("--principal", "x" * 300)]
)
def test_tail_refuses_what_cannot_be_asked(run: Run, arguments: tuple[str, ...]) -> None:
    result = run("audit", "tail", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert arguments[1] not in result.stderr


def test_doctor_finds_a_fresh_installation_sound(run: Run, token: str) -> None:
    result = run("doctor", "--json")
    answer = json.loads(result.stdout)
    assert result.returncode == 0, answer
    assert answer["sound"]
    names = {check["name"] for check in answer["checks"]}
    assert names == {
        "settings",
        "policies",
        "disk",
        "database",
        "clock",
        "schema",
        "keys",
        "audit",
        "log",
    }
    assert {check["state"] for check in answer["checks"]} <= {"ok", "warn"}


def test_the_end_of_dev_is_the_end_of_its_database_but_not_of_the_data(
    run: Run, dev: Dev, token: str
) -> None:
    assert dev.stop() == 0
    assert not (dev.home / "postgres" / "postmaster.pid").exists()
    # A command without a running service starts the database for itself.
    seen = events(run("audit", "tail", "--token", token, "--json", "-n", "1"))
    assert token in json.dumps(seen)
    assert not (dev.home / "postgres" / "postmaster.pid").exists()


def test_two_workers_answer_and_end_together(tmp_path: Path) -> None:
    home = tmp_path / "home"
    # On a home that no command was run in before.
    issued = strongroom("principal", "issue-key", "auditor", home=str(home))
    assert issued.returncode == 0, issued.stderr
    running = Dev(home, "--workers", "2")
    try:
        with Client(running.url, issued.stdout.strip()) as vault:
            assert vault.whoami().principal == "auditor"
    finally:
        code = running.stop(signal.SIGINT)
    assert code == 0
    assert not (home / "postgres" / "postmaster.pid").exists()


def test_db_upgrade_and_check(empty_database: DatabaseUrls, tmp_path: Path) -> None:
    def db(*arguments: str) -> subprocess.CompletedProcess[str]:
        url = empty_database.migrator_url
        return strongroom(*arguments, home=str(tmp_path), STRONGROOM_DATABASE_URL=url)

    behind = db("db", "check", "--json")
    assert behind.returncode == 1
    assert json.loads(behind.stdout)["found"] is None
    upgraded = json.loads(db("db", "upgrade", "--json").stdout)
    assert upgraded["changed"]
    assert upgraded["after"] == json.loads(behind.stdout)["wanted"]
    assert db("db", "check").returncode == 0
    assert not json.loads(db("db", "upgrade", "--json").stdout)["changed"]


def test_db_upgrade_by_a_login_that_may_not(empty_database: DatabaseUrls, tmp_path: Path) -> None:
    result = strongroom(
        "db", "upgrade", home=str(tmp_path), STRONGROOM_DATABASE_URL=empty_database.app_url
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert "CREATEROLE" in result.stderr
    assert "Traceback" not in result.stderr
