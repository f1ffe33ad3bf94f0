"""What an access review counts of each principal as events pass by."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from vault_service.domain.access import Action

PLAIN: Final = "plain"
_SAMPLES: Final = 3


class Group(msgspec.Struct, gc=False):
    """What a review reads of a group of items."""

    outcome: str
    form: str | None = None
    code: str | None = None
    policies: list[str] = []
    tokens: list[str] = []


class ReviewedEvent(msgspec.Struct, gc=False):
    """What a review reads of an event (docs/audit-events.md)."""

    id: str
    time: datetime
    tenant: str
    action: str
    outcome: str
    policy_hash: str
    principal: str | None = None
    purpose: str | None = None
    code: str | None = None
    groups: list[Group] = []
    inputs: dict[str, Any] = {}
    detail: dict[str, Any] = {}


decode: Final = msgspec.json.Decoder(ReviewedEvent).decode


@dataclass(slots=True)
class PurposeUse:
    """How often a purpose was named, and by which event first."""

    first: datetime
    event_id: str
    requests: int = 0
    revealed: int = 0


@dataclass(slots=True)
class LateUse:
    """Reveals outside the working hours; ``earliest`` are the first few events."""

    first: datetime
    last: datetime
    requests: int = 0
    weekend: int = 0
    plain: int = 0
    total: int = 0
    earliest: list[tuple[datetime, str]] = field(default_factory=list)


@dataclass(slots=True)
class Seen:
    """What is known of one principal in one tenant."""

    type: str = ""
    events: int = 0
    events_before: int = 0
    plain: int = 0
    total: int = 0
    plain_before: int = 0
    total_before: int = 0
    denied: int = 0
    codes: dict[str, int] = field(default_factory=dict)
    purposes: dict[str, PurposeUse] = field(default_factory=dict)
    purposes_before: set[str] = field(default_factory=set)
    late: LateUse | None = None

    def count_before(self, event: ReviewedEvent) -> None:
        """Count an event of the period before."""
        plain, total = revealed(event)
        self.events_before += 1
        self.plain_before += plain
        self.total_before += total
        if event.purpose is not None:
            self.purposes_before.add(event.purpose)

    def count(self, event: ReviewedEvent, *, working_time: bool, weekend: bool) -> None:
        """Count an event of the period under review."""
        plain, total = revealed(event)
        self.events += 1
        self.plain += plain
        self.total += total
        self.type = str(event.inputs.get("type", self.type))
        self._note_denials(event)
        if event.purpose is not None:
            self._note_purpose(event, event.purpose, total)
        if total and not working_time:
            self._note_late(event, plain, total, weekend=weekend)

    def _note_denials(self, event: ReviewedEvent) -> None:
        codes = {group.code for group in event.groups if group.outcome == "denied"}
        if event.outcome == "denied" and event.code is not None:
            codes.add(event.code)
        if not codes and event.outcome != "denied":
            return
        self.denied += 1
        for code in codes - {None}:
            self.codes[str(code)] = self.codes.get(str(code), 0) + 1

    def _note_purpose(self, event: ReviewedEvent, purpose: str, total: int) -> None:
        found = self.purposes.setdefault(purpose, PurposeUse(event.time, event.id))
        if (event.time, event.id) < (found.first, found.event_id):
            found.first, found.event_id = event.time, event.id
        found.requests += 1
        found.revealed += total

    def _note_late(self, event: ReviewedEvent, plain: int, total: int, *, weekend: bool) -> None:
        late = self.late = self.late or LateUse(event.time, event.time)
        late.first, late.last = min(late.first, event.time), max(late.last, event.time)
        late.requests += 1
        late.weekend += weekend
        late.plain += plain
        late.total += total
        late.earliest = sorted([*late.earliest, (event.time, event.id)])[:_SAMPLES]


def revealed(event: ReviewedEvent) -> tuple[int, int]:
    """How many tokens the event revealed: plain, and in any form."""
    if event.action != Action.DETOKENIZE:
        return 0, 0
    shown = [(group.form, len(group.tokens)) for group in event.groups if group.outcome == "ok"]
    return sum(n for form, n in shown if form == PLAIN), sum(n for _, n in shown)


def deciding_policies(event: ReviewedEvent) -> list[str]:
    """The ``@id``s that the event names, possibly repeated."""
    named = [policy for group in event.groups for policy in group.policies]
    # Where an action is not about values, its event has no group.
    return [*named, *event.detail.get("policies", ())]
