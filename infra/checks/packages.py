"""Packages: what a lock names for Linux, and what the environment knows of each."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from packaging.markers import Marker
from packaging.requirements import Requirement

from infra.checks.commands import ROOT
from infra.checks.findings import CannotCheck
from infra.image import recipe

LOCK: Final = ROOT / "requirements.lock"
DOCKERFILE: Final = ROOT / "Dockerfile"
_PIN: Final = re.compile(r"^([a-z0-9][a-z0-9-]*)==([^ ]+)(?: ; ([^\\]+))? \\$", re.MULTILINE)
_PLATFORM: Final = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "python_version": "3.11",
    "python_full_version": "3.11.0",
}


@dataclass(frozen=True, slots=True)
class Package:
    """A package of the image: by its canonical name, with what its metadata says."""

    name: str
    version: str
    distribution: Distribution

    def requires(self) -> set[str]:
        """The packages that it always needs, by canonical name."""
        found = (Requirement(text) for text in self.distribution.requires or ())
        return {
            canonical(each.name)
            for each in found
            if each.marker is None or each.marker.evaluate({**_PLATFORM, "extra": ""})
        }


def canonical(name: str) -> str:
    """The name as PEP 503 normalizes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(text: str) -> dict[str, str]:
    """Names and versions of a lock, of those that Linux installs."""
    return {
        name: version
        for name, version, marker in _PIN.findall(text)
        if not marker or Marker(marker).evaluate({**_PLATFORM, "extra": ""})
    }


def of_image(lock: Path = LOCK, dockerfile: Path = DOCKERFILE) -> dict[str, str]:
    """What the image holds: the lock, without what the recipe takes away again."""
    away = recipe.read(dockerfile).uninstalled()
    return {name: version for name, version in locked(lock.read_text()).items() if name not in away}


def described(names: Mapping[str, str], places: Iterable[str] | None = None) -> list[Package]:
    """Those packages as they are installed; :class:`CannotCheck` where one is not, or another.

    ``places`` are folders to look in; by default those of this process.
    """
    found = distributions(path=list(places)) if places is not None else distributions()
    present = {canonical(each.name): each for each in found}
    packages: list[Package] = []
    for name, version in sorted(names.items()):
        distribution = present.get(name)
        if distribution is None or distribution.version != version:
            raise CannotCheck(f"{name} {version} is not installed; run `make .venv/dev.stamp`")
        packages.append(Package(name, version, distribution))
    return packages
