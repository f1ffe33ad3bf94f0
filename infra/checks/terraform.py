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
_OVERRIDE: Final = "offline_override.tf"
_NAMES: Final = "invented.tfstate"
_LEFT_BEHIND: Final = (".terraform", "*.tfstate*", "terraform.tfvars", "*.plan")
_OFFLINE: Final = f"""\
terraform {{
  backend "local" {{
    path = "{_NAMES}"
  }}
}}
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
    """A copy of the modules and roots, gone afterwards, without what real use left there.

    The copy of a copy that has been planned needs neither ``init`` nor names again.
    """
    planned = (source / PRODUCTION / _OVERRIDE).exists()
    ignored = None if planned else shutil.ignore_patterns(*_LEFT_BEHIND)
    with tempfile.TemporaryDirectory(prefix="terraform-") as folder:
        target = Path(folder) / "terraform"
        shutil.copytree(source, target, ignore=ignored, symlinks=True)
        yield target


def init(root: Path, *arguments: str) -> None:
    """Modules and provider, exactly as locked.

    Raises :class:`CannotCheck` where the provider is not to be had.
    """
    code, output, errors = terraform(
        root, "init", "-input=false", "-no-color", "-lockfile=readonly", *arguments
    )
    if code:
        raise CannotCheck(
            f"terraform init failed in {root.name}. If its AWS provider is not here,"
            f" {provider.HELP}.\n{output}{errors}"
        )


def plan(root: Path) -> dict[str, Any]:
    """The plan of an initialized root with its example's values, in JSON."""
    code, output, errors = terraform(
        root,
        *("plan", "-input=false", "-no-color", "-refresh=false", "-lock=false"),
        *("-var-file=terraform.tfvars.example", "-out=checked.plan"),
    )
    if code:
        raise CannotCheck(f"terraform plan failed in {root.name}:\n{output}{errors}")
    code, output, errors = terraform(root, "show", "-json", "checked.plan")
    if code:
        raise CannotCheck(f"terraform show failed in {root.name}:\n{errors}")
    shown: dict[str, Any] = json.loads(output)
    return shown


def production_plan(copied: Path) -> dict[str, Any]:
    """The plan of the production root in a :func:`copy`, with invented names for what AWS names.

    Reaches nothing: neither the state's place nor AWS. A copy of the copy needs one plan
    and not three.
    """
    root = copied / PRODUCTION
    if not (root / _OVERRIDE).exists():
        providers = [_OFFLINE_PROVIDER % "", _OFFLINE_PROVIDER % 'alias = "audit"']
        (root / _OVERRIDE).write_text("\n".join([_OFFLINE, *providers]))
        init(root)
        for types in names.ROUNDS:
            names.write(plan(root), types, root / _NAMES)
    return plan(root)


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
