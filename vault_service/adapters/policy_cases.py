"""Policy cases: access requests with the decision that the policies must give.

``policies/cases/*.yml`` is the specification that the policies are tested against,
by ``strongroom policy test`` and by the test suite.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from vault_service.adapters.policy_files import PolicyBundle
from vault_service.adapters.strict_yaml import Section, read_yaml, refuse
from vault_service.domain.access import AccessRequest, Action, Decision, ReportFacts
from vault_service.domain.errors import ConfigurationError
from vault_service.domain.ports import PolicyEngine
from vault_service.domain.reports import NAME, Classification

CASES: Final = "cases"
# A Monday at noon, for cases that do not say when.
DEFAULT_TIME: Final = datetime(2026, 1, 5, 12, tzinfo=UTC)
_MOST: Final = 10**12


@dataclass(frozen=True, slots=True)
class Case:
    """One expectation: ``request`` must be answered with ``expected``."""

    name: str
    file: str
    request: AccessRequest
    expected: Decision


@dataclass(frozen=True, slots=True)
class CaseResult:
    """A case with the decision that the policies gave."""

    case: Case
    actual: Decision

    @property
    def passed(self) -> bool:
        """Whether outcome, deciding policies and errors are those expected."""
        return self.actual == self.case.expected


def load_cases(bundle: PolicyBundle) -> list[Case]:
    """All cases of the bundle's directory, in file and then line order.

    Raises ``ConfigurationError`` for a file that is not as ``docs/policies.md`` says,
    an unknown principal, class, purpose or form, and a name given twice.
    """
    cases: list[Case] = []
    names: set[str] = set()
    for section, file in _sections(bundle.directory):
        case = _case(section, file, bundle)
        if case.name in names:
            section.refuse("name", f"{case.name!r} is given twice", "rename one")
        names.add(case.name)
        cases.append(case)
    return cases


def cases_asked_of(bundle: PolicyBundle, directory: Path) -> dict[str, Case]:
    """The cases of another directory, by name, as requests to this bundle; without those
    that speak of what it does not know."""
    cases: dict[str, Case] = {}
    for section, file in _sections(directory):
        try:
            case = _case(section, file, bundle)
        except ConfigurationError:
            continue
        cases[case.name] = case
    return cases


def _sections(directory: Path) -> Iterator[tuple[Section, str]]:
    for path in sorted((directory / CASES).glob("*.yml")):
        file = f"{CASES}/{path.name}"
        top = read_yaml(_read(path, file), file)
        for section in top.listed_sections("cases"):
            yield section, file
        top.finish()


def _read(path: Path, file: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        refuse(file, "", "cannot be read", "make it readable")


def _case(section: Section, file: str, bundle: PolicyBundle) -> Case:
    name = section.text("name")
    allowed = section.choice("expect", ("allow", "deny")) == "allow"
    expected = Decision(
        allowed=allowed,
        policies=tuple(sorted(section.texts("by"))),
        errors=tuple(sorted(section.texts("errors"))) if section.has("errors") else (),
    )
    request = _request(section.section("ask"), bundle)
    section.finish()
    return Case(name, file, request, expected)


def _request(ask: Section, bundle: PolicyBundle) -> AccessRequest:
    catalog = bundle.catalog
    principal = bundle.principals[ask.choice("principal", bundle.principals)]
    if ask.has("principal_tags"):
        extra = ask.texts_by_name("principal_tags")
        principal = replace(principal, tags={**principal.tags, **extra})
    data_class = None
    if ask.has("data_class"):
        data_class = catalog.data_classes[ask.choice("data_class", catalog.data_classes)]
    tags = ask.texts_by_name("token_tags") if ask.has("token_tags") else {}
    request = AccessRequest(
        principal=principal,
        action=Action(ask.choice("action", [action.value for action in Action])),
        data_class=None if data_class is None else data_class.name,
        class_tags=frozenset() if data_class is None else data_class.tags,
        token_tags=tuple(sorted(tags.items())),
        purpose=ask.choice("purpose", catalog.purposes) if ask.has("purpose") else None,
        form=(
            ask.choice("form", () if data_class is None else data_class.forms)
            if ask.has("form")
            else None
        ),
        item_count=ask.integer("item_count", 1, _MOST) if ask.has("item_count") else 1,
        budget_left=ask.integer("budget_left", 0, _MOST) if ask.has("budget_left") else None,
        at=_time(ask) if ask.has("at") else DEFAULT_TIME,
        report=_report(ask.section("report"), bundle) if ask.has("report") else None,
    )
    ask.finish()
    return request


def _report(told: Section, bundle: PolicyBundle) -> ReportFacts:
    classes = bundle.catalog.data_classes
    forms = {form for data_class in classes.values() for form in data_class.forms}

    def some(key: str, choices: Iterable[str]) -> frozenset[str]:
        return frozenset(told.texts(key, choices)) if told.has(key) else frozenset()

    facts = ReportFacts(
        name=told.text("name", NAME),
        purpose=told.choice("purpose", bundle.catalog.purposes),
        data_classes=some("data_classes", classes),
        forms=some("forms", forms),
        classifications=some("classifications", [kind.value for kind in Classification]),
        row_cap=told.integer("row_cap", 1, _MOST) if told.has("row_cap") else 1,
        needs_approval=told.has("needs_approval") and told.flag("needs_approval"),
        scheduled=told.has("scheduled") and told.flag("scheduled"),
        requester=told.text("requester") if told.has("requester") else None,
    )
    told.finish()
    return facts


def _time(ask: Section) -> datetime:
    try:
        return datetime.strptime(ask.text("at"), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        ask.refuse("at", "not a time", 'write UTC in quotes: "2026-01-05T12:00:00Z"')


def run_cases(engine: PolicyEngine, cases: Iterable[Case]) -> list[CaseResult]:
    """What the engine answers to each case."""
    return [CaseResult(case, engine.decide(case.request)) for case in cases]


def undecided(policies: Iterable[str], results: Sequence[CaseResult]) -> list[str]:
    """The policies that decide no case, so that nothing would notice their loss."""
    exercised = {name for result in results for name in result.actual.policies}
    return sorted(set(policies) - exercised)
