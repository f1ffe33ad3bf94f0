"""The bill of materials: infra/sbom.cdx.json, CycloneDX 1.6, of what the image holds.

Made from the lock and the packages' own metadata by ``make sbom``; equal to the lock, or the
check fails. PCI-DSS 6.3.2. The same lock gives the same bytes.
"""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from infra.checks import licences
from infra.checks.commands import ROOT
from infra.checks.findings import CannotCheck, Finding
from infra.checks.packages import Package

FILE: Final = ROOT / "infra" / "sbom.cdx.json"
_NAMESPACE: Final = UUID("6f1a3d0e-6f0e-5b7e-9a34-0d5a3f6f2d11")


def made(packages: Sequence[Package], known: licences.Rules) -> str:
    """The bill of these packages, as JSON."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    factory = LicenseFactory()
    components = {
        each.name: Component(
            type=ComponentType.LIBRARY,
            name=each.name,
            version=each.version,
            bom_ref=f"{each.name}=={each.version}",
            purl=PackageURL("pypi", name=each.name, version=each.version),
            licenses=[factory.make_from_string(licence)]
            if (licence := licences.licence_of(each, known))
            else [],
        )
        for each in packages
    }
    root = Component(
        type=ComponentType.APPLICATION,
        name=project["name"],
        version=project["version"],
        bom_ref=project["name"],
        licenses=[factory.make_from_string(project["license"])],
    )
    identity = " ".join(f"{each.name}=={each.version}" for each in packages)
    bom = Bom(serial_number=uuid5(_NAMESPACE, identity), components=components.values())
    bom.metadata.component = root
    bom.register_dependency(root, components.values())
    for each in packages:
        needed = [components[name] for name in each.requires() if name in components]
        bom.register_dependency(components[each.name], needed)
    bill: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    # When it was made says nothing about what it is made of.
    bill["metadata"].pop("timestamp", None)
    return json.dumps(bill, indent=1, sort_keys=True) + "\n"


def listed(path: Path = FILE) -> dict[str, str]:
    """The packages of a bill, with their versions; :class:`CannotCheck` where it is none."""
    try:
        bill = json.loads(path.read_bytes())
        return {each["name"]: each["version"] for each in bill["components"]}
    except (OSError, ValueError, KeyError) as error:
        raise CannotCheck(f"{path.name} cannot be read: {error!r}; run `make sbom`") from None


def check(wanted: dict[str, str], bill: str, path: Path = FILE) -> list[Finding]:
    """Where the bill in the file and what the lock names are not the same."""
    found = listed(path)
    differing = {
        name: f"is {found.get(name, 'not there')} in the SBOM and {wanted.get(name, 'not there')}"
        " in the lock; run `make sbom`"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    }
    findings = [Finding("sbom-equals-the-lock", name, what) for name, what in differing.items()]
    if not findings and path.read_text() != bill:
        what = "has other licences or dependencies than the packages; run `make sbom`"
        findings.append(Finding("sbom-equals-the-lock", path.name, what))
    return findings
