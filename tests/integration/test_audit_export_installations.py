"""``strongroom audit export`` on logs of the tests' own: signed hour by hour, of nothing, at
odds with itself; beside a service, on the embedded default, and with a key in KMS."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from tests.auditing import lines
from tests.conftest import DatabaseUrls
from tests.fakes.kms_faults import KmsFaultProxy
from tests.integration.audit_commands import ROOT, now_events, put, settings, verify
from tests.serving import Serve
from tests.stored import event
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.cli.audit import app
from vault_service.domain.checkpoints import open_checkpoint
from vault_service.domain.notes import VerifierKey


def test_from_and_to(empty_database: DatabaseUrls, tmp_path: Path) -> None:
    upgrade(empty_database.migrator_url)
    environment = settings(tmp_path / "home", empty_database.app_url)

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(app, [str(a) for a in arguments], env=environment)

    now = datetime.now(UTC).replace(microsecond=0)
    made = [event("main", occurred_at=now - timedelta(hours=hours)) for hours in (3, 2, 1)]
    at = [f"{each.occurred_at:%Y-%m-%dT%H:%M:%S}" for each in made]
    for each in made:  # with a checkpoint after each
        put(empty_database, each)
        assert run("checkpoint").exit_code == 0
    key, bundle = tmp_path / "vkey", tmp_path / "stretch.ndjson"
    assert run("key", "-o", key).exit_code == 0

    def shown(*options: str) -> list[int | None]:
        result = run("export", *options, "-o", bundle)
        assert result.exit_code == 0, result.stderr
        verify(run, bundle, key)
        written = bundle.read_bytes()
        if "--to" in options:
            assert lines(written, "unsealed") == []
        known = {each.id: number for number, each in enumerate(made)}
        return [known.get(line["event"]["id"]) for line in lines(written, "event")]

    assert shown("--from", at[1], "--to", at[2] + "Z") == [1]
    assert shown("--to", at[1]) == [0]
    assert shown("--to", at[2]) == [0, 1]
    assert shown("--from", at[2])[0] == 2
    assert shown("--from", f"{now - timedelta(days=2):%Y-%m-%d}")[:3] == [0, 1, 2]
    # A bundle ends at a checkpoint, so the shortest has the first.
    assert shown("--from", "2001-01-01", "--to", "2001-01-02") == [0]


def test_a_log_of_nothing(empty_database: DatabaseUrls, tmp_path: Path) -> None:
    upgrade(empty_database.migrator_url)
    environment = settings(tmp_path, empty_database.app_url)
    for name in ("checkpoint", "export"):
        result = CliRunner().invoke(app, [name], env=environment)
        assert (result.exit_code, result.stdout) == (2, ""), name
        assert "Nothing is sealed yet" in result.stderr


def test_a_log_that_contradicts_itself_is_shown_as_it_is(
    empty_database: DatabaseUrls, tmp_path: Path
) -> None:
    """It is not signed again; that it was told, and the verifier finds what is wrong."""
    upgrade(empty_database.migrator_url)
    environment = settings(tmp_path / "home", empty_database.app_url)

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(app, [str(a) for a in arguments], env=environment)

    key, bundle = tmp_path / "vkey", tmp_path / "log.ndjson"
    assert run("key", "-o", key).exit_code == 0
    put(empty_database, *now_events(5))
    assert run("checkpoint").exit_code == 0
    with psycopg.connect(empty_database.superuser_url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE strongroom.log_tiles SET hashes = overlay(hashes PLACING '\\x0011' FROM 3)"
        )
    put(empty_database, *now_events(1))
    result = run("export", "-o", bundle)
    assert result.exit_code == 0
    assert "contradicts what was signed before" in result.stderr
    told = run("verify", bundle, "--key", key, "--json")
    assert told.exit_code == 1
    assert {finding["kind"] for finding in json.loads(told.stdout)["findings"]} >= {"event_altered"}


def test_beside_a_service_that_runs(serve: Serve, tmp_path: Path) -> None:
    """The service seals and signs; the command waits for it."""
    server = serve(workers=1)
    checkout = server.caller("checkout")
    environment = server.settings()

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(app, [str(a) for a in arguments], env=environment)

    key, bundle, proof = tmp_path / "vkey", tmp_path / "log.ndjson", tmp_path / "receipt"
    assert run("key", "-o", key).exit_code == 0
    assert key.read_text() == checkout.get("/v1/audit/key").text
    item = {"data_class": "pan", "value": "4111111111111111"}
    made = checkout.post("/v1/tokenize", {"items": [item]}).json()["receipt"]["event_id"]
    assert run("receipt", made, "-o", proof).exit_code == 0
    assert verify(run, proof, key)["event"]["id"] == made
    assert run("export", "-o", bundle).exit_code == 0
    assert verify(run, bundle, key)["leaves"] > 0
    assert made in bundle.read_text()
    checkpoint = run("checkpoint")
    pinned = VerifierKey.parse(key.read_text().strip())
    assert open_checkpoint(checkpoint.stdout, pinned).size > 0


def test_on_the_embedded_default(tmp_path: Path) -> None:
    """With nothing running and nothing set: the command starts what it needs."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("STRONGROOM_")}
    kept = {k: v for k, v in os.environ.items() if k == "STRONGROOM_PG_BINDIR"}
    environment = {
        **inherited,
        **kept,
        "STRONGROOM_HOME": str(tmp_path / "home"),
        "STRONGROOM_POLICY_DIR": str(ROOT / "policies"),
    }

    def strongroom(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "vault_service", *(str(a) for a in arguments)],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    assert strongroom("principal", "issue-key", "checkout").returncode == 0
    key, bundle = tmp_path / "vkey", tmp_path / "log.ndjson"
    assert strongroom("audit", "key", "-o", key).returncode == 0
    exported = strongroom("audit", "export", "-o", bundle)
    assert exported.returncode == 0, exported.stderr
    found = strongroom("audit", "verify", bundle, "--key", key, "--json")
    assert found.returncode == 0, found.stdout
    actions = [line["event"]["action"] for line in lines(bundle.read_bytes(), "event")]
    assert "issue_api_key" in actions


def test_with_a_signing_key_in_kms(
    empty_database: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The public key is fetched where a command needs it, sealed or not."""
    upgrade(empty_database.migrator_url)
    with KmsFaultProxy() as kms:
        for name, value in kms.environment().items():
            monkeypatch.setenv(name, value)
        environment = {
            **settings(tmp_path, empty_database.app_url),
            "STRONGROOM_AUDIT_SIGNING_KEY_ARN": kms.create_signing_key(),
        }

        def run(*arguments: str | Path) -> Result:
            return CliRunner().invoke(app, [str(a) for a in arguments], env=environment)

        key, bundle = tmp_path / "vkey", tmp_path / "log.ndjson"
        assert run("key", "-o", key).exit_code == 0
        put(empty_database, *now_events(3))
        assert run("export", "-o", bundle).exit_code == 0
        assert verify(run, bundle, key)["leaves"] == 3
        tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
        assert run("export", "--to", tomorrow, "-o", bundle).exit_code == 0
        assert verify(run, bundle, key)["leaves"] == 3
