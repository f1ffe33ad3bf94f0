"""Every root is valid and locked; every module says what it takes."""

from pathlib import Path

import pytest

from tests.infrastructure.terraform import ROOTS, SOURCE, Terraform, copied


@pytest.mark.parametrize("root", ROOTS, ids=str)
def test_a_root_is_valid(root: Path, tmp_path: Path) -> None:
    terraform = Terraform(copied(tmp_path) / root)
    (terraform.folder / "local_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
    terraform.init()
    terraform.run("validate", "-no-color")


def test_the_format_is_terraforms_own() -> None:
    Terraform(SOURCE).run("fmt", "-check", "-recursive", "-no-color")


def test_the_roots_lock_the_same_provider() -> None:
    locks = {(SOURCE / root / ".terraform.lock.hcl").read_text() for root in ROOTS}
    assert len(locks) == 1
    # Hashes of archives too, so that every platform is held.
    assert locks.pop().count('"zh:') > 10


def test_every_module_begins_with_the_same_deployment() -> None:
    modules = sorted(path for path in (SOURCE / "modules").iterdir())
    assert len(modules) == 8
    assert len({(path / "deployment.tf").read_text() for path in modules}) == 1
