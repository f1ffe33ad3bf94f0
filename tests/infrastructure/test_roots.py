"""Every root is locked; every module says what it takes. `make infra-check` validates them."""

from pathlib import Path

import pytest

from infra.checks.terraform import SOURCE
from tests.infrastructure.terraform import ROOTS, TEST, Terraform, TerraformMissing, copied


def test_the_roots_lock_the_same_provider() -> None:
    locks = {(SOURCE / root / ".terraform.lock.hcl").read_text() for root in ROOTS}
    assert len(locks) == 1
    # Hashes of archives too, so that every platform is held.
    assert locks.pop().count('"zh:') > 10


def test_every_module_begins_with_the_same_deployment() -> None:
    modules = sorted(path for path in (SOURCE / "modules").iterdir())
    assert len(modules) == 8
    assert len({(path / "deployment.tf").read_text() for path in modules}) == 1


def test_a_machine_without_terraform_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TerraformMissing, match=r"Terraform 1\.11"):
        Terraform(tmp_path).run("version")


def test_a_machine_without_the_provider_is_told_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    settings = tmp_path / "settings.tfrc"
    settings.write_text(
        f'provider_installation {{\n  filesystem_mirror {{ path = "{tmp_path}/mirror" }}\n}}\n'
    )
    root = copied(tmp_path) / TEST
    with pytest.raises(TerraformMissing, match="TF_CLI_CONFIG_FILE"):
        Terraform(root, {"TF_CLI_CONFIG_FILE": str(settings)}).init()
