"""The lock files: every package by version and hash, and nothing of the machine that made them."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_PIN = re.compile(r"([a-z0-9][a-z0-9-]*)==([0-9][0-9a-z.]*)( ; [^\\]+)? \\")
_HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def _pins(name: str) -> dict[tuple[str, str], int]:
    """How many hashes each pinned package and version has."""
    pins: dict[tuple[str, str], int] = {}
    last = None
    for line in (ROOT / name).read_text().splitlines():
        if line.startswith("#"):
            continue
        pin = _PIN.fullmatch(line)
        if pin:
            last = (pin[1], pin[2])
            pins[last] = 0
        else:
            assert _HASH.fullmatch(line), line
            assert last is not None
            pins[last] += 1
    return pins


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_package_is_pinned_by_hash(name: str) -> None:
    pins = _pins(name)
    assert pins
    assert all(pins.values())


def test_development_has_the_same_versions_as_production() -> None:
    assert _pins("requirements.lock").items() <= _pins("requirements-dev.lock").items()


def test_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        asked += extra
    asked += project["dependency-groups"]["build"]
    names = {re.split(r"[\[>=;]", line)[0].strip().replace("_", "-").lower() for line in asked}
    assert names <= {name for name, _ in _pins("requirements.lock")}
