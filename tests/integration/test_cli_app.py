"""The ``strongroom`` command as a process: what it loads, and how it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER_PACKAGES = ("fastapi", "sqlalchemy", "psycopg", "boto3", "cedarpy", "uvicorn", "duckdb")


def python(
    code: str, *, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **(environment or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return python(
        f"import sys; sys.argv[1:] = {list(arguments)!r}\n"
        "from vault_service.cli.app import main; main()",
        environment=environment,
    )


def test_the_commands_need_nothing_of_the_server_to_be_listed() -> None:
    result = python(
        "import sys\n"
        f"for name in {SERVER_PACKAGES!r}: sys.modules[name] = None\n"
        "from vault_service.cli import app\n"
        "import typer\n"
        "from typer.main import get_command\n"
        "group = get_command(app.app)\n"
        "context = typer.Context(group)\n"
        "for name in group.list_commands(context):\n"
        "    assert group.get_command(context, name).get_params(context), name\n"
        "    print(name)\n"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [
        "demo",
        "dev",
        "serve",
        "db",
        "principal",
        "tokenize",
        "detokenize",
        "scan",
        "policy",
        "key",
        "audit",
        "subject",
        "report",
        "doctor",
    ]


def test_help_imports_no_command() -> None:
    result = python(
        "import sys\n"
        "from vault_service.cli.app import app\n"
        "try: app(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "loaded = {'pyarrow', 'httpx2', 'vault_service.client'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    assert result.returncode == 0, result.stderr
    assert "detokenize" in result.stdout


def test_version() -> None:
    result = command("--version")
    assert (result.returncode, result.stdout) == (0, "strongroom 0.1.0\n")


@pytest.mark.parametrize(
    "arguments", [("demoo",), ("audit", "tail", "-n", "0"), ("dev", "--port", "65536"), ("db", "x")]
)
def test_usage_errors_end_with_two(arguments: tuple[str, ...]) -> None:
    result = command(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        ("ValueError('4111111111111111')", 2, "Unexpected ValueError at vault_service.cli."),
        ("ConfigurationError('mend it so')", 2, "mend it so"),
        ("ModuleNotFoundError(name='duckdb')", 2, "duckdb is not installed"),
        ("KeyboardInterrupt()", 130, ""),
    ],
)
def test_a_command_that_breaks_ends_in_one_line_without_values(
    raised: str, code: int, said: str
) -> None:
    result = python(
        "import sys; sys.argv[1:] = ['scan', 'x']\n"
        "from vault_service.cli import app, scan\n"
        "from vault_service.domain.errors import ConfigurationError\n"
        f"def broken(*arguments): raise {raised}\n"
        "scan.scan_paths = broken\n"
        "app.main()\n"
    )
    assert result.returncode == code
    assert result.stdout == ""
    assert said in result.stderr
    assert result.stderr.count("\n") <= 1
    assert "4111111111111111" not in result.stderr


def test_a_command_that_is_told_to_end_leaves_in_order() -> None:
    result = python(
        "import os, signal, sys; sys.argv[1:] = ['scan', 'x']\n"
        "from vault_service.cli import app, scan\n"
        "def told(*arguments):\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally: print('cleaned up')\n"
        "scan.scan_paths = told\n"
        "app.main()\n"
    )
    assert (result.returncode, result.stdout) == (128 + signal.SIGTERM, "cleaned up\n")
    assert result.stderr == ""


@pytest.mark.parametrize("name", ["dev", "doctor", "demo", "audit", "key"])
def test_what_needs_the_server_says_so_where_it_is_not_installed(name: str, tmp_path: Path) -> None:
    arguments = [name, *{"audit": ["tail"], "key": ["list"]}.get(name, [])]
    result = python(
        "import sys\n"
        f"for name in {SERVER_PACKAGES!r}: sys.modules[name] = None\n"
        f"sys.argv[1:] = {arguments!r}\n"
        "from vault_service.cli.app import main; main()\n",
        environment={"STRONGROOM_HOME": str(tmp_path)},
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert "pip install 'strongroom[server" in result.stderr
