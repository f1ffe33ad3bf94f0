"""The audit log's table: append, and find again.

An event is one row: its canonical bytes, which are the truth and later the leaf of the
transparency log, and columns that only help to find it. ``terms`` holds a CRC-32 of
each token and subject: a small key that narrows the search, never a digest of a value;
every hit is compared with the bytes themselves.
"""

import zlib
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.ext.asyncio import AsyncConnection

from vault_service.adapters.postgres.failures import audit_failure
from vault_service.adapters.postgres.schema import audit_events
from vault_service.domain.events import AuditEvent, canonical_bytes

INSERT_EVENTS: Final = (
    "INSERT INTO strongroom.audit_events"
    " (id, occurred_at, tenant, principal, action, outcome, purpose, data_classes, terms, body)"
    " VALUES (%b, %b, %b, %b, %b, %b, %b, %b, %b, %b)"
)


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
    crc32 = zlib.crc32
    keys = [crc32(token.encode()) for group in event.groups for token in group.tokens]
    found = [key - (1 << 32) if key >= 1 << 31 else key for key in keys]
    found += [subject_term(subject) for subject in event.subjects]
    return found


def event_row(event: AuditEvent) -> tuple[Any, ...]:
    """The parameters of ``INSERT_EVENTS`` for one event."""
    return (
        event.id,
        event.occurred_at,
        event.tenant,
        event.principal,
        event.action,
        event.outcome,
        event.purpose,
        event.data_classes,
        terms(event),
        canonical_bytes(event),
    )


_COLUMNS: Final = (
    "id",
    "occurred_at",
    "tenant",
    "principal",
    "action",
    "outcome",
    "purpose",
    "data_classes",
    "terms",
    "body",
)


async def append_event(connection: AsyncConnection, event: AuditEvent) -> None:
    """Add the event to the open transaction; ``audit_unavailable`` where it fails."""
    await append_events(connection, [event])


async def append_events(connection: AsyncConnection, events: Sequence[AuditEvent]) -> None:
    """Add several events to the open transaction, in order."""
    rows = [dict(zip(_COLUMNS, event_row(event), strict=True)) for event in events]
    try:
        await connection.execute(sa.insert(audit_events), rows)
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise audit_failure(error) from None
