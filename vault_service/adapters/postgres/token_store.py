"""The token table and the audit log behind it, as the use cases see them.

Implements :class:`~vault_service.domain.ports.TokenStore` over two commit queues: one
for what is written, one for what is read. What is written goes the quick way
(``hot_path``) where it can and the careful way (``transaction``) where it must; on
either, tokens and events become durable together or not at all.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import psycopg

from vault_service.adapters.postgres import hot_path, statements, transaction
from vault_service.adapters.postgres.binary import ByteaArray, TextArray
from vault_service.adapters.postgres.calls import TRIES, ask_repeatable, call_repeatable
from vault_service.adapters.postgres.commit_queue import CommitQueue
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.failures import (
    DRIVER_ERRORS,
    audit_failure,
    database_failure,
    is_away,
    is_lost,
    is_retryable,
)
from vault_service.adapters.postgres.insertion import Connection
from vault_service.adapters.postgres.rows import record, records
from vault_service.adapters.postgres.works import Read, Write
from vault_service.domain.errors import VaultError
from vault_service.domain.events import AuditEvent
from vault_service.domain.ports import BudgetCharge, Conclude
from vault_service.domain.tokens import StoredToken, TokenBatch, TokenRecord


class StoreObserver(Protocol):
    """Counts what the store does."""

    def committed(self, requests: int, waiting: int) -> None:
        """So many requests share a transaction, and so many wait for the next."""

    def audit_appended(self, seconds: float) -> None:
        """Audit events became durable, so long after they were handed over."""


class PostgresTokenStore:
    """One process's token store."""

    def __init__(self, database: Database, observer: StoreObserver) -> None:
        self._database = database
        self._observer = observer
        self._writes: CommitQueue[Write, None] = CommitQueue(
            self._write, observe=observer.committed
        )
        self._reads: CommitQueue[Read, Mapping[str, TokenRecord]] = CommitQueue(
            self._read, max_weight=10_000
        )
        self._repeating: set[tuple[str, str]] = set()

    async def settle(self) -> None:
        """Wait until all that was asked of it is done, whether or not anybody waits."""
        await self._writes.settle()
        await self._reads.settle()

    async def store(
        self,
        tenant: str,
        batches: Sequence[TokenBatch],
        conclude: Conclude,
    ) -> None:
        """See :class:`~vault_service.domain.ports.TokenStore`."""
        weight = sum(len(batch) for batch in batches)
        await self._writes.submit(Write(tenant, weight, batches, conclude))

    async def append(self, event: AuditEvent, charge: BudgetCharge | None = None) -> None:
        """See :class:`~vault_service.domain.ports.TokenStore`."""
        weight = 1 + event.item_count // 4
        await self._writes.submit(Write(event.tenant, weight, event=event, charge=charge))

    async def delete(self, tenant: str, token: str, event: AuditEvent) -> None:
        """See :class:`~vault_service.domain.ports.TokenStore`."""
        await self._writes.submit(Write(tenant, 1, event=event, delete=token))

    async def fetch(self, tenant: str, tokens: Sequence[str]) -> Mapping[str, TokenRecord]:
        """See :class:`~vault_service.domain.ports.TokenStore`."""
        return await self._reads.submit(Read(tenant, tokens))

    async def describe(self, tenant: str, token: str) -> StoredToken | None:
        """See :class:`~vault_service.domain.ports.TokenStore`."""
        rows = await self._select(tenant, statements.DESCRIBE, (token, tenant))
        return StoredToken(record(rows[0]), rows[0][7]) if rows else None

    async def find(
        self, tenant: str, blind_indexes: Sequence[bytes]
    ) -> Mapping[bytes, TokenRecord]:
        """See :class:`~vault_service.domain.ports.TokenStore`."""
        parameters = (tenant, ByteaArray(blind_indexes))
        rows = await self._select(tenant, statements.FIND, parameters)
        return {row[7]: record(row) for row in rows}

    async def _select(
        self, tenant: str, statement: str, parameters: Sequence[object]
    ) -> Sequence[Sequence[Any]]:
        async def ask(connection: Connection) -> Sequence[Sequence[Any]]:
            async with connection.transaction():
                await connection.execute(statements.SET_TENANT, (tenant,), prepare=True)
                cursor = await connection.execute(statement, parameters, prepare=False, binary=True)
                return await cursor.fetchall()

        return await ask_repeatable(self._database, ask)

    async def _read(self, works: Sequence[Read]) -> Sequence[Mapping[str, TokenRecord]]:
        tenant = works[0].tenant
        if len(works) == 1:
            return [await self._fetch(tenant, works[0].tokens)]
        wanted = list(dict.fromkeys(token for work in works for token in work.tokens))
        found = await self._fetch(tenant, wanted)
        return [{t: found[t] for t in work.tokens if t in found} for work in works]

    async def _fetch(self, tenant: str, tokens: Sequence[str]) -> dict[str, TokenRecord]:
        found: dict[str, TokenRecord] = {}
        for row in await call_repeatable(
            self._database, statements.FETCH, (tenant, TextArray(tokens))
        ):
            found |= records(row)
        return found

    async def _write(self, works: Sequence[Write]) -> Sequence[VaultError | None]:
        """Works of one tenant in one transaction; the error or ``None`` of each."""
        tenant = works[0].tenant
        started = time.perf_counter()
        for attempt in range(TRIES):
            try:
                async with self._database.hot_connection() as connection:
                    results = await self._transact(connection, tenant, works)
                self._observer.audit_appended(time.perf_counter() - started)
                return results
            except transaction.FirstStepFailed as failure:
                error = failure.error
                if attempt == TRIES - 1 or not (is_retryable(error) or is_lost(error)):
                    raise database_failure(error) from None
            except DRIVER_ERRORS as error:
                raise database_failure(error) from None
        raise AssertionError("the last try returns or raises")

    async def _transact(
        self, connection: Connection, tenant: str, works: Sequence[Write]
    ) -> Sequence[VaultError | None]:
        try:
            if hot_path.events_alone(works):
                await hot_path.append(connection, tenant, works)
                return [None] * len(works)
            if hot_path.reveal_alone(works):
                return [await hot_path.draw_and_append(connection, tenant, works[0])]
            if hot_path.presumably_new(works, self._repeating) and await hot_path.store_new(
                connection, tenant, works
            ):
                return [None] * len(works)
        except hot_path.KnownValue:
            pass
        except psycopg.Error as error:
            if is_retryable(error):
                raise transaction.FirstStepFailed(error) from None
            if is_lost(error) or is_away(error):
                raise
            raise audit_failure(error) from None
        results, winners = await transaction.run(connection, tenant, works)
        self._learn(works, bool(winners))
        return results

    def _learn(self, works: Sequence[Write], known: bool) -> None:
        """Remember which classes have known values lately, so as to look first."""
        classes = {(work.tenant, batch.data_class) for work in works for batch in work.batches}
        if known:
            self._repeating |= classes
        else:
            self._repeating -= classes
