"""``strongroom report run --local`` and ``report worker``: the commands themselves, with the real
service on the other side."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reporting_jobs import settings, worker
from tests.conftest import DatabaseUrls
from tests.jobs.conftest import RsaPair
from tests.reporting import people
from tests.serving import ROOT, Serve, Server
from tests.synthetic import cards

JOBS = ("chargeback_file", "pci_inventory", "audit_seal")
OFFICER, LEAD = "compliance-officer", "compliance-lead"
TICK = 1_795_587_000  # 2026-11-25T06:10:00Z


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module()


@dataclass
class Office:
    """Where the commands are typed: the settings of the jobs, and the recipient's keys."""

    server: Server
    folder: Path
    reader: RsaPair
    environment: dict[str, str]

    def command(
        self, who: str | None, *arguments: str, ends: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """``strongroom report`` as this principal."""
        ran = subprocess.run(
            [sys.executable, "-m", "vault_service", "report", *arguments],
            cwd=ROOT,
            env=self.as_principal(who) | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == ends, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        return ran

    def told(self, who: str, *arguments: str, ends: int = 0) -> Any:
        return json.loads(self.command(who, *arguments, "--json", ends=ends).stdout)

    def as_principal(self, who: str | None) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("STRONGROOM_")}
        credential = {} if who is None else {"STRONGROOM_TOKEN": self.server.key(who)}
        return {**inherited, **self.environment, **credential}

    def opened(self, run: str) -> str:
        """What the run's reader makes of its output."""
        sealed, manifest, out = (self.folder / name for name in ("sealed", "manifest", "out"))
        self.command(OFFICER, "output", run, "-o", str(sealed))
        manifest.write_text(self.command(OFFICER, "show", run, "--manifest").stdout)
        self.command(None, "verify", str(sealed), "--manifest", str(manifest), *self._log_key())
        key = ("--key", str(self.folder / "reader.pem"))
        self.command(None, "open", str(sealed), "--manifest", str(manifest), *key, "-o", str(out))
        return out.read_text()

    def _log_key(self) -> tuple[str, str]:
        return "--key", self.environment["STRONGROOM_LOG_KEY"]


@pytest.fixture
def office(server: Server, tmp_path: Path, recipients: Path, reader: RsaPair) -> Office:
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    for name in JOBS:
        (tokens / name).write_text(server.key(f"job:{name}"))
    (tmp_path / "reader.pem").write_bytes(reader.private)
    environment = {
        "STRONGROOM_URL": server.url,
        "STRONGROOM_LOG_KEY": server.caller("auditor").get("/v1/audit/key").text.strip(),
        "STRONGROOM_REPORT_OUTPUTS": str(server.home / "reports"),
        "STRONGROOM_REPORT_RECIPIENTS": str(recipients),
        "STRONGROOM_REPORT_RECIPIENT": reader.recipient.name,
        "STRONGROOM_REPORT_TOKENS": str(tokens),
    }
    return Office(server, tmp_path, reader, environment)


def test_a_report_is_made_where_it_is_asked_for(office: Office) -> None:
    office.server.caller("checkout").tokenize("pan", cards(30, seed=90))
    ask = ("run", "pci_inventory", "--recipient", office.reader.recipient.name, "--format", "csv")
    made = office.told(OFFICER, *ask, "--local")
    assert (made["state"], made["attempts"], made["created"]) == ("succeeded", 1, True)
    lines = office.opened(made["id"]).splitlines()
    assert len(lines) == 1 + made["rows"] > 1
    assert "pan" in {cell for line in lines for cell in line.split(",")}
    again = office.told(OFFICER, *ask, "--local", "--wait")
    assert (again["id"], again["attempts"], again["created"]) == (made["id"], 1, False)


def test_a_report_with_values_is_made_once_it_is_approved(office: Office) -> None:
    numbers = cards(3, seed=91)
    tokens = office.server.caller("checkout").tokenize("pan", numbers)
    ask = (
        *("run", "chargeback_file", "-p", f"tokens={','.join(tokens)}", "--format", "csv"),
        *("--recipient", office.reader.recipient.name, "--local"),
    )
    waiting = office.told(OFFICER, *ask)
    assert (waiting["state"], waiting["attempts"]) == ("requested", 0)
    approved = office.command(LEAD, "approve", waiting["id"], "--yes", "--json")
    assert json.loads(approved.stdout)["state"] == "approved"
    found = office.told(LEAD, "list", "--state", "approved")
    assert [each["id"] for each in found] == [waiting["id"]]
    made = office.told(OFFICER, *ask)
    assert (made["id"], made["state"], made["rows"]) == (waiting["id"], "succeeded", 3)
    lines = office.opened(made["id"]).splitlines()
    assert lines[1:] == [
        f"{token},{number},true" for token, number in zip(tokens, numbers, strict=True)
    ]
    shown = office.told(LEAD, "show", made["id"])
    assert (shown["approver"], shown["revealed"]) == (LEAD, 3)


def test_a_report_that_cannot_be_made_here_says_why(office: Office) -> None:
    ask = ("run", "pci_inventory", "--format", "csv", "--local")
    nobody = ("--recipient", "rsa:" + "0" * 64)
    failed = office.command(OFFICER, *ask, *nobody, ends=1)
    assert "recipient_unusable" in failed.stderr
    assert office.told(LEAD, "list", "--state", "failed")
    for unset, text in (
        ("STRONGROOM_LOG_KEY", "strongroom audit key"),
        ("STRONGROOM_REPORT_OUTPUTS", "s3://bucket/prefix"),
    ):
        recipient = ("--recipient", office.reader.recipient.name, "--period", "2026-11-01")
        refused = office.command(OFFICER, *ask, *recipient, ends=2, **{unset: ""})
        assert unset in refused.stderr
        assert text in refused.stderr


def test_the_worker_makes_what_is_due_until_it_is_told_to_end(
    office: Office,
    empty_database: DatabaseUrls,
    wait_for: Callable[[Callable[[], bool]], None],
) -> None:
    tokens = office.server.caller("checkout").tokenize("pan", cards(2, seed=92))
    ask = ("run", "chargeback_file", "-p", f"tokens={','.join(tokens)}")
    run = office.told(OFFICER, *ask, "--recipient", office.reader.recipient.name)
    office.command(LEAD, "approve", run["id"], "--yes")
    url = empty_database.superuser_url
    environment = office.as_principal(None) | {"STRONGROOM_WORKER_DATABASE_URL": url}
    log = office.folder / "worker.log"
    with log.open("wb") as told:
        working = subprocess.Popen(
            [sys.executable, "-m", "vault_service", "report", "worker"],
            cwd=ROOT,
            env=environment,
            stdout=told,
            stderr=told,
        )
    try:
        reporting = people(office.server, LEAD)

        def ended(report: str, period: str) -> bool:
            assert working.poll() is None, log.read_text()
            found = [each for each in reporting.runs(report=report) if each.period == period]
            return [each.state for each in found] == ["succeeded"]

        # What was approved before it began, it collects; a tick, it is told by its queue.
        wait_for(lambda: reporting.run(run["id"]).state == "succeeded")
        asyncio.run(_tick(environment, url))
        wait_for(lambda: ended("audit_seal", "2026-11-25T06:10:00Z"))
        working.send_signal(signal.SIGTERM)
        assert working.wait(60) == 0, log.read_text()
    finally:
        working.kill()
        working.wait()
    assert "Traceback" not in log.read_text()
    assert not set(tokens) & set(log.read_text().split())


async def _tick(environment: dict[str, str], url: str) -> None:
    app = worker.worker(settings.load(environment), url)
    async with app.open_async():
        await app.tasks["schedule:audit_seal"].defer_async(timestamp=TICK)


def test_a_worker_without_a_database_says_so(office: Office) -> None:
    refused = office.command(None, "worker", ends=2)
    assert "STRONGROOM_WORKER_DATABASE_URL is not set" in refused.stderr
