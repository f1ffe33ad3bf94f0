"""The steps of ``make infra-check``, in the order in which they run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.checks import (
    rules,
    rules_identity,
    rules_keys,
    rules_network,
    rules_record,
    rules_service,
    secret_scan,
    terraform,
)
from infra.checks.findings import Finding, Outcome
from infra.checks.plan import Plan

SOURCE: Final = terraform.SOURCE
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
    findings = rules.judge(planned, rules.exemptions())
    looked_at = f"{len(rules.RULES)} rules over {len(planned.resources)} resources"
    return Outcome(looked_at, findings)


def secrets(_: Subject) -> Outcome:
    """No secret in any file."""
    return secret_scan.scan()


STEPS: Final[Mapping[str, Step]] = {
    "terraform-fmt": formatting,
    "terraform-validate": validation,
    "plan": plan,
    "secrets": secrets,
}
