"""Whatever opens the vault's account makes the check fail, by name: each rule is seen to bite.

The check is run as ``make infra-check`` runs it, on a copy of ``infra/terraform`` that has
been broken in one way (``mutations.yml``).
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from infra.checks import rules, steps, terraform
from infra.checks.commands import ROOT
from infra.checks.exemptions import Exemption
from infra.checks.plan import Plan

_TABLE: Final[dict[str, list[dict[str, str]]]] = yaml.safe_load(
    Path(__file__).with_name("mutations.yml").read_text()
)


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to break ``file``; ``rule`` must then be broken at ``place``."""

    what: str
    file: str
    new: str
    rule: str
    place: str
    old: str = ""

    def apply(self, copied: Path) -> None:
        path = copied / "modules" / self.file
        text = path.read_text()
        if self.old:
            assert self.old in text, f"{self.what}: {self.file} has no {self.old!r}"
            path.write_text(text.replace(self.old, self.new, 1))
        else:
            path.write_text(f"{text}\n{self.new}\n")

    def seen_in(self, output: str) -> bool:
        lines = (line.strip() for line in output.splitlines())
        return any(
            line.startswith(f"{self.rule}: ") and f"{self.place}: " in line for line in lines
        )


ALONE: Final = [Mutation(**entry) for entry in _TABLE["alone"]]
TOGETHER: Final = [Mutation(**entry) for entry in _TABLE["together"]]


@pytest.fixture(scope="module")
def pristine() -> Iterator[Path]:
    """A copy that nothing has broken, initialized and planned once."""
    with terraform.copy() as copied:
        terraform.production_plan(copied)
        yield copied


def broken(pristine: Path, folder: Path, *mutations: Mutation) -> Path:
    copied = folder / "terraform"
    shutil.copytree(pristine, copied, symlinks=True)
    for mutation in mutations:
        mutation.apply(copied)
    return copied


def check(source: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "infra.checks", "plan", "--terraform", source],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_not_broken_passes(pristine: Path) -> None:
    done = check(pristine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("ok   plan: ")


@pytest.mark.parametrize("mutation", ALONE, ids=lambda mutation: mutation.what)
def test_one_break_fails_the_check_by_name(
    pristine: Path, tmp_path: Path, mutation: Mutation
) -> None:
    done = check(broken(pristine, tmp_path, mutation))
    assert done.returncode == 1, done.stdout + done.stderr
    assert mutation.seen_in(done.stdout), done.stdout


def test_each_of_many_breaks_is_named(pristine: Path, tmp_path: Path) -> None:
    done = check(broken(pristine, tmp_path, *TOGETHER))
    assert done.returncode == 1, done.stdout + done.stderr
    unseen = [mutation.what for mutation in TOGETHER if not mutation.seen_in(done.stdout)]
    assert not unseen, done.stdout


def test_every_rule_has_a_mutation() -> None:
    mutated = {mutation.rule for mutation in (*ALONE, *TOGETHER)}
    assert mutated == {rules.name_of(each) for each in rules.RULES}
    assert {each.__module__ for each in rules.RULES} == {m.__name__ for m in steps.RULE_MODULES}


def test_an_exception_that_excuses_nothing_is_a_finding() -> None:
    nothing: dict[str, Any] = {"resource_changes": [], "configuration": {"root_module": {}}}
    exemption = Exemption("no-gateway", "aws_internet_gateway.x", "there is none")
    (finding,) = rules.judge(Plan(nothing), [exemption], [])
    assert finding.rule == "exceptions-are-needed"
    assert finding.where == "no-gateway at aws_internet_gateway.x"
