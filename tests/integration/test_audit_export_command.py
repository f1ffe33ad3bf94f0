"""``strongroom audit export``, ``receipt``, ``checkpoint`` and ``key`` on a database, as an
operator uses them: what is written and recorded, and what is refused."""

import os
import pwd
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from tests.auditing import lines
from tests.conftest import DatabaseUrls
from tests.integration.audit_commands import ROOT, Run, now_events, put, recorded, settings, verify
from vault_service.cli.audit import app
from vault_service.domain.checkpoints import open_checkpoint
from vault_service.domain.notes import VerifierKey

OPERATOR = f"operator:{pwd.getpwuid(os.getuid()).pw_name}"


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
