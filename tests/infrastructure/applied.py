"""The test root, applied against moto's server: two accounts, from nothing to nothing."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml

from tests.infrastructure.terraform import TEST, Terraform

GAPS: Final[Mapping[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "moto_gaps.yml").read_text()
)
MISSING: Final = frozenset(GAPS["missing"])
_CHANGED: Final = 2
"""What ``terraform plan -detailed-exitcode`` ends with where there is something to do."""


@dataclass
class Applied:
    """A copy of ``infra/terraform`` whose test root is applied at ``endpoint``."""

    copy: Path
    endpoint: str

    @cached_property
    def terraform(self) -> Terraform:
        """Terraform in the test root, ready to run."""
        for module, resources in GAPS["forgotten"].items():
            override = self.copy / "modules" / module / "moto_override.tf"
            override.write_text("".join(_ignoring(*each) for each in resources.items()))
        terraform = Terraform(self.copy / TEST, {"TF_VAR_endpoint": self.endpoint})
        terraform.init()
        return terraform

    @cached_property
    def targets(self) -> Sequence[str]:
        """Arguments that leave out what moto does not play. Terraform has none to exclude by,
        so all else is named."""
        return [
            f"-target={each['address']}"
            for each in managed(self.first_plan)
            if each["type"] not in MISSING
        ]

    @cached_property
    def first_plan(self) -> dict[str, Any]:
        """The plan from zero, of everything."""
        self.terraform.run("plan", "-input=false", "-no-color", "-lock=false", "-out=first.plan")
        return self.terraform.show("first.plan")

    def apply(self) -> None:
        """Make what moto plays."""
        self.terraform.run(
            "apply",
            "-auto-approve",
            "-input=false",
            "-no-color",
            "-lock=false",
            "-parallelism=20",
            *self.targets,
        )

    def plan_again(self, *arguments: str) -> tuple[bool, dict[str, Any]]:
        """Whether another apply would change anything, and its plan."""
        done = self.terraform.run(
            "plan",
            "-input=false",
            "-no-color",
            "-lock=false",
            "-detailed-exitcode",
            "-out=again.plan",
            *arguments,
            *self.targets,
            codes=(0, _CHANGED),
        )
        return done.returncode == _CHANGED, self.terraform.show("again.plan")

    def destroy(self) -> None:
        """Take everything away."""
        self.terraform.run(
            "destroy",
            "-auto-approve",
            "-input=false",
            "-no-color",
            "-lock=false",
            "-parallelism=20",
        )

    def state(self) -> dict[str, dict[str, Any]]:
        """What there is, by address."""
        return by_address(json.loads(self.terraform.run("show", "-json").stdout))


def by_address(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The resources, not the data, of a state in JSON."""
    root = state.get("values", {}).get("root_module", {})
    return {each["address"]: each for each in _resources(root)}


def managed(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The resources, not the data, that a plan changes or leaves."""
    return [each for each in plan["resource_changes"] if each["mode"] == "managed"]


def changed(plan: Mapping[str, Any]) -> set[str]:
    """Addresses of what a plan would change."""
    return {each["address"] for each in managed(plan) if each["change"]["actions"] != ["no-op"]}


def _ignoring(resource: str, attributes: Sequence[str]) -> str:
    kind, name = resource.split(".")
    return (
        f'resource "{kind}" "{name}" {{\n  lifecycle {{\n'
        f"    ignore_changes = [{', '.join(attributes)}]\n  }}\n}}\n"
    )


def _resources(module: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for each in module.get("resources", ()):
        if each["mode"] == "managed":
            yield each
    for child in module.get("child_modules", ()):
        yield from _resources(child)
