"""The question put to the policies and its answer.

An :class:`AccessRequest` holds everything a policy may see (PCI-DSS 7.2.1); the same
fields go into the audit event, so that a recorded decision can be replayed against
changed policies.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from vault_service.domain.principals import Principal


class Action(StrEnum):
    """What a principal may want to do; each is granted alone."""

    TOKENIZE = "tokenize"
    DETOKENIZE = "detokenize"
    LOOKUP = "lookup"
    DESCRIBE_TOKEN = "describe_token"
    DELETE_TOKEN = "delete_token"
    READ_AUDIT = "read_audit"
    MANAGE_KEYS = "manage_keys"
    MANAGE_PRINCIPALS = "manage_principals"
    EXPORT_SUBJECT = "export_subject"
    ERASE_SUBJECT = "erase_subject"
    RUN_REPORT = "run_report"
    APPROVE_REPORT = "approve_report"


Tags = tuple[tuple[str, str], ...]
"""Tags as sorted (name, value) pairs: hashable, with one spelling for equal tags."""


ON_VALUES: Final = frozenset(
    {
        Action.TOKENIZE,
        Action.DETOKENIZE,
        Action.LOOKUP,
        Action.DESCRIBE_TOKEN,
        Action.DELETE_TOKEN,
    }
)
"""Actions on values of a data class."""
ON_REPORTS: Final = frozenset({Action.RUN_REPORT, Action.APPROVE_REPORT})
"""Actions on a report."""


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """A report as the policies see it. ``classifications`` are those of its columns,
    ``row_cap`` the run's where there is one, else the report's; ``requester`` who asked for
    the run, where one is to be approved."""

    name: str
    purpose: str
    data_classes: frozenset[str]
    forms: frozenset[str]
    classifications: frozenset[str]
    row_cap: int
    needs_approval: bool
    scheduled: bool
    requester: str | None = None

    def recorded(self) -> dict[str, Any]:
        """The same as an audit event holds it, so that the decision can be replayed."""
        found: dict[str, Any] = {
            "name": self.name,
            "purpose": self.purpose,
            "data_classes": sorted(self.data_classes),
            "forms": sorted(self.forms),
            "classifications": sorted(self.classifications),
            "row_cap": self.row_cap,
            "needs_approval": self.needs_approval,
            "scheduled": self.scheduled,
        }
        return found if self.requester is None else found | {"requester": self.requester}


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """One question: may ``principal`` do ``action`` on values of ``data_class``?

    ``data_class`` and ``class_tags`` are ``None`` and empty for actions that are not
    about values, ``report`` is ``None`` for those that are not about a report.
    ``budget_left`` is the smallest number of tokens left in any budget that applies,
    ``None`` where none does. ``at`` is in UTC, to the whole second.
    """

    principal: Principal
    action: Action
    data_class: str | None = None
    class_tags: frozenset[str] = frozenset()
    token_tags: Tags = ()
    purpose: str | None = None
    form: str | None = None
    item_count: int = 1
    budget_left: int | None = None
    at: datetime = datetime.min
    report: ReportFacts | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. ``policies`` are the ``@id``s that decided, ``errors`` the ids of
    policies that failed to evaluate (which alone makes the answer a denial)."""

    allowed: bool
    policies: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicySource:
    """Where a policy is written: its ``@id``, its file and the line of the ``@id``."""

    id: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy on the action, or one that names the principal, that did not decide.

    ``unmatched`` names the parts of its scope that the request is outside of:
    ``principal``, ``action``, ``resource``. Where it is inside, ``clause`` is the first
    condition that did not hold, counted from 1; ``kind`` says whether that is a ``when``
    or an ``unless``; ``part`` counts the terms that ``&&`` connects in a ``when``, and
    ``condition`` is the term in Cedar, as Cedar writes it. A policy that did apply has
    none of these: a ``forbid`` outweighs it.
    """

    source: PolicySource
    effect: str
    unmatched: tuple[str, ...] = ()
    kind: str | None = None
    clause: int | None = None
    part: int | None = None
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with the places of the policies that decided it, or that failed, and why
    each other candidate did not apply; no candidates where the request does not fit the
    schema, since no policy was asked then."""

    decision: Decision
    sources: tuple[PolicySource, ...] = ()
    candidates: tuple[Candidate, ...] = ()
