"""Terraform on a copy of ``infra/terraform``, so that nothing is left in the work tree.

Where the provider comes from: ``infra/checks/provider.py``.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from infra.checks import provider
from infra.checks.terraform import PRODUCTION, SOURCE

TEST: Final = Path("test")
ROOTS: Final = (PRODUCTION, TEST)


class TerraformMissing(RuntimeError):
    """Terraform, or its AWS provider, is not to be had here."""


@dataclass
class Terraform:
    """Terraform in the root ``folder``; ``environment`` is added to that of this process."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(
        self, *arguments: str, codes: tuple[int, ...] = (0,)
    ) -> subprocess.CompletedProcess[str]:
        """What a command printed; ``AssertionError`` with all of it where it ends with another
        code than one of ``codes``."""
        done = subprocess.run(
            [executable(), *arguments],
            cwd=self.folder,
            env={**os.environ, **provider.environment(), **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in codes, f"terraform {arguments[0]}: {done.stdout}{done.stderr}"
        return done

    def init(self) -> None:
        """Modules and provider, exactly as locked; :class:`TerraformMissing` where the provider
        cannot be had."""
        done = self.run("init", "-input=false", "-no-color", "-lockfile=readonly", codes=(0, 1))
        if done.returncode:
            raise TerraformMissing(
                "terraform init failed. If its AWS provider is not here,"
                f" {provider.HELP}.\n{done.stdout}{done.stderr}"
            )

    def show(self, plan: str) -> dict[str, Any]:
        """A saved plan as JSON, in Terraform's own format."""
        shown: dict[str, Any] = json.loads(self.run("show", "-json", plan).stdout)
        return shown


def executable() -> str:
    """The ``terraform`` of the path; :class:`TerraformMissing` where there is none."""
    found = shutil.which("terraform")
    if found is None:
        raise TerraformMissing("Terraform 1.11 or newer is needed on the path.")
    return found


def copied(target: Path, source: Path = SOURCE) -> Path:
    """A copy of ``infra/terraform`` below ``target``, without what a run has left there."""
    ignored = shutil.ignore_patterns(".terraform", "*.tfstate*", "terraform.tfvars", "*.plan")
    return Path(shutil.copytree(source, target / "terraform", ignore=ignored))
