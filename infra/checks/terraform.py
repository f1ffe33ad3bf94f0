"""Terraform, offline, on a copy of ``infra/terraform``: nothing is left in the work tree.

Nothing is asked of AWS: the copy overrides the state's place and the providers' credentials.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from infra.checks import names, provider
from infra.checks.commands import ROOT, run
from infra.checks.findings import CannotCheck, Finding

SOURCE: Final = ROOT / "infra" / "terraform"
PRODUCTION: Final = Path("examples/production")
NAMES: Final = "invented.tfstate"
_LEFT_BEHIND: Final = ("*.tfstate*", "terraform.tfvars", "*.plan")
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


def terraform(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """Exit code, output and errors of one command in a folder."""
    added = {**provider.environment(), **(environment or {})}
    done = run(["terraform", *arguments], cwd=folder, environment=added)
    return done.returncode, done.stdout, done.stderr


def roots(source: Path = SOURCE) -> list[Path]:
    """The folders that can be applied: those that say where a provider is, by a lock file."""
    return sorted(path.parent for path in source.glob("**/.terraform.lock.hcl"))


@contextmanager
def copy(source: Path = SOURCE) -> Iterator[Path]:
    """A copy of the modules and roots, gone afterwards. An initialized root stays so."""
    with tempfile.TemporaryDirectory(prefix="terraform-") as folder:
        target = Path(folder) / "terraform"
        ignored = shutil.ignore_patterns(*_LEFT_BEHIND)
        shutil.copytree(source, target, ignore=ignored, symlinks=True)
        kept = source / PRODUCTION / NAMES
        if kept.exists():
            shutil.copy(kept, target / PRODUCTION)
        yield target


def init(root: Path) -> None:
    """Modules and provider, exactly as locked, without the state's place.

    Raises :class:`CannotCheck` where the provider is not to be had.
    """
    code, output, errors = terraform(
        root, "init", "-input=false", "-no-color", "-backend=false", "-lockfile=readonly"
    )
    if code:
        raise CannotCheck(
            f"terraform init failed in {root.name}. If its AWS provider is not here,"
            f" {provider.HELP}.\n{output}{errors}"
        )


def offline(root: Path) -> None:
    """Have a root keep its state beside it, and its providers ask nobody anything."""
    providers = [_OFFLINE_PROVIDER % "", _OFFLINE_PROVIDER % 'alias = "audit"']
    (root / "offline_override.tf").write_text("\n".join([_OFFLINE, *providers]))
    if not (root / ".terraform").exists():
        code, output, errors = terraform(
            root, "init", "-input=false", "-no-color", "-lockfile=readonly"
        )
        if code:
            raise CannotCheck(
                f"terraform init failed in {root.name}. If its AWS provider is not here,"
                f" {provider.HELP}.\n{output}{errors}"
            )


def plan(root: Path, state: Path | None = None) -> dict[str, Any]:
    """The plan of a root that is :func:`offline`, in JSON, against a state if one is given."""
    arguments = ["plan", "-input=false", "-no-color", "-refresh=false", "-lock=false"]
    arguments += ["-var-file=terraform.tfvars.example", "-out=checked.plan"]
    arguments += [f"-state={state}"] if state else []
    code, output, errors = terraform(root, *arguments)
    if code:
        raise CannotCheck(f"terraform plan failed in {root.name}:\n{output}{errors}")
    code, output, errors = terraform(root, "show", "-json", "checked.plan")
    if code:
        raise CannotCheck(f"terraform show failed in {root.name}:\n{errors}")
    shown: dict[str, Any] = json.loads(output)
    return shown


def production_plan(copied: Path) -> dict[str, Any]:
    """The plan of the production root in a copy, with invented names for what AWS names.

    Leaves the state with those names beside the root: a changed copy of the copy takes it, so
    that it needs one plan and not two.
    """
    root = copied / PRODUCTION
    offline(root)
    state = root / NAMES
    if not state.exists():
        names.write(plan(root), state)
    return plan(root, state)


def formatting(source: Path = SOURCE) -> list[Finding]:
    """Files that ``terraform fmt`` would change."""
    code, output, errors = terraform(source, "fmt", "-check", "-recursive", "-no-color")
    if code and errors.strip():
        raise CannotCheck(f"terraform fmt failed:\n{errors}")
    return [
        Finding("terraform-fmt", line, "is not formatted; run terraform fmt -recursive")
        for line in output.splitlines()
    ]


def validate(root: Path) -> list[Finding]:
    """What ``terraform validate`` has to say of an initialized root."""
    _, output, errors = terraform(root, "validate", "-json", "-no-color")
    try:
        diagnostics = json.loads(output)["diagnostics"]
    except ValueError:
        raise CannotCheck(f"terraform validate failed:\n{output}{errors}") from None
    return [
        Finding(
            "terraform-validate",
            f"{each.get('range', {}).get('filename', root.name)}",
            f"{each['severity']}: {each['summary']}. {each.get('detail', '')}",
        )
        for each in diagnostics
    ]
