"""``strongroom audit export``, ``receipt``, ``checkpoint`` and ``key``, as an operator uses
them: on a database, beside a running service, and on the embedded default."""

import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from tests.auditing import lines
from tests.conftest import DatabaseUrls
from tests.fakes.kms_faults import KmsFaultProxy
from tests.serving import Serve
from tests.stored import event, put_directly
from vault_service.adapters.postgres.embedded import EmbeddedPostgres
from vault_service.adapters.postgres.embedded_state import APP, MIGRATOR, SUPERUSER
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.cli.audit import app
from vault_service.domain.checkpoints import open_checkpoint
from vault_service.domain.events import AuditEvent
from vault_service.domain.notes import VerifierKey

ROOT = Path(__file__).parents[2]
OPERATOR = f"operator:{pwd.getpwuid(os.getuid()).pw_name}"
Run = Callable[..., Result]


def settings(home: Path, url: str) -> dict[str, str]:
    return {
        "STRONGROOM_ENV": "test",
        "STRONGROOM_HOME": str(home),
        "STRONGROOM_DATABASE_URL": url,
        "STRONGROOM_POLICY_DIR": str(ROOT / "policies"),
    }


@pytest.fixture(scope="module")
def urls(postgres: EmbeddedPostgres) -> Iterator[DatabaseUrls]:
    found = postgres.create_database("export_command")
    upgrade(found[MIGRATOR])
    yield DatabaseUrls("export_command", found[APP], found[MIGRATOR], found[SUPERUSER])
    postgres.drop_database("export_command")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the whole module, for the signing key is there."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def run(urls: DatabaseUrls, home: Path) -> Run:
    environment = settings(home, urls.app_url)
    return lambda *arguments: CliRunner().invoke(
        app, [str(argument) for argument in arguments], env=environment
    )


@pytest.fixture
def key(run: Run, tmp_path: Path) -> Path:
    path = tmp_path / "vkey"
    assert run("key", "-o", path).exit_code == 0
    return path


def put(urls: DatabaseUrls, *events: AuditEvent) -> None:
    put_directly(urls.superuser_url, events)


def recorded(urls: DatabaseUrls, after: int = 0) -> list[dict[str, Any]]:
    """Events of the commands, oldest first."""
    with psycopg.connect(urls.superuser_url) as connection:
        rows = connection.execute(
            "SELECT body FROM strongroom.audit_events WHERE action = 'read_audit' ORDER BY position"
        ).fetchall()
    return [json.loads(bytes(body)) for (body,) in rows][after:]


def verify(run: Run, bundle: Path, key: Path, *options: str | Path) -> dict[str, Any]:
    """The verifier's report; that it verified is asserted."""
    result = run("verify", bundle, "--key", key, "--json", *options)
    assert result.exit_code == 0, result.stdout
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def now_events(count: int, tenant: str = "main", **fields: Any) -> list[AuditEvent]:
    return [event(tenant, occurred_at=datetime.now(UTC), **fields) for _ in range(count)]


def test_the_whole_log_to_a_file(run: Run, urls: DatabaseUrls, key: Path, tmp_path: Path) -> None:
    made = [*now_events(3), *now_events(2, "other"), *now_events(1, "-")]
    put(urls, *made)
    before = len(recorded(urls))
    bundle = tmp_path / "log.ndjson"
    result = run("export", "-o", bundle)
    assert (result.exit_code, result.stdout) == (0, "")
    report = verify(run, bundle, key)
    assert (report["scope"], report["first"]) == ("all", 0)
    written = bundle.read_bytes()
    shown = {line["event"]["id"] for line in lines(written, "event")}
    assert {each.id for each in made} <= shown
    assert result.stderr == f"Wrote leaves 0 to {report['leaves']} to {bundle}.\n"
    assert bundle.stat().st_mode & 0o777 == 0o600
    assert set(tmp_path.iterdir()) == {key, bundle}
    # PCI-DSS 10.2.1.3: in the log of each tenant whose events were shown, and in this bundle.
    told = recorded(urls, before)
    assert [each["tenant"] for each in told] == ["main", "other", "-"]
    for each in told:
        assert (each["principal"], each["outcome"]) == (OPERATOR, "ok")
        assert each["detail"] == {"view": "export", "first": 0, "size": report["leaves"]}
    unsealed = {line["event"]["id"] for line in lines(written, "unsealed")}
    assert unsealed == {each["id"] for each in told}


def test_to_standard_output_comes_the_bundle_alone(run: Run, key: Path, tmp_path: Path) -> None:
    result = run("export")
    assert result.exit_code == 0
    assert re.fullmatch(r"Wrote leaves 0 to \d+\.\n", result.stderr)
    bundle = tmp_path / "log.ndjson"
    bundle.write_bytes(result.stdout_bytes)
    assert lines(result.stdout_bytes, "header")[0]["scope"] == "all"
    verify(run, bundle, key)


def test_the_events_of_one_tenant(run: Run, urls: DatabaseUrls, key: Path, tmp_path: Path) -> None:
    mine, others = now_events(2), now_events(2, "other", principal="other-merchant")
    put(urls, *mine, *others)
    before = len(recorded(urls))
    bundle = tmp_path / "main.ndjson"
    assert run("export", "--tenant", "main", "-o", bundle).exit_code == 0
    report = verify(run, bundle, key)
    assert report["scope"] == "main"
    written = bundle.read_bytes()
    for each in mine:
        assert each.id.encode() in written
    for each in others:
        assert each.id.encode() not in written
    assert b"other-merchant" not in written
    assert [each["tenant"] for each in recorded(urls, before)] == ["main"]


