"""What a backtest reports, and how it counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

SAMPLES: Final = 5
NEWLY_DENIED: Final = "newly_denied"
NEWLY_ALLOWED: Final = "newly_allowed"


class Why(StrEnum):
    """Why an event, or a group of its items, cannot be replayed."""

    UNREADABLE = "unreadable"
    UNKNOWN_VERSION = "unknown_version"
    WITHHELD = "withheld"
    NOT_A_DECISION = "not_a_decision"
    NO_INPUTS = "no_inputs"
    NO_DECISION = "no_decision"
    NO_REPORT = "no_report"
    CLASS_REMOVED = "class_removed"
    CLASS_UNKNOWN = "class_unknown"
    FORM_REMOVED = "form_removed"
    FORM_UNKNOWN = "form_unknown"
    PURPOSE_REMOVED = "purpose_removed"
    PURPOSE_UNKNOWN = "purpose_unknown"


MEANINGS: Final = {
    Why.UNREADABLE: "not an audit event, or not as docs/audit-events.md says",
    Why.UNKNOWN_VERSION: "an encoding of events that this release does not know",
    Why.WITHHELD: "the bundle holds its hash but not the event",
    Why.NOT_A_DECISION: "an action that no policy decides",
    Why.NO_INPUTS: "what the policies saw of the principal was not recorded",
    Why.NO_DECISION: "no decision on it is recorded: invalid, not found, undone with its batch",
    Why.NO_REPORT: "what the policies saw of the report was not recorded",
    Why.CLASS_REMOVED: "the new catalog no longer has the data class",
    Why.CLASS_UNKNOWN: "neither catalog has the data class",
    Why.FORM_REMOVED: "the new catalog's data class no longer has the form",
    Why.FORM_UNKNOWN: "the data class of neither catalog has the form",
    Why.PURPOSE_REMOVED: "the new catalog no longer has the purpose",
    Why.PURPOSE_UNKNOWN: "neither catalog has the purpose",
}
REMOVALS: Final = frozenset({Why.CLASS_REMOVED, Why.FORM_REMOVED, Why.PURPOSE_REMOVED})
"""Such requests would be refused as invalid from now on: a change, though no decision."""


class Affected(NamedTuple):
    """Whom and what a change is about."""

    effect: str
    tenant: str
    principal: str
    action: str
    data_class: str | None
    purpose: str | None
    form: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """Recorded decisions that the new directory turns around. ``effect`` is
    ``newly_denied`` or ``newly_allowed``; ``events`` are distinct, ``items`` and
    ``tokens`` (distinct within an event) those of the groups concerned. ``policies_then``
    and ``policies_now`` are the ``@id``s that decided, ``failing_now`` those that could
    not be evaluated; ``event_ids`` the first few events."""

    effect: str
    tenant: str
    principal: str
    action: str
    data_class: str | None
    purpose: str | None
    form: str | None
    events: int
    items: int
    tokens: int
    policies_then: tuple[str, ...]
    policies_now: tuple[str, ...]
    failing_now: tuple[str, ...]
    event_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unreplayed:
    """Events, and items in them, that could not be replayed for one reason."""

    reason: str
    meaning: str
    events: int
    items: int
    event_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PrincipalUse:
    """A principal that the new directory lacks, with its replayed events, which were
    decided on the recorded inputs. ``removed``: the current directory has it."""

    tenant: str
    principal: str
    removed: bool
    events: int


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """``events`` = ``replayed`` (wholly) + ``replayed_in_part`` + ``not_replayed``. An event
    may be counted under several reasons of ``unreplayed``. ``decisions`` are the groups of
    items that were decided anew. ``since`` and ``until`` are the limits asked for."""

    current_hash: str
    new_hash: str
    since: datetime | None
    until: datetime | None
    events: int
    replayed: int
    replayed_in_part: int
    not_replayed: int
    decisions: int
    changes: Sequence[Change]
    unreplayed: Sequence[Unreplayed]
    absent_principals: Sequence[PrincipalUse]

    @property
    def changed(self) -> bool:
        """Whether a recorded request would end otherwise under the new directory."""
        return bool(
            self.changes
            or any(each.reason in REMOVALS for each in self.unreplayed)
            or any(each.removed for each in self.absent_principals)
        )


@dataclass(slots=True)
class Tally:
    """Events, items and tokens so far, with the first event ids."""

    events: int = 0
    items: int = 0
    tokens: int = 0
    event_ids: list[str] = field(default_factory=list)
    policies_then: set[str] = field(default_factory=set)
    policies_now: set[str] = field(default_factory=set)
    failing_now: set[str] = field(default_factory=set)
    _newest: int = 0

    def count(self, event: int, event_id: str, items: int, tokens: int = 0) -> None:
        """Count a part of the event with this running number."""
        self.items += items
        self.tokens += tokens
        if event == self._newest:
            return
        self._newest = event
        self.events += 1
        if event_id and len(self.event_ids) < SAMPLES:
            self.event_ids.append(event_id)

    def change(self, about: Affected) -> Change:
        """The tally as a line of the report."""
        return Change(
            *about,
            events=self.events,
            items=self.items,
            tokens=self.tokens,
            policies_then=tuple(sorted(self.policies_then)),
            policies_now=tuple(sorted(self.policies_now)),
            failing_now=tuple(sorted(self.failing_now)),
            event_ids=tuple(self.event_ids),
        )
