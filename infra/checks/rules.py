"""The rules over a plan: what a rule is, the exceptions, and how all of them are asked.

A rule is a generator over a :class:`~infra.checks.plan.Plan` that yields what breaks it, each
with the mend. Its name is the function's, with hyphens. ``exceptions.yml`` lists what AWS
leaves no other way for, each with its reason; an exception that excuses nothing is a finding.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import yaml

from infra.checks.findings import CannotCheck, Finding
from infra.checks.plan import Plan, Resource
from infra.checks.policies import Statement

EXCEPTIONS: Final = Path(__file__).with_name("exceptions.yml")


@dataclass(frozen=True, slots=True)
class Broken:
    """What a rule yields: where it is broken, in which statement if in one, and the mend."""

    resource: Resource | str
    what: str
    statement: Statement | None = None

    @property
    def where(self) -> str:
        address = self.resource if isinstance(self.resource, str) else self.resource.address
        sid = self.statement.sid if self.statement else ""
        return f"{address} ({sid})" if sid else address


Rule = Callable[[Plan], Iterator[Broken]]
RULES: Final[list[Rule]] = []


def rule(function: Rule) -> Rule:
    """Makes a generator one of the rules."""
    RULES.append(function)
    return function


def name_of(each: Rule) -> str:
    """What a finding of this rule is called."""
    return each.__name__.replace("_", "-")


@dataclass(frozen=True, slots=True)
class Exemption:
    """What one rule lets pass: places that match a shell pattern, and why."""

    rule: str
    where: str
    because: str

    def excuses(self, finding: Finding) -> bool:
        pattern = self.where.replace("[", "[[]")
        return finding.rule == self.rule and fnmatchcase(finding.where, pattern)


def exemptions(path: Path = EXCEPTIONS) -> list[Exemption]:
    """The exceptions of the file; each must name a rule that there is, and say why."""
    entries = yaml.safe_load(path.read_text()) or []
    found = [Exemption(each["rule"], each["where"], each["because"].strip()) for each in entries]
    unknown = {each.rule for each in found} - {name_of(each) for each in RULES}
    if unknown or not all(each.because for each in found):
        raise CannotCheck(f"{path.name}: a reason is missing, or there is no rule {unknown}")
    return found


def judge(plan: Plan, excused: Iterable[Exemption], rules: Iterable[Rule] = RULES) -> list[Finding]:
    """Everything that breaks a rule and is not excused."""
    broken = {
        Finding(name_of(each), found.where, found.what) for each in rules for found in each(plan)
    }
    excused = list(excused)
    unused = [each for each in excused if not any(each.excuses(found) for found in broken)]
    left = [found for found in broken if not any(each.excuses(found) for each in excused)]
    left += [
        Finding(
            "exceptions-are-needed",
            f"{each.rule} at {each.where}",
            f"excuses nothing; remove it from {EXCEPTIONS.name}",
        )
        for each in unused
    ]
    return sorted(left)
