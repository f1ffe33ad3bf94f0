"""Runs the programs that checks stand on, and says which one is missing."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from infra.checks.findings import CannotCheck

ROOT: Final = Path(__file__).parents[2]
TOOLS: Final = ROOT / ".venv-checks" / "bin"
"""The environment of ``infra/checks/requirements.lock``."""
_SECONDS: Final = 900.0


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    seconds: float = _SECONDS,
) -> subprocess.CompletedProcess[str]:
    """What the program printed and its exit code, whatever that is.

    ``environment`` is added to this process's. Raises :class:`CannotCheck` where there is no
    such program, or it does not end within ``seconds``.
    """
    words = [str(word) for word in command]
    try:
        return subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        raise CannotCheck(f"{words[0]} is not here; install it, or put it on PATH") from None
    except subprocess.TimeoutExpired:
        raise CannotCheck(f"{words[0]} did not end within {seconds:.0f} s") from None


def tool(name: str) -> Path:
    """A program of the checks' own environment."""
    path = TOOLS / name
    if not path.exists():
        raise CannotCheck(f"{name} is not here; run `make {TOOLS.parent.name}/checks.stamp`")
    return path
