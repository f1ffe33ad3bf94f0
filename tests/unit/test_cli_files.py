"""``strongroom tokenize`` and ``detokenize``: what they print and how they exit."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.fakes.scripted_server import ScriptedServer, problem
from tests.fakes.vault_over_http import MemoryVault
from vault_service.cli import files

app = typer.Typer()
app.command()(files.tokenize)
app.command()(files.detokenize)


@pytest.fixture
def memory() -> MemoryVault:
    return MemoryVault()


@pytest.fixture
def server(memory: MemoryVault, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with ScriptedServer(memory) as running:
        monkeypatch.setenv("STRONGROOM_URL", running.url)
        monkeypatch.setenv("STRONGROOM_TOKEN", "srk_secret_key")
        yield running


@pytest.fixture
def source(tmp_path: Path, server: ScriptedServer) -> Path:
    path = tmp_path / "in.csv"
    path.write_text("id,email\n1,a@example.com\n2,b@example.com\n3,a@example.com\n")
    (tmp_path / "map.yml").write_text("columns:\n  email: {data_class: email}\n")
    return path


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_there_and_back(source: Path, tmp_path: Path) -> None:
    done = _run("tokenize", source, "--map", tmp_path / "map.yml", "-o", tmp_path / "t.parquet")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "3 rows read, 3 written" in done.stdout
    assert "2 of them distinct; 0 rows rejected" in done.stdout
    arguments = ["--column", "email", "--purpose", "chargeback", "-o", tmp_path / "back.csv"]
    masked = _run("detokenize", tmp_path / "t.parquet", *arguments)
    assert masked.exit_code == 0
    assert "****" in (tmp_path / "back.csv").read_text()
    assert _run("detokenize", tmp_path / "t.parquet", *arguments, "--form", "plain").exit_code == 0
    assert (tmp_path / "back.csv").read_text() == source.read_text()


def test_rejects_exit_with_one_and_json_says_where(source: Path, tmp_path: Path) -> None:
    source.write_text("id,email\n1,bad-canary\n2,good\n")
    output = tmp_path / "t.csv"
    done = _run("tokenize", source, "--column", "email=email", "-o", output, "--json")
    assert done.exit_code == 1
    figures = json.loads(done.stdout)
    assert (figures["rows"], figures["written"], figures["rejected"]) == (2, 1, 1)
    assert figures["rejects_file"] == str(tmp_path / "t.csv.rejects.csv")
    assert "canary" not in Path(figures["rejects_file"]).read_text() + done.output


def test_a_refusal_names_the_request_and_the_mend(
    source: Path, tmp_path: Path, memory: MemoryVault
) -> None:
    memory.denied = True
    done = _run("tokenize", source, "--column", "email=email", "-o", tmp_path / "t.csv")
    assert done.exit_code == 2
    assert "access_denied" in done.stderr
    assert "request req-1" in done.stderr
    assert "policy explain" in done.stderr
    assert "srk_secret_key" not in done.output
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--column", "email=email"], "-o OUT"),
        (["-o", "{tmp}/t.csv"], "--map MAP.yml or --column"),
        (["--column", "email", "-o", "{tmp}/t.csv"], "needs a data_class"),
        (["--column", "mail=email", "-o", "{tmp}/t.csv"], "no column mail; it has: id, email"),
        (["--column", "email=email", "-o", "{tmp}/t.txt"], "must end in one of"),
        (["--column", "email=email", "-o", "{tmp}/none/t.csv"], "No such file or directory"),
        (["--map", "{tmp}/none.yml", "-o", "{tmp}/t.csv"], "No such file or directory"),
        (["--column", "email=email", "-o", "{tmp}/in.csv"], "another file"),
    ],
)
def test_usage_errors_exit_with_two(
    source: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = _run("tokenize", source, *[text.replace("{tmp}", str(tmp_path)) for text in arguments])
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "map.yml"]


def test_a_missing_file_or_key_exits_with_two(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ScriptedServer
) -> None:
    options = ["--column", "email=email", "-o", tmp_path / "t.csv"]
    gone = _run("tokenize", tmp_path / "gone.csv", *options)
    assert (gone.exit_code, "No such file" in gone.stderr) == (2, True)
    server.faults.append(problem(401, "credential_expired"))
    expired = _run("tokenize", source, *options)
    assert (expired.exit_code, "rotate-key" in expired.stderr) == (2, True)
    monkeypatch.delenv("STRONGROOM_TOKEN")
    nameless = _run("tokenize", source, *options)
    assert (nameless.exit_code, "STRONGROOM_TOKEN" in nameless.stderr) == (2, True)


def test_a_dry_run_sends_nothing(
    source: Path, tmp_path: Path, memory: MemoryVault, server: ScriptedServer
) -> None:
    ready = _run("tokenize", source, "--column", "email=email", "--dry-run")
    assert (ready.exit_code, ready.stdout) == (0, "ready to run, as loader; nothing was sent\n")
    memory.denied = True
    denied = _run("tokenize", source, "--column", "email=email", "--dry-run", "--json")
    assert denied.exit_code == 2
    assert "no right to tokenize" in json.loads(denied.stdout)["problems"][0]
    assert not {"/v1/tokenize", "/v1/detokenize"} & {seen.path for seen in server.seen}


def test_an_interruption_leaves_nothing(
    source: Path, tmp_path: Path, server: ScriptedServer
) -> None:
    def interrupt(*_: object) -> object:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files._ProgressBar, "__call__", interrupt)
        done = _run("tokenize", source, "--column", "email=email", "-o", tmp_path / "t.csv")
    assert done.exit_code == 2
    assert "run the same command again" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "map.yml"]


def test_the_commands_work_with_the_base_install() -> None:
    code = (
        "import sys, vault_service.cli.files; heavy = {'fastapi', 'starlette', 'sqlalchemy', "
        "'psycopg', 'boto3', 'botocore', 'cedarpy', 'aws_encryption_sdk'}; "
        "found = sorted(heavy & set(sys.modules)); print(found); sys.exit(bool(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
