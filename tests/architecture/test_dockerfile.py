"""The container image's recipe keeps what the deployment relies on."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text()
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [line.strip() for line in joined.splitlines()]
    pairs = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    return [(name, rest) for name, rest in pairs]


def _last_stage() -> list[tuple[str, str]]:
    instructions = _instructions()
    start = max(i for i, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[start:]


def _argument(name: str) -> str:
    return [rest for other, rest in _last_stage() if other == name][-1]


def test_is_multi_stage_and_the_last_stage_installs_nothing() -> None:
    assert sum(name == "FROM" for name, _ in _instructions()) >= 2
    assert not [rest for name, rest in _last_stage() if name in {"RUN", "ADD"}]


def test_dependencies_are_pinned_by_hash() -> None:
    # PCI-DSS 6.3.2: known third-party components.
    installs = [json.loads(rest) for name, rest in _instructions() if name == "RUN"]
    installs = [words for words in installs if "install" in words]
    assert installs
    for words in installs:
        assert "--no-deps" in words
        assert "--require-hashes" in words or "." in words


def test_runs_as_a_numeric_user_that_is_not_root() -> None:
    # A number, so that an orchestrator can see that it is not root.
    uid, gid = _argument("USER").split(":")
    assert int(uid) >= 1000
    assert int(gid) >= 1000


@pytest.mark.parametrize("name", ["ENTRYPOINT", "CMD", "HEALTHCHECK", "RUN"])
def test_needs_no_shell(name: str) -> None:
    for other, rest in _instructions():
        if other == name:
            words = json.loads(rest[rest.index("[") :])
            assert words
            assert not {"sh", "bash", "-c"} & {Path(word).name for word in words}


def test_has_a_health_check() -> None:
    assert "vault_service.healthcheck" in _argument("HEALTHCHECK")


def test_writes_no_byte_code_and_is_safe_by_default() -> None:
    environment = _argument("ENV")
    assert "PYTHONDONTWRITEBYTECODE=1" in environment
    assert "STRONGROOM_ENV=prod" in environment


def test_build_context_is_an_allow_list() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    copied = {
        source.strip("./")
        for name, rest in _instructions()
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert copied == {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
