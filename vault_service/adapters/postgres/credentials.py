"""API keys and failed attempts in PostgreSQL; meets ``CredentialStore`` and ``Throttle``.

Neither table belongs to a tenant: who the caller is, is not known yet when they are
read. They hold hashes and addresses, nothing that authenticates (PCI-DSS 8.3.2).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from vault_service.adapters.postgres.audit import append_event
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.schema import api_keys, auth_failures
from vault_service.domain.credentials import ApiKeyRecord, Failures
from vault_service.domain.events import AuditEvent

_SLICE_SECONDS: Final = 10
"""Failures are counted by slices of this length, which together slide as a window."""

_columns = api_keys.c


class PostgresCredentialStore:
    """Keys by id; every change in one transaction with its event."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key_id: str) -> ApiKeyRecord | None:
        """The key with this id, whatever its state."""
        async with self._database.transaction() as connection:
            found = await connection.execute(sa.select(api_keys).where(_columns.id == key_id))
            row = found.one_or_none()
        return None if row is None else _record(row)

    async def list(self, principal: str | None = None) -> Sequence[ApiKeyRecord]:
        """All keys, by principal, oldest first."""
        query = sa.select(api_keys).order_by(_columns.principal, _columns.created_at, _columns.id)
        if principal is not None:
            query = query.where(_columns.principal == principal)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        return [_record(row) for row in rows]

    async def add(self, record: ApiKeyRecord, event: AuditEvent) -> None:
        """Store a new key and its event."""
        async with self._database.transaction(event.tenant) as connection:
            await connection.execute(sa.insert(api_keys), [_values(record)])
            await append_event(connection, event)

    async def rotate(
        self,
        tenant: str,
        record: ApiKeyRecord,
        old_keys_end: datetime,
        event: Callable[[Sequence[str]], AuditEvent],
    ) -> Sequence[str]:
        """Shorten the older keys, store the new one, append the event."""
        shorten = (
            sa.update(api_keys)
            .where(
                _columns.principal == record.principal,
                _columns.revoked_at.is_(None),
                _columns.expires_at > old_keys_end,
            )
            .values(expires_at=old_keys_end)
            .returning(_columns.id)
        )
        async with self._database.transaction(tenant) as connection:
            shortened = sorted((await connection.execute(shorten)).scalars())
            await connection.execute(sa.insert(api_keys), [_values(record)])
            await append_event(connection, event(shortened))
        return shortened

    async def revoke(self, key_id: str, at: datetime, event: AuditEvent) -> bool:
        """Revoke a key that is not revoked yet, and append the event."""
        revoke = (
            sa.update(api_keys)
            .where(_columns.id == key_id, _columns.revoked_at.is_(None))
            .values(revoked_at=at)
            .returning(_columns.id)
        )
        async with self._database.transaction(event.tenant) as connection:
            if (await connection.execute(revoke)).one_or_none() is None:
                return False
            await append_event(connection, event)
        return True

    async def touch(self, used: Mapping[str, datetime]) -> None:
        """Move last-used times forward."""
        later = sa.func.greatest(_columns.last_used_at, sa.bindparam("at", type_=sa.DateTime(True)))
        touch = (
            sa.update(api_keys)
            .where(_columns.id == sa.bindparam("key_id", type_=sa.Text))
            .values(last_used_at=later)
        )
        # Sorted, so that two workers lock the rows in the same order.
        rows = [{"key_id": name, "at": used[name]} for name in sorted(used)]
        async with self._database.transaction() as connection:
            await connection.execute(touch, rows)


class PostgresThrottle:
    """Failed attempts by source and slice of time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, source: str, since: datetime) -> Failures:
        """The failures of ``source`` after ``since``."""
        async with self._database.transaction() as connection:
            return _failures((await connection.execute(_counted(source, since))).one())

    async def record(self, source: str, at: datetime, since: datetime) -> Failures:
        """Count one more, and read the sum."""
        new = insert(auth_failures).values(source=source, window_start=_slice(at), failures=1)
        one_more = new.on_conflict_do_update(
            index_elements=[auth_failures.c.source, auth_failures.c.window_start],
            set_={"failures": auth_failures.c.failures + 1},
        )
        async with self._database.transaction() as connection:
            await connection.execute(one_more)
            return _failures((await connection.execute(_counted(source, since))).one())

    async def forget(self, before: datetime) -> None:
        """Delete older slices."""
        async with self._database.transaction() as connection:
            await connection.execute(
                sa.delete(auth_failures).where(auth_failures.c.window_start < before)
            )


def _counted(source: str, since: datetime) -> sa.Select[Any]:
    return sa.select(
        sa.func.coalesce(sa.func.sum(auth_failures.c.failures), 0).label("total"),
        sa.func.max(auth_failures.c.window_start).label("latest"),
    ).where(auth_failures.c.source == source, auth_failures.c.window_start > since)


def _failures(row: sa.Row[Any]) -> Failures:
    return Failures(int(row.total), row.latest)


def _slice(at: datetime) -> datetime:
    seconds = int(at.timestamp())
    return datetime.fromtimestamp(seconds - seconds % _SLICE_SECONDS, UTC)


def _values(record: ApiKeyRecord) -> dict[str, Any]:
    return {column.name: getattr(record, column.name) for column in api_keys.columns}


def _record(row: sa.Row[Any]) -> ApiKeyRecord:
    values = {**row._mapping, "key_hash": bytes(row.key_hash)}
    return ApiKeyRecord(**values)
