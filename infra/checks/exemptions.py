"""Exceptions from checks: which, where, and why; one that excuses nothing is a finding."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from infra.checks.findings import CannotCheck, Finding


@dataclass(frozen=True, slots=True)
class Exemption:
    """What one rule lets pass: places that match a shell pattern, and why."""

    rule: str
    where: str
    because: str

    def excuses(self, finding: Finding) -> bool:
        # An index in brackets is meant as it stands; only * and ? are wild.
        pattern = self.where.replace("[", "[[]")
        return finding.rule == self.rule and fnmatchcase(finding.where, pattern)


def read(path: Path) -> list[Exemption]:
    """The exceptions of a file; :class:`CannotCheck` where one does not say why."""
    entries = yaml.safe_load(path.read_text()) or []
    found = [Exemption(each["rule"], each["where"], each["because"].strip()) for each in entries]
    if not all(each.because for each in found):
        raise CannotCheck(f"{path.name}: an exception does not say why")
    return found


def apply(findings: Iterable[Finding], excused: Sequence[Exemption], source: str) -> list[Finding]:
    """What is left, and exceptions of the file ``source`` that are not needed."""
    found = sorted(set(findings))
    left = [each for each in found if not any(one.excuses(each) for one in excused)]
    left += [
        Finding(
            "exceptions-are-needed",
            f"{one.rule} at {one.where}",
            f"excuses nothing; remove it from {source}",
        )
        for one in excused
        if not any(one.excuses(each) for each in found)
    ]
    return left
