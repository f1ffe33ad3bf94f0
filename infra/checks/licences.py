"""The licences of what the image holds: read from the packages, allowed by name, listed.

``licences.yml`` says which are allowed and why, and what a package is under whose metadata
does not say it as SPDX does. docs/licences.md is made from it: ``python -m infra.checks
--write licences``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from license_expression import (
    ExpressionError,
    LicenseExpression,
    LicenseSymbol,
    get_spdx_licensing,
)

from infra.checks.commands import ROOT
from infra.checks.findings import Finding
from infra.checks.packages import Package

RULES: Final = Path(__file__).with_name("licences.yml")
LIST: Final = ROOT / "docs" / "licences.md"
_SPDX: Final = get_spdx_licensing()
_HEAD: Final = """\
# Licences

What the container image holds, and the Lambdas' archive, which is a part of it. Made by
`make sbom` from the packages themselves; `infra/checks/licences.yml` says what is allowed and why.

| package | version | licence |
|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """What ``licences.yml`` says: licences by reason, words of metadata, packages."""

    allowed: Mapping[str, str]
    spelled: Mapping[str, str]
    declared: Mapping[str, Mapping[str, str]]


def rules(path: Path = RULES) -> Rules:
    """The rules of the file."""
    read: dict[str, Any] = yaml.safe_load(path.read_text())
    return Rules(read["allowed"], read["spelled"], read["declared"])


def licence_of(package: Package, known: Rules) -> str:
    """The SPDX expression of a package's licence; empty where nobody says it."""
    if package.name in known.declared:
        return known.declared[package.name]["licence"]
    metadata = package.distribution.metadata
    texts = [*metadata.get_all("License-Expression", []), *metadata.get_all("License", [])]
    texts += [text.rpartition(" :: ")[2] for text in metadata.get_all("Classifier") or ()
              if text.startswith("License :: ")]  # fmt: skip
    for text in map(str, texts):
        spelled = known.spelled.get(text.strip(), text.strip())
        if spelled and _is_expression(spelled):
            return spelled
    return ""


def check(packages: Sequence[Package], known: Rules, listed: Path = LIST) -> list[Finding]:
    """Licences that are not allowed or not said, what no package needs, and an old list."""
    findings: list[Finding] = []
    for package in packages:
        licence = licence_of(package, known)
        if not licence:
            what = "does not say its licence; read it, and put it under declared in licences.yml"
            findings.append(Finding("licence-is-known", package.name, what))
        elif not _allowed(licence, known):
            what = f"is under {licence}, which is not allowed; take another package"
            findings.append(Finding("licence-is-allowed", package.name, what))
    names = {package.name for package in packages}
    findings += [
        Finding("licence-is-known", name, "is declared and not in the image; remove it")
        for name in sorted(known.declared.keys() - names)
    ]
    if not listed.exists() or listed.read_text() != table(packages, known):
        what = "is not what the packages say; run `make sbom`"
        findings.append(Finding("licences-are-listed", listed.name, what))
    return findings


def table(packages: Sequence[Package], known: Rules) -> str:
    """docs/licences.md."""
    rows = (
        f"| {each.name} | {each.version} | {licence_of(each, known) or '?'} |\n"
        for each in packages
    )
    return _HEAD + "".join(rows)


def _is_expression(text: str) -> bool:
    try:
        return not _SPDX.validate(text).errors
    except ExpressionError:
        return False


def _allowed(text: str, known: Rules) -> bool:
    """Whether it may be used: of alternatives one will do, of what is joined all must."""
    return _holds(_SPDX.parse(text), known)


def _holds(expression: LicenseExpression, known: Rules) -> bool:
    if isinstance(expression, LicenseSymbol):
        return expression.key in known.allowed
    parts = [_holds(each, known) for each in expression.args]
    return any(parts) if expression.operator.strip() == "OR" else all(parts)