def test_a_routine_of_cursor_and_kept_checkpoint(
    run: Run, urls: DatabaseUrls, key: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    assert run("checkpoint", "-o", kept).exit_code == 0
    pinned = VerifierKey.parse(key.read_text().strip())
    size = open_checkpoint(kept.read_text(), pinned).size
    made = now_events(4)
    put(urls, *made)
    bundle = tmp_path / "next.ndjson"
    result = run("export", "--cursor", size, "--since", kept, "-o", bundle)
    assert result.exit_code == 0, result.stderr
    report = verify(run, bundle, key, "--since", kept)
    assert report["first"] == size
    shown = {line["event"]["id"] for line in lines(bundle.read_bytes(), "event")}
    assert {each.id for each in made} <= shown
    assert lines(bundle.read_bytes(), "header")[0]["since"]["size"] == size
    # One that begins later is connected by the proof in its header alone.
    later = tmp_path / "later.ndjson"
    assert run("export", "--cursor", size + 3, "--since", kept, "-o", later).exit_code == 0
    assert verify(run, later, key, "--since", kept)["first"] == size + 3


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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--from", "yesterday"], "yesterday"),
        (["--cursor", "-1"], "--cursor"),
        (["--cursor", "999999999"], "rolled back"),
        (["--tenant", "nobody"], "no such tenant"),
        (["--tenant", ""], "no such tenant"),
        (["--since", "{tmp}/nothing"], "No such file"),
        (["--since", "{tmp}/scrap"], "no signed checkpoint"),
        (["--since", "{tmp}/binary"], "no signed checkpoint"),
        (["--since", "{tmp}"], "Is a directory"),
        (["-o", "{tmp}/nowhere/log"], "No such file"),
        (["-o", "{tmp}"], "Is a directory"),
        (["surplus"], "surplus"),
    ],
)
def test_what_cannot_be_done_is_refused(
    run: Run, urls: DatabaseUrls, tmp_path: Path, options: list[str], said: str
) -> None:
    put(urls, *now_events(1))
    (tmp_path / "scrap").write_text("not a checkpoint")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    before = set(tmp_path.rglob("*"))
    result = run("export", *(option.format(tmp=tmp_path) for option in options))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert set(tmp_path.rglob("*")) == before
    assert not list(tmp_path.parent.glob(".*.part"))


def python(
    urls: DatabaseUrls, home: Path, code: str, *arguments: str | Path, **options: Any
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, after some ``code``."""
    listed = [str(argument) for argument in arguments]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("STRONGROOM_")}
    return subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.argv[1:] = {listed!r}\n{code}\n"
            "from vault_service.cli.app import main; main()",
        ],
        env={**inherited, **settings(home, urls.app_url)},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **options,
    )


def test_a_disk_that_is_full_leaves_no_part_of_a_bundle(
    run: Run, urls: DatabaseUrls, home: Path, tmp_path: Path
) -> None:
    """And what was there before stays as it was."""
    put(urls, *now_events(200))
    target = tmp_path / "log.ndjson"
    target.write_text("the bundle before")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))"
    result = python(urls, home, limited, "audit", "export", "-o", target)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == f"Cannot write {target}: File too large."
    assert target.read_text() == "the bundle before"
    assert list(tmp_path.iterdir()) == [target]
    assert run("export", "-o", target).exit_code == 0
    assert target.stat().st_size > 65536


def test_standard_output_that_is_full_is_told(urls: DatabaseUrls, home: Path) -> None:
    put(urls, *now_events(1))
    with open("/dev/full", "wb") as full:
        result = python(urls, home, "", "audit", "export", stdout=full)
    assert result.returncode == 2, result.stderr
    assert "No space left on device" in result.stderr
    assert "Wrote" not in result.stderr


def test_a_receipt_verifies_alone(run: Run, urls: DatabaseUrls, key: Path, tmp_path: Path) -> None:
    """Of an event of any tenant, sealed by the command where nobody else does."""
    for tenant in ("main", "other", "-"):
        [made] = now_events(1, tenant)
        put(urls, made)
        before = len(recorded(urls))
        proof = tmp_path / "receipt"
        result = run("receipt", made.id, "-o", proof)
        assert (result.exit_code, result.stdout) == (0, ""), result.stderr
        assert verify(run, proof, key)["event"]["id"] == made.id
        [told] = recorded(urls, before)
        assert (told["tenant"], told["principal"]) == (tenant, OPERATOR)
        assert told["detail"] == {"view": "proof", "event": made.id}
        proof.write_bytes(run("receipt", made.id).stdout_bytes)
        assert verify(run, proof, key)["event"]["id"] == made.id


@pytest.mark.parametrize(
    ("event_id", "said"),
    [
        ("evt_" + "0" * 26, "There is no such event"),
        ("x", "An event id is evt_ and"),
        ("", "An event id is evt_ and"),
        ("tok_pan_x", "An event id is evt_ and"),
    ],
)
def test_a_receipt_of_no_event_is_refused(
    run: Run, urls: DatabaseUrls, event_id: str, said: str
) -> None:
    before = len(recorded(urls))
    result = run("receipt", event_id)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert recorded(urls, before) == []


def test_checkpoint_and_key_go_to_standard_output(run: Run, urls: DatabaseUrls, key: Path) -> None:
    made = now_events(1)
    put(urls, *made)
    shown = run("key")
    assert shown.stdout == key.read_text()
    pinned = VerifierKey.parse(shown.stdout.removesuffix("\n"))
    result = run("checkpoint")
    assert result.exit_code == 0
    checkpoint = open_checkpoint(result.stdout, pinned)
    with psycopg.connect(urls.superuser_url) as connection:
        counted = connection.execute("SELECT count(*) FROM strongroom.audit_events").fetchone()
    assert counted == (checkpoint.size,)


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
