"""Terraform on a copy of ``infra/terraform``, so that nothing is left in the work tree.

The provider comes from where the environment's own CLI configuration says
(``TF_CLI_CONFIG_FILE``, ``~/.terraformrc``): a mirror, or the registry.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

SOURCE: Final = Path(__file__).parents[2] / "infra" / "terraform"
PRODUCTION: Final = Path("examples/production")
TEST: Final = Path("test")
ROOTS: Final = (PRODUCTION, TEST)

# A plan that reaches nothing: no account is asked who it is, no state is looked for.
_OFFLINE: Final = """\
terraform {
  backend "local" {}
}
"""
_OFFLINE_PROVIDER: Final = """\
provider "aws" {
  %s
  access_key                  = "offline"
  secret_key                  = "offline"
  allowed_account_ids         = null
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true

  assume_role {
    role_arn = ""
  }
}
"""


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
            env={**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
            | dict(self.environment),
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
                "terraform init failed. The AWS provider comes from the registry, or from a mirror"
                " that the file of TF_CLI_CONFIG_FILE (or ~/.terraformrc) names under"
                f" provider_installation.\n{done.stdout}{done.stderr}"
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


def production_plan(copy: Path) -> dict[str, Any]:
    """The plan of the production root in a ``copy`` of ``infra/terraform``, as JSON, for the
    accounts of its example. Reaches nothing."""
    root = copy / PRODUCTION
    providers = [_OFFLINE_PROVIDER % "", _OFFLINE_PROVIDER % 'alias = "audit"']
    (root / "offline_override.tf").write_text("\n".join([_OFFLINE, *providers]))
    terraform = Terraform(root)
    terraform.init()
    terraform.run(
        "plan",
        "-input=false",
        "-no-color",
        "-refresh=false",
        "-lock=false",
        "-var-file=terraform.tfvars.example",
        "-out=production.plan",
    )
    return terraform.show("production.plan")
