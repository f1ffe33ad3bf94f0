"""``strongroom audit verify``: exit codes, words, and files that mean harm."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tests.bundles import KEY, SIGNER, SealedLog, event, events, verified
from tests.soak import times
from tests.spoiled_bundles import LOG, SIZES, Spoiled, good, spoiled
from vault_service.cli.audit import app
from vault_service.domain import bundle
from vault_service.verifier.findings import Verdict

VKEY = KEY.encode()
HOSTILE = "evt_\x1b[2J\x1b]0;owned\x07\u202e\x9b31m\r\n"
# What only the server or the client needs, and what would reach out.
BLOCKED = (
    "import sys, socket\n"
    "for name in ('fastapi', 'sqlalchemy', 'psycopg', 'boto3', 'cedarpy', 'structlog',"
    " 'uvicorn', 'alembic', 'starlette', 'opentelemetry'):\n"
    "    sys.modules[name] = None\n"
    "def refuse(*_): raise OSError('no network here')\n"
    "socket.socket.connect = socket.getaddrinfo = refuse\n"
    "sys.argv = ['strongroom', *sys.argv[1:]]\n"
    "from vault_service.cli.app import main\n"
    "main()\n"
)


def run(*arguments: str | Path, file: bytes | list[bytes] | None = None, at: Path) -> Result:
    """The command on a file with this content."""
    path = at / "file"
    if file is not None:
        path.write_bytes(file if isinstance(file, bytes) else b"".join(file))
    return CliRunner().invoke(app, ["verify", str(path), *map(str, arguments)])


def kept_file(at: Path, text: str) -> Path:
    path = at / "kept"
    path.write_text(text)
    return path


def test_a_whole_log_is_told_in_plain_words(tmp_path: Path) -> None:
    kept = kept_file(tmp_path, LOG.checkpoint(40))
    result = run("--key", VKEY, "--since", kept, file=good(), at=tmp_path)
    assert result.exit_code == 0
    assert result.stdout.startswith("VERIFIED: 120 events as sealed, and none left out.\n")
    for part in (
        "Log         vault.example/audit",
        "Leaves      0 to 119: 120 with their events",
        "Events from 2026-03-01T12:00:00.000000Z",
        "         to 2026-03-01T12:01:59.000000Z",
        "Checkpoint  120 leaves, root ",
        "Kept        40 leaves, root ",
        f"Key         vault.example/audit {KEY.key_id.hex()}",
        "at 3 checkpoints",
        "the kept checkpoint.",
    ):
        assert part in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("case", list(spoiled()), ids=lambda case: case.name)
def test_the_exit_code_and_the_report_say_what_is_wrong(case: Spoiled, tmp_path: Path) -> None:
    options: list[str | Path] = []
    if case.kept is not None:
        options = ["--since", kept_file(tmp_path, case.kept)]
    result = run("--key", VKEY, "--json", *options, file=case.lines, at=tmp_path)
    assert result.exit_code == case.exit_code
    report = json.loads(result.stdout)
    assert report["verdict"] == {1: "tampered", 3: "unverifiable"}[case.exit_code]
    first = report["findings"][0]
    assert (first["kind"], first["leaf"], first["event_id"]) == (
        case.kind,
        case.leaf,
        case.event_id,
    )


def test_the_report_for_a_program_has_the_figures(tmp_path: Path) -> None:
    lines = LOG.export(SIZES, withheld={4: "archived"}, unsealed=[event(130)])
    report = json.loads(run("--key", VKEY, "--json", file=lines, at=tmp_path).stdout)
    assert report["verdict"] == "verified"
    assert report["findings"] == []
    assert (report["leaves"], report["events"], report["unsealed"]) == (120, 119, 1)
    assert report["withheld"] == {"archived": {"count": 1, "first": 4, "last": 4}}
    assert report["checkpoint"]["size"] == 120
    assert report["latest"] == "2026-03-01T12:01:59.000000Z"


def test_the_key_may_be_in_a_file(tmp_path: Path) -> None:
    vkey = tmp_path / "log.vkey"
    vkey.write_text(VKEY + "\n")
    assert run("--key", vkey, file=good(), at=tmp_path).exit_code == 0


def test_a_receipt_is_verified_by_the_same_command(tmp_path: Path) -> None:
    receipt = LOG.receipt(17).encode()
    result = run("--key", VKEY, file=receipt, at=tmp_path)
    assert result.exit_code == 0
    assert result.stdout.startswith("VERIFIED: the event is leaf 17 of the log.\n")
    report = json.loads(run("--key", VKEY, "--json", at=tmp_path).stdout)
    assert report["event"]["id"] == event(17).id
    assert report["event"]["tokens"] == 1
    other = LOG.receipt(18).encode()
    mixed = b"\n".join([*receipt.split(b"\n")[:2], *other.split(b"\n")[2:]])
    assert run("--key", VKEY, file=mixed, at=tmp_path).exit_code == 1


def test_what_the_command_was_given_is_refused_with_2(tmp_path: Path) -> None:
    assert run("--key", VKEY, at=tmp_path / "none").exit_code == 2
    assert CliRunner().invoke(app, ["verify", str(tmp_path), "--key", VKEY]).exit_code == 2
    for key in ("", "nothing", VKEY[:-4], VKEY.replace("+", "-"), str(tmp_path), "x" * 5000):
        result = run("--key", key, file=good(), at=tmp_path)
        assert result.exit_code == 2
        assert "--key is neither" in result.stderr
    kept = tmp_path / "kept"
    for text in ("", "nothing", SIGNER.note("nothing\n"), LOG.checkpoint(40)[:-1]):
        kept.write_text(text)
        result = run("--key", VKEY, "--since", kept, file=good(), at=tmp_path)
        assert result.exit_code == 2
        assert "no signed checkpoint" in result.stderr
    kept.write_bytes(b"\xff\xfe")
    assert run("--key", VKEY, "--since", kept, file=good(), at=tmp_path).exit_code == 2
    assert run("--key", VKEY, "--since", tmp_path, file=good(), at=tmp_path).exit_code == 2
    kept = kept_file(tmp_path, LOG.checkpoint(40))
    receipt = LOG.receipt(17).encode()
    result = run("--key", VKEY, "--since", kept, file=receipt, at=tmp_path)
    assert result.exit_code == 2
    assert "--since is for bundles" in result.stderr


def test_a_hostile_file_does_not_drive_the_terminal(tmp_path: Path) -> None:
    forged = event(900, id=HOSTILE, occurred_at=event(0).occurred_at.replace(year=2020))
    twice = [event(3, id=HOSTILE), event(4, id=HOSTILE), event(5, tenant=HOSTILE)]
    header = bundle.Header(1, HOSTILE, HOSTILE, 0, (), HOSTILE)
    log = SealedLog([event(1, id=HOSTILE, principal=HOSTILE, purpose=HOSTILE, case=HOSTILE)])
    files = [
        b"".join(SealedLog(twice).export(unsealed=[forged])),
        bundle.encode(header) + b"".join(SealedLog(twice).export()[1:]),
        log.receipt(0).encode(),
        HOSTILE.encode() * 100,
    ]
    for file in files:
        for options in ([], ["--json"]):
            result = run("--key", VKEY, *options, file=file, at=tmp_path)
            shown = result.output.replace("\n", "")
            assert shown.isprintable()
            assert len(shown) < 10_000


@settings(
    max_examples=times(200, 5000), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from(good()) | st.binary(max_size=80), max_size=12).map(b"".join)
    | st.tuples(st.sampled_from(good()), st.integers(0, 60), st.binary(max_size=40)).map(
        lambda parts: good()[0] + parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
    )
)
@example(b"\x1f\x8b\x08\x00" + bytes(1000))
@example(b"[" * 1_000_000)
@example(good()[0] + b"[" * 1_000_000 + b"\n")
@example(good()[0] + b'{"type":"unsealed","event":' + b"[" * 300_000 + b"}\n")
@example(good()[0] + b'{"type":"unsealed","event":' + b"[" * 300_000 + b"]" * 300_000 + b"}\n")
@example(good()[0] + b"x" * (bundle.MAX_LINE_BYTES + 10))
@example(good()[0] + b"\n" * 10_000)
@example(bundle.encode(bundle.Header(1, "", "", 0, (), "")).replace(b'"origin":""', b'"origin":1'))
@example(bundle.encode(bundle.Header(1, "", "", 5, (bytes(32),), "")))
def test_what_is_no_bundle_ends_in_a_clear_message(tmp_path: Path, data: bytes) -> None:
    result = run("--key", VKEY, file=data, at=tmp_path)
    assert result.exit_code in (1, 3)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.stdout.startswith(("TAMPERED: ", "UNVERIFIABLE: "))
    assert "  1. " in result.stdout


def test_a_line_that_never_ends_is_not_read_to_its_end() -> None:
    """What follows the limit would be read as lines of its own, and was not."""
    lines = [good()[0], b"x" * bundle.MAX_LINE_BYTES + b"{}\n", *good()[1:]]
    report = verified(lines)
    assert [finding.kind.value for finding in report.findings][:1] == ["malformed"]
    assert report.leaves == 0
    assert report.verdict is Verdict.UNVERIFIABLE


def test_the_base_install_verifies_without_a_network(tmp_path: Path) -> None:
    path = tmp_path / "bundle.ndjson"
    path.write_bytes(b"".join(SealedLog(events(20)).export([10, 20])))
    command = [sys.executable, "-W", "error", "-c", BLOCKED, "audit", "verify"]
    done = subprocess.run(
        [*command, path, "--key", VKEY], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("VERIFIED: 20 events")
    path.write_bytes(path.read_bytes().replace(b"chargeback-service", b"chargeback-SERVICE", 1))
    done = subprocess.run(
        [*command, path, "--key", VKEY], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert event(0).id in done.stdout
