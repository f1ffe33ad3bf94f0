"""Audit events: one a request, written before anything is answered.

An event says who did what to which tokens, why, under which policies, and how it
ended (PCI-DSS 10.2.1, 10.2.2). It holds token ids, never values or hashes of values.
``canonical_bytes`` is the one encoding of an event: it is what the database stores
and what becomes a leaf of the transparency log (RFC 6962 2.1).
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from vault_service.domain.access import Tags

_CROCKFORD: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = tuple(high + low for high in _CROCKFORD for low in _CROCKFORD)
_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def new_event_id() -> str:
    """``evt_`` + 26 characters: 48 bits of milliseconds, then 82 random bits."""
    return "evt_" + crockford((time.time_ns() // 1_000_000) << 82 | secrets.randbits(82))


def crockford(number: int) -> str:
    """The 130 bits of ``number`` as 26 characters of lower-case Crockford base32."""
    pairs = _PAIRS
    return "".join([pairs[number >> shift & 1023] for shift in range(120, -1, -10)])


def time_of(event_id: str) -> datetime:
    """When an event with this id, spelled as :func:`new_event_id` does, was given it (UTC, to
    the millisecond). An invented id may name a time beyond the calendar; then its end."""
    milliseconds = 0
    for character in event_id[4:14]:
        milliseconds = milliseconds << 5 | _CROCKFORD.index(character)
    milliseconds >>= 2  # ten characters have 50 bits
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class EventGroup:
    """The items of a request that were decided and ended alike.

    ``outcome`` is ``ok``, ``denied``, ``failed`` or ``integrity_failure``; ``code`` is
    the error code where it is not ``ok``. ``tags`` are the token's tags that the
    policies saw, ``item_count`` and ``budget_left`` what they were told.
    """

    outcome: str
    data_class: str | None = None
    form: str | None = None
    tags: Tags = ()
    code: str | None = None
    policies: tuple[str, ...] = ()
    budget_left: int | None = None
    tokens: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One recorded request. ``outcome`` sums up the groups: ``ok``, ``partial``,
    ``denied``, ``integrity_failure`` or ``failed``. ``principal`` is ``None`` for failed
    authentication.

    ``inputs`` holds what the policies saw of the principal and the request beyond the
    groups, so that the decision can be replayed. ``detail`` holds constant words and
    identifiers that some actions add (a key id, a changed principal).
    """

    id: str
    occurred_at: datetime
    tenant: str
    principal: str | None
    action: str
    outcome: str
    request_id: str
    policy_hash: str
    purpose: str | None = None
    case: str | None = None
    code: str | None = None
    groups: tuple[EventGroup, ...] = ()
    item_count: int = 0
    inputs: Mapping[str, Any] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokens(self) -> list[str]:
        """Every token the event is about, in group order."""
        return [token for group in self.groups for token in group.tokens]

    @property
    def subjects(self) -> list[str]:
        """Every subject the event is about, in group order."""
        return [subject for group in self.groups for subject in group.subjects]

    @property
    def data_classes(self) -> list[str]:
        """The data classes concerned, sorted and without repeats."""
        return sorted({g.data_class for g in self.groups if g.data_class is not None})


def canonical_bytes(event: AuditEvent) -> bytes:
    """The event as UTF-8 JSON: keys sorted, no white space, no key whose value is
    ``null``, an empty list or object, or zero (but a ``budget_left`` of zero stays);
    times in UTC with microseconds.
    """
    body: dict[str, Any] = {
        "v": 1,
        "id": event.id,
        "time": event.occurred_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "tenant": event.tenant,
        "principal": event.principal,
        "action": event.action,
        "outcome": event.outcome,
        "request_id": event.request_id,
        "policy_hash": event.policy_hash,
        "purpose": event.purpose,
        "case": event.case,
        "code": event.code,
        "item_count": event.item_count,
        "inputs": event.inputs,
        "detail": event.detail,
        "groups": [_group_body(group) for group in event.groups],
    }
    return _encode({key: value for key, value in body.items() if _kept(value)})


def _group_body(group: EventGroup) -> dict[str, Any]:
    body: dict[str, Any] = {
        "outcome": group.outcome,
        "data_class": group.data_class,
        "form": group.form,
        "tags": dict(group.tags),
        "code": group.code,
        "policies": group.policies,
        "budget_left": group.budget_left,
        "tokens": group.tokens,
        "subjects": group.subjects,
        "count": group.count,
    }
    return {
        key: value
        for key, value in body.items()
        if _kept(value) or (key == "budget_left" and value == 0)
    }


def _kept(value: object) -> bool:
    return not (value is None or value == 0 or value == () or value == [] or value == {})


def mentions(body: bytes, *, token: str | None, subject: str | None) -> bool:
    """Whether the event with these canonical bytes is about the token and the subject
    (``None``: any)."""
    groups = _decode(body).get("groups", [])
    return (token is None or any(token in group.get("tokens", ()) for group in groups)) and (
        subject is None or any(subject in group.get("subjects", ()) for group in groups)
    )
