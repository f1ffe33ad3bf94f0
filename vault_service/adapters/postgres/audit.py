"""The audit log's table: append, and find again.

An event is one row: its canonical bytes, which are the truth and later the leaf of the
transparency log, and columns that only help to find it. ``terms`` holds a CRC-32 of
each token and subject: a small key that narrows the search, never a digest of a value;
every hit is compared with the bytes themselves.
"""

import zlib
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.ext.asyncio import AsyncConnection

from vault_service.adapters.postgres.binary import ByteaArray, IntegerArray, TextArray
from vault_service.adapters.postgres.failures import audit_failure
from vault_service.adapters.postgres.schema import audit_events
from vault_service.domain.events import AuditEvent, canonical_bytes


def token_term(token: str) -> int:
    """The search key of a token: CRC-32 as a signed 32-bit integer."""
    return _signed(zlib.crc32(token.encode()))


def subject_term(subject: str) -> int:
    """The search key of a subject, apart from that of a token with the same text."""
    return _signed(zlib.crc32(subject.encode(), 1))


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value


def terms(event: AuditEvent) -> list[int]:
    """The search keys of an event, in no particular order, possibly repeated."""
    return [_signed(key) for key in _unsigned_terms(event)]


def _unsigned_terms(event: AuditEvent) -> list[int]:
    crc32 = zlib.crc32
    found = [crc32(token.encode()) for group in event.groups for token in group.tokens]
    found += [crc32(subject.encode(), 1) for subject in event.subjects]
    return found


def event_columns(events: Sequence[AuditEvent]) -> tuple[Any, ...]:
    """The array parameters of ``statements.APPEND_EVENTS``, after the tenant. The terms
    of all events are one array, since PostgreSQL has none of arrays that differ in
    length; another says where in it those of each event end."""
    found = [_unsigned_terms(event) for event in events]
    return (
        TextArray([event.id for event in events]),
        TextArray([event.occurred_at.isoformat() for event in events]),
        TextArray([event.principal for event in events]),
        TextArray([event.action for event in events]),
        TextArray([event.outcome for event in events]),
        TextArray([event.purpose for event in events]),
        TextArray(["{" + ",".join(event.data_classes) + "}" for event in events]),
        IntegerArray(list(chain.from_iterable(found))),
        IntegerArray(list(accumulate(map(len, found)))),
        ByteaArray([canonical_bytes(event) for event in events]),
    )


async def append_event(connection: AsyncConnection, event: AuditEvent) -> None:
    """Add the event to the open transaction; ``audit_unavailable`` where it fails."""
    await append_events(connection, [event])


async def append_events(connection: AsyncConnection, events: Sequence[AuditEvent]) -> None:
    """Add several events to the open transaction, in order."""
    rows = [
        {
            "id": event.id,
            "occurred_at": event.occurred_at,
            "tenant": event.tenant,
            "principal": event.principal,
            "action": event.action,
            "outcome": event.outcome,
            "purpose": event.purpose,
            "data_classes": event.data_classes,
            "terms": terms(event),
            "body": canonical_bytes(event),
        }
        for event in events
    ]
    try:
        await connection.execute(sa.insert(audit_events), rows)
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise audit_failure(error) from None
