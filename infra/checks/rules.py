"""The rules over a plan: what a rule is, the exceptions, and how all of them are asked.

A rule is a generator over a :class:`~infra.checks.plan.Plan` that yields what breaks it, each
with the mend. Its name is the function's, with hyphens. ``exceptions.yml`` lists what AWS
leaves no other way for, each with its reason; an exception that excuses nothing is a finding.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.checks import exemptions
from infra.checks.exemptions import Exemption
from infra.checks.findings import Finding
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


def judge(plan: Plan, excused: Sequence[Exemption], rules: Iterable[Rule] = RULES) -> list[Finding]:
    """Everything that breaks a rule and is not excused."""
    broken = [
        Finding(name_of(each), found.where, found.what) for each in rules for found in each(plan)
    ]
    return exemptions.apply(broken, excused, EXCEPTIONS.name)
