"""A real log, copies of it for a superuser to tamper with, and what auditors find in them.

The log is made by a real service in two days' work, as it were: after the first an auditor
keeps a checkpoint, and the database is copied; after the second it is copied again. Each
attack has a copy of its own, with the service's files beside it. What it leaves behind is
exported by ``strongroom audit export`` and verified by both verifiers.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from typer.testing import CliRunner, Result

from tests.attacks.log_copies import Copy
from tests.bundles import ORIGIN
from tests.by_hand import run_script
from tests.serving import Serve, Server
from tests.synthetic import cards
from vault_service.cli.audit import app


@dataclass(frozen=True, slots=True)
class Found:
    """One finding: what the verifier calls it, and where."""

    kind: str
    leaf: int | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What both verifiers made of a bundle: the exit code, and ours its findings, and which
    leaves it says are ``archived``, and which is the first that is ``backdated``."""

    exit_code: int
    findings: Sequence[Found]
    archived: tuple[int, int] | None = None
    backdated: tuple[str, int] | None = None

    @property
    def kinds(self) -> set[str]:
        return {found.kind for found in self.findings}


@dataclass(frozen=True, slots=True)
class Original:
    """The log that is copied, with what an auditor has of it: its ``key``, the checkpoint that
    was ``kept`` the day before, of ``kept_size`` leaves, and the ``newest``, each in a file.
    ``early`` is how the database and the service's files were the day before."""

    server: Server
    early: Copy
    key: str
    kept: Path
    kept_size: int
    newest: Path
    script: Path

    def verdict(self, copy: Copy, *, kept: Path | None) -> Verdict:
        """What both verifiers say of an export of this copy, with a kept checkpoint or
        without one; that they agree."""
        since = [] if kept is None else ["--since", str(kept)]
        bundle = copy.server.directory / "bundle.ndjson"
        done = command(copy, "export", "-o", str(bundle), *since)
        assert done.exit_code == 0, done.output
        done = command(copy, "verify", str(bundle), "--key", self.key, "--json", *since)
        assert done.stdout.startswith("{"), done.output
        report = json.loads(done.stdout)
        assert run_script(self.script, bundle, self.key, kept) == done.exit_code
        findings = [
            Found(each["kind"], each["leaf"], each["event_id"]) for each in report["findings"]
        ]
        archived = report["withheld"].get("archived")
        stretch = None if archived is None else (archived["first"], archived["last"])
        late = report["backdated"]
        told = None if late is None else (late["event_id"], late["leaves"]["first"])
        return Verdict(done.exit_code, findings, stretch, told)


def command(copy: Copy, *arguments: str) -> Result:
    """``strongroom audit``, on the settings of the copy's service."""
    return CliRunner().invoke(app, arguments, env=copy.server.settings())


def make_log(serve: Serve, script: Path) -> Original:
    """A log of a few hundred events of several tenants, with several checkpoints."""
    server = serve(environment={"STRONGROOM_AUDIT_ORIGIN": ORIGIN})
    values = cards(240, seed=103)
    _work(server, values[:80])
    key = server.caller("auditor").get("/v1/audit/key").text.strip()
    # Numbers that a rolled-back transaction drew: nobody will ever have these positions.
    with psycopg.connect(server.superuser_url) as connection:
        connection.execute(
            "INSERT INTO strongroom.audit_events (id, occurred_at, tenant, action, outcome,"
            " data_classes, terms, body) SELECT id || number, occurred_at, tenant, action, outcome,"
            " data_classes, terms, body FROM strongroom.audit_events, generate_series(1, 3) AS"
            " number LIMIT 3"
        )
        connection.rollback()
    _work(server, values[80:160])
    server.stop()
    early = Copy(server)
    kept = server.directory / "kept"
    kept.write_text(_newest_note(server))
    server.start()
    _work(server, values[160:])
    server.stop()
    # Two minutes later the sealer would not look for late events in gaps any more.
    server.query(
        "UPDATE strongroom.log_tree SET settled = (SELECT max(position) FROM strongroom.log_leaves)"
    )
    newest = server.directory / "newest"
    newest.write_text(_newest_note(server))
    return Original(server, early, key, kept, early.size(), newest, script)


def _newest_note(server: Server) -> str:
    [(note,)] = server.query(
        "SELECT note FROM strongroom.log_checkpoints ORDER BY tree_size DESC LIMIT 1"
    )
    return str(note)


def _work(server: Server, values: list[str]) -> None:
    """A request a value: of several principals of two tenants, some of them refused."""
    loader, merchant = server.caller("load-tester"), server.caller("other-merchant")
    disputes, agent = server.caller("chargeback-service"), server.caller("support-agent")
    auditor = server.caller("auditor")
    for number, value in enumerate(values):
        caller = merchant if number % 4 == 3 else loader
        tokens = caller.tokenize("pan", [value], subject=f"cus_{number}")
        if number % 4 == 0:
            assert disputes.detokenize(tokens, "chargeback").status_code == 200
        elif number % 4 == 1:
            assert agent.detokenize(tokens, "customer_support", "plain").status_code == 403
        elif number % 4 == 2:
            assert loader.detokenize([f"{tokens[0]}x"], "data_quality").status_code == 404
        if number % 40 == 0:
            assert server.caller(None).get("/v1/whoami").status_code == 401
            # A receipt of the newest event is there once that is sealed and signed: a fast
            # machine has several checkpoints, too.
            [newest] = auditor.get("/v1/audit/events", params={"limit": "1"}).json()["events"]
            assert auditor.get(f"/v1/audit/events/{newest['id']}/proof").status_code == 200
