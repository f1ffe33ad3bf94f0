"""Every root is locked; every module says what it takes. `make infra-check` validates them."""

from infra.checks.terraform import SOURCE
from tests.infrastructure.terraform import ROOTS


def test_the_roots_lock_the_same_provider() -> None:
    locks = {(SOURCE / root / ".terraform.lock.hcl").read_text() for root in ROOTS}
    assert len(locks) == 1
    # Hashes of archives too, so that every platform is held.
    assert locks.pop().count('"zh:') > 10


def test_every_module_begins_with_the_same_deployment() -> None:
    modules = sorted(path for path in (SOURCE / "modules").iterdir())
    assert len(modules) == 8
    assert len({(path / "deployment.tf").read_text() for path in modules}) == 1
