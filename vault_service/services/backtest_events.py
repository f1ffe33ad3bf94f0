"""What a backtest reads of an event: the inputs of its decisions, and no more."""

from datetime import datetime
from typing import Annotated, Final

import msgspec

from vault_service.domain.access import Action, ReportFacts
from vault_service.services.backtest_report import Why

VERSION: Final = 1

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Inputs(msgspec.Struct, gc=False):
    """What the policies saw of the principal."""

    type: str | None = None
    tags: dict[str, str] = {}


class RecordedReport(msgspec.Struct, gc=False):
    """What the policies saw of a report."""

    name: str
    purpose: str
    data_classes: frozenset[str] = frozenset()
    forms: frozenset[str] = frozenset()
    classifications: frozenset[str] = frozenset()
    row_cap: _Count = 0
    needs_approval: bool = False
    scheduled: bool = False
    requester: str | None = None

    def facts(self) -> ReportFacts:
        """The same as it is asked about."""
        return ReportFacts(
            self.name,
            self.purpose,
            self.data_classes,
            self.forms,
            self.classifications,
            self.row_cap,
            self.needs_approval,
            self.scheduled,
            self.requester,
        )


class Detail(msgspec.Struct, gc=False):
    """The policies that decided on an action that is not about values, and the report that
    it was about. ``rule`` is set where they allowed what a rule beside them refused."""

    policies: list[str] = []
    report: RecordedReport | None = None
    rule: str | None = None


class RecordedGroup(msgspec.Struct, gc=False):
    """Items that were decided and ended alike."""

    data_class: str | None = None
    form: str | None = None
    tags: dict[str, str] = {}
    code: str | None = None
    policies: list[str] = []
    budget_left: _Count | None = None
    tokens: list[str] = []
    count: _Count = 0


class RecordedEvent(msgspec.Struct, gc=False):
    """One event; as docs/audit-events.md says."""

    v: int
    id: str
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    tenant: str
    action: str
    principal: str | None = None
    purpose: str | None = None
    code: str | None = None
    groups: list[RecordedGroup] = []
    item_count: _Count = 0
    inputs: Inputs = msgspec.field(default_factory=Inputs)
    detail: Detail = msgspec.field(default_factory=Detail)


class _Versioned(msgspec.Struct, gc=False):
    v: int
    id: str = ""


_decode: Final = msgspec.json.Decoder(RecordedEvent).decode
_decode_version: Final = msgspec.json.Decoder(_Versioned).decode


def read_event(body: bytes) -> RecordedEvent | tuple[Why, str]:
    """The event with these canonical bytes, or why it cannot be read, and its id where it
    has one."""
    try:
        event = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _unreadable(body)
    return event if event.v == VERSION else (Why.UNKNOWN_VERSION, event.id)


def _unreadable(body: bytes) -> tuple[Why, str]:
    try:
        found = _decode_version(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Why.UNREADABLE, ""
    return (Why.UNREADABLE if found.v == VERSION else Why.UNKNOWN_VERSION), found.id


def asked_item_count(event: RecordedEvent, action: Action) -> int:
    """The number of items that the policies were told."""
    if action is Action.TOKENIZE:
        return event.item_count
    if action is not Action.DETOKENIZE:
        return 1
    # Distinct tokens of the groups that were decided; the event counts all items.
    decided = [group for group in event.groups if group.data_class is not None]
    if len(decided) == 1:
        return len(decided[0].tokens)
    return len({token for group in decided for token in group.tokens})
