"""Key table and failure counts in memory, with a clock that stands still until told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from vault_service.domain.credentials import ApiKeyRecord, Failures
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.events import AuditEvent

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class HandClock:
    """Wall clock and monotonic clock that move together, by hand."""

    def __init__(self, start: datetime = START) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return (self.now - START).total_seconds() + 1000.0

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class MemoryCredentialStore:
    """Meets ``CredentialStore``. ``away`` makes it fail as a database that is gone."""

    def __init__(self) -> None:
        self.records: dict[str, ApiKeyRecord] = {}
        self.events: list[AuditEvent] = []
        self.lookups = 0
        self.away = False

    def _reach(self) -> None:
        if self.away:
            raise VaultError(Code.DATABASE_UNAVAILABLE, "The database is away.", retry_after=2)

    async def find(self, key_id: str) -> ApiKeyRecord | None:
        self._reach()
        self.lookups += 1
        return self.records.get(key_id)

    async def list(self, principal: str | None = None) -> Sequence[ApiKeyRecord]:
        self._reach()
        kept = [r for r in self.records.values() if principal in (None, r.principal)]
        return sorted(kept, key=lambda r: (r.principal, r.created_at, r.id))

    async def add(self, record: ApiKeyRecord, event: AuditEvent) -> None:
        self._reach()
        self.records[record.id] = record
        self.events.append(event)

    async def rotate(
        self,
        tenant: str,
        record: ApiKeyRecord,
        old_keys_end: datetime,
        event: Callable[[Sequence[str]], AuditEvent],
    ) -> Sequence[str]:
        self._reach()
        shortened = sorted(
            old.id
            for old in self.records.values()
            if old.principal == record.principal
            and old.revoked_at is None
            and old.expires_at > old_keys_end
        )
        for key_id in shortened:
            self.records[key_id] = replace(self.records[key_id], expires_at=old_keys_end)
        await self.add(record, event(shortened))
        return shortened

    async def revoke(self, key_id: str, at: datetime, event: AuditEvent) -> bool:
        self._reach()
        record = self.records.get(key_id)
        if record is None or record.revoked_at is not None:
            return False
        self.records[key_id] = replace(record, revoked_at=at)
        self.events.append(event)
        return True

    async def touch(self, used: Mapping[str, datetime]) -> None:
        self._reach()
        for key_id, at in used.items():
            record = self.records.get(key_id)
            if record is not None:
                latest = max(at, record.last_used_at or at)
                self.records[key_id] = replace(record, last_used_at=latest)


class MemoryThrottle:
    """Meets ``Throttle``, with slices of ten seconds as the real one."""

    def __init__(self) -> None:
        self.slices: dict[tuple[str, datetime], int] = {}
        self.writes = 0
        self.away = False

    def _reach(self) -> None:
        if self.away:
            raise VaultError(Code.DATABASE_UNAVAILABLE, "The database is away.", retry_after=2)

    async def count(self, source: str, since: datetime) -> Failures:
        self._reach()
        kept = {at: n for (who, at), n in self.slices.items() if who == source and at > since}
        return Failures(sum(kept.values()), max(kept, default=None))

    async def record(self, source: str, at: datetime, since: datetime) -> Failures:
        self._reach()
        self.writes += 1
        slice_start = at - timedelta(seconds=at.second % 10, microseconds=at.microsecond)
        key = (source, slice_start)
        self.slices[key] = self.slices.get(key, 0) + 1
        return await self.count(source, since)

    async def forget(self, before: datetime) -> None:
        self._reach()
        self.slices = {key: n for key, n in self.slices.items() if key[1] >= before}
