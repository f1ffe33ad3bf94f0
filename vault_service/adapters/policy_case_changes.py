"""Which policy cases are answered otherwise by a changed policy directory."""

from dataclasses import dataclass
from typing import Final

from vault_service.adapters.cedar import CedarEngine
from vault_service.adapters.policy_cases import Case, cases_asked_of, load_cases
from vault_service.domain.access import Decision

ADDED: Final = "added"
REMOVED: Final = "removed"
NOW_FAILING: Final = "now_failing"
NOW_PASSING: Final = "now_passing"
CHANGED: Final = "changed"


@dataclass(frozen=True, slots=True)
class CaseChange:
    """A case that is not as it was.

    ``change`` is ``added`` or ``removed``, where one directory alone has it;
    ``now_failing`` or ``now_passing``, where it met what the current directory expects and
    does not meet what the new one does, or the reverse; ``changed``, where both have it
    and only the answer to it is another. ``then`` and ``now`` are the answers of the
    current and the new policies to the same request (the current directory's where both
    have the case); ``None`` where that directory knows not what it speaks of. ``fails``:
    the new directory's case is not answered as it expects.
    """

    name: str
    file: str
    change: str
    then: Decision | None
    now: Decision | None
    fails: bool


def case_changes(current: CedarEngine, new: CedarEngine) -> list[CaseChange]:
    """The cases of both directories put to both; by name.

    Raises ``ConfigurationError`` where the cases of one do not fit its own files.
    """
    before = {case.name: case for case in load_cases(current.bundle)}
    after = {case.name: case for case in load_cases(new.bundle)}
    before_of_new = cases_asked_of(new.bundle, current.bundle.directory)
    after_of_current = cases_asked_of(current.bundle, new.bundle.directory)
    found = []
    for name in sorted({*before, *after}):
        old, fresh = before.get(name), after.get(name)
        if old is not None:
            then = _answer(current, old)
            now = _answer(new, before_of_new.get(name))
        else:
            then = _answer(current, after_of_current.get(name))
            now = _answer(new, fresh)
        fails = fresh is not None and _answer(new, fresh) != fresh.expected
        change = _change(old, fresh, then, now, fails)
        if change is not None:
            file = (fresh or before[name]).file
            found.append(CaseChange(name, file, change, then, now, fails))
    return found


def _change(
    old: Case | None, fresh: Case | None, then: Decision | None, now: Decision | None, fails: bool
) -> str | None:
    if old is None:
        return ADDED
    if fresh is None:
        return REMOVED
    failed = then != old.expected
    if fails != failed:
        return NOW_FAILING if fails else NOW_PASSING
    return CHANGED if then != now else None


def _answer(engine: CedarEngine, case: Case | None) -> Decision | None:
    return None if case is None else engine.decide(case.request)
