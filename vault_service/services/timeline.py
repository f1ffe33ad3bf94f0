"""A person's timeline: who handled their data, when, why, in which form, and by which
policy (GDPR Art. 15(1)(c), PCI-DSS 10.2.1.1). Reading it is recorded (PCI-DSS 10.2.1.3).
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from vault_service.domain.access import Action
from vault_service.domain.errors import Code, FieldError, VaultError
from vault_service.domain.metadata import check_text
from vault_service.domain.ports import TokenStore
from vault_service.services.authorize import Authorizer
from vault_service.services.context import RequestContext
from vault_service.services.items import INTEGRITY
from vault_service.services.read_audit import MAX_LIMIT
from vault_service.services.recording import Recorder

VIEW: Final = "timeline"


class SubjectLog(Protocol):
    """Finds what was recorded about a person."""

    def about(
        self, tenant: str, subject: str, before: int | None = None
    ) -> AsyncGenerator[tuple[int, bytes, frozenset[str]], None]:
        """Position, canonical bytes and those tokens of the event that are the subject's,
        newest first, for each event of the tenant that names the subject or a token of
        its; with ``before``, only those at lower positions."""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """What one request had to do with the person.

    Only the groups of the event that concern the person count, for ``outcome`` too:
    ``ok``, ``partial``, ``denied``, ``integrity_failure`` or ``failed``. ``tokens`` are
    the person's alone. ``time`` is RFC 3339 in UTC.
    """

    event_id: str
    time: str
    principal: str | None
    action: str
    outcome: str
    purpose: str | None
    case: str | None
    forms: tuple[str, ...]
    data_classes: tuple[str, ...]
    tokens: tuple[str, ...]
    policies: tuple[str, ...]
    request_id: str


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """Entries, newest first. ``before`` is the position that the next page begins before,
    ``None`` on the last one; ``event_id`` the event that records this reading."""

    entries: Sequence[TimelineEntry]
    before: int | None
    event_id: str


class _Group(msgspec.Struct, gc=False):
    outcome: str
    data_class: str | None = None
    form: str | None = None
    policies: list[str] = []
    tokens: list[str] = []
    subjects: list[str] = []


class _Event(msgspec.Struct, gc=False):
    id: str
    time: str
    action: str
    outcome: str
    request_id: str
    principal: str | None = None
    purpose: str | None = None
    case: str | None = None
    code: str | None = None
    groups: list[_Group] = []


_decode: Final = msgspec.json.Decoder(_Event).decode


class Timeline:
    """The use case. One instance serves all requests of a process."""

    def __init__(
        self, authorizer: Authorizer, log: SubjectLog, store: TokenStore, recorder: Recorder
    ) -> None:
        self._authorizer = authorizer
        self._log = log
        self._store = store
        self._recorder = recorder

    async def __call__(
        self, context: RequestContext, subject: str, limit: int, before: int | None = None
    ) -> TimelinePage:
        """A page of at most ``limit`` entries of the caller's tenant. A subject that
        nothing is recorded about has an empty one.

        Raises ``access_denied``; ``invalid_request`` for a limit over 1000 and, as
        :func:`~vault_service.domain.metadata.check_text` does, for an unusable subject.
        """
        check_text(subject, "id")
        if not 0 < limit <= MAX_LIMIT:
            detail = "Ask for 1 to 1000 entries and page on with the cursor."
            raise VaultError(
                Code.INVALID_REQUEST, detail, errors=(FieldError("limit", "range", detail),)
            )
        decision = self._authorizer.decide(context.principal, Action.READ_AUDIT)
        found: list[tuple[int, TimelineEntry]] = []
        if decision.allowed:
            found = await read(self._log, context.principal.tenant, subject, limit + 1, before)
        entries = [entry for _, entry in found[:limit]]
        event = self._recorder.event(
            context,
            Action.READ_AUDIT,
            code=None if decision.allowed else Code.ACCESS_DENIED,
            item_count=len(entries),
            # Not as a subject of a group: the reader of a timeline saw no data, and
            # would be in it from then on.
            detail={"policies": list(decision.policies), "view": VIEW, "subject": subject},
        )
        await self._store.append(event)
        if not decision.allowed:
            error = VaultError(Code.ACCESS_DENIED, "No policy lets this principal read the log.")
            error.event_id = event.id
            raise error
        return TimelinePage(entries, found[limit - 1][0] if len(found) > limit else None, event.id)


async def read(
    log: SubjectLog, tenant: str, subject: str, limit: int | None, before: int | None = None
) -> list[tuple[int, TimelineEntry]]:
    """The newest entries with their positions, at most ``limit`` (``None``: all).

    Unrecorded: whoever calls this records it before anything is shown.
    """
    found: list[tuple[int, TimelineEntry]] = []
    async with aclosing(log.about(tenant, subject, before)) as events:
        async for position, body, tokens in events:
            found.append((position, timeline_entry(body, subject, tokens)))
            if len(found) == limit:
                break
    return found


def timeline_entry(body: bytes, subject: str, tokens: frozenset[str]) -> TimelineEntry:
    """What the event with these canonical bytes had to do with ``subject``, to whom
    ``tokens`` belong."""
    event = _decode(body)
    groups = [
        group
        for group in event.groups
        if subject in group.subjects or not tokens.isdisjoint(group.tokens)
    ]
    return TimelineEntry(
        event_id=event.id,
        time=event.time,
        principal=event.principal,
        action=event.action,
        outcome=event.outcome if event.code is not None else _outcome(groups),
        purpose=event.purpose,
        case=event.case,
        forms=_sorted(group.form for group in groups),
        data_classes=_sorted(group.data_class for group in groups),
        tokens=_sorted(token for group in groups for token in group.tokens if token in tokens),
        policies=_sorted(policy for group in groups for policy in group.policies),
        request_id=event.request_id,
    )


def _outcome(groups: Sequence[_Group]) -> str:
    outcomes = {group.outcome for group in groups}
    if len(outcomes) == 1:
        return outcomes.pop()
    if "ok" in outcomes:
        return "partial"
    return INTEGRITY if INTEGRITY in outcomes else "failed"


def _sorted(names: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if name is not None}))
