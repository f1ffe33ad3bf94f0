"""The steps of ``make infra-check``, in the order in which they run."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.checks import (
    checkov,
    dockerfile,
    exemptions,
    licences,
    packages,
    rules,
    rules_identity,
    rules_keys,
    rules_network,
    rules_record,
    rules_service,
    sbom,
    secret_scan,
    terraform,
    terraform_style,
)
from infra.checks.commands import ROOT, run
from infra.checks.findings import Finding, Outcome
from infra.checks.plan import Plan

SOURCE: Final = terraform.SOURCE
_FOLDER: Final = "tests/infrastructure"
_OWN_STEP: Final = ("checks", "image", "mutations")
_TESTS_SECONDS: Final = 1800.0
RULE_MODULES: Final = (rules_network, rules_keys, rules_identity, rules_record, rules_service)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked: a folder of modules and roots; a plan in JSON, if one is given."""

    source: Path
    plan: Path | None = None


Step = Callable[[Subject], Outcome]


def formatting(subject: Subject) -> Outcome:
    """``terraform fmt``."""
    found = terraform.formatting(subject.source)
    return Outcome(f"{len(list(subject.source.rglob('*.tf')))} files", found)


def validation(subject: Subject) -> Outcome:
    """``terraform validate`` of every root."""
    findings: list[Finding] = []
    with terraform.copy(subject.source) as copied:
        roots = terraform.roots(copied)
        for root in roots:
            terraform.init(root, "-backend=false")
            findings += terraform.validate(root)
    return Outcome(f"{len(roots)} roots", findings)


def plan(subject: Subject) -> Outcome:
    """The rules over the plan of the production root."""
    if subject.plan is not None:
        planned = Plan.read(subject.plan)
    else:
        with terraform.copy(subject.source) as copied:
            planned = Plan(terraform.production_plan(copied))
    findings = rules.judge(planned, exemptions.read(rules.EXCEPTIONS))
    looked_at = f"{len(rules.RULES)} rules over {len(planned.resources)} resources"
    return Outcome(looked_at, findings)


def style(subject: Subject) -> Outcome:
    """Rules of our own over the Terraform's text."""
    return terraform_style.check(subject.source)


def suppressions(subject: Subject) -> Outcome:
    """checkov."""
    return checkov.check(subject.source)


def recipe(_: Subject) -> Outcome:
    """hadolint, and what the Dockerfile promises."""
    return dockerfile.check()


def bill(_: Subject) -> Outcome:
    """The SBOM is equal to the lock, and to what the packages say."""
    wanted = packages.of_image()
    made = sbom.made(packages.described(wanted), licences.rules())
    return Outcome(f"{len(wanted)} packages", sbom.check(wanted, made))


def licensing(_: Subject) -> Outcome:
    """Every licence is known, allowed and listed."""
    found = packages.described(packages.of_image())
    return Outcome(f"{len(found)} packages", licences.check(found, licences.rules()))


def write() -> None:
    """Make the SBOM and the licence list anew."""
    found, known = packages.described(packages.of_image()), licences.rules()
    sbom.FILE.write_text(sbom.made(found, known))
    licences.LIST.write_text(licences.table(found, known))


def secrets(_: Subject) -> Outcome:
    """No secret in any file."""
    return secret_scan.scan()


def _tests(*paths: str) -> Step:
    """A step that runs tests; each that fails is a finding, with all that was printed."""

    def step(_: Subject) -> Outcome:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths]
        done = run(command, seconds=_TESTS_SECONDS)
        lines = done.stdout.strip().splitlines()
        failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
        findings = [
            Finding("test", line.split(" ", 2)[1], "fails too" if number else done.stdout)
            for number, line in enumerate(failed)
        ]
        if done.returncode and not findings:
            findings.append(Finding("test", paths[0], f"{done.stdout}{done.stderr}"))
        return Outcome(lines[-1] if lines else "nothing", findings)

    return step


def _others() -> list[str]:
    """The tests of the infrastructure that have no step of their own."""
    return sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / _FOLDER).glob("test_*.py")
        if path.stem.removeprefix("test_") not in _OWN_STEP
    )


STEPS: Final[Mapping[str, Step]] = {
    "secrets": secrets,
    "licences": licensing,
    "sbom": bill,
    "dockerfile": recipe,
    "terraform-fmt": formatting,
    "terraform-style": style,
    "terraform-validate": validation,
    "checkov": suppressions,
    "plan": plan,
    "mutations": _tests("-n2", "--dist=worksteal", f"{_FOLDER}/test_mutations.py"),
    "account": _tests("-n2", *_others()),
    "checks": _tests(f"{_FOLDER}/test_checks.py"),
    "image": _tests(f"{_FOLDER}/test_image.py"),
    "lambdas": _tests("infra/serverless"),
}
