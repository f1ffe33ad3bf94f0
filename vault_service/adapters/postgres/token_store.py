"""The token table and the audit log behind it, as the use cases see them.

Implements :class:`~vault_service.domain.ports.TokenStore` over two commit queues: one
for what is written, one for what is read. A transaction has two steps: first the rows
and budgets, then the events that say how it went, and the commit. Nothing is answered
before the commit, and a failure of the second step undoes the first.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import psycopg
import psycopg_pool
from psycopg.pq import TransactionStatus

from vault_service.adapters.postgres import statements
from vault_service.adapters.postgres.audit import event_columns
from vault_service.adapters.postgres.binary import ByteaArray, TextArray
from vault_service.adapters.postgres.budgets import charge
from vault_service.adapters.postgres.commit_queue import CommitQueue
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.failures import (
    audit_failure,
    database_failure,
    is_retryable,
    sqlstate,
)
from vault_service.adapters.postgres.insertion import (
    PLAIN_MINIMUM,
    Connection,
    find_or_insert,
    insert_plainly,
    simple,
)
from vault_service.adapters.postgres.rows import outcomes, record
from vault_service.domain.errors import VaultError
from vault_service.domain.events import AuditEvent
from vault_service.domain.ports import BudgetCharge, Conclusion
from vault_service.domain.tokens import StoredBatch, TokenBatch, TokenRecord, TokenTaken

_DRIVER_ERRORS: Final = (
    psycopg.Error,
    psycopg_pool.PoolTimeout,
    psycopg_pool.PoolClosed,
    psycopg_pool.TooManyRequests,
    OSError,
    TimeoutError,
)
_TRIES: Final = 3


@dataclass(slots=True)
class _Write:
    """Rows to store, an event to append, or a token to delete, with its event."""

    tenant: str
    weight: int
    batches: Sequence[TokenBatch] = ()
    conclude: Callable[[Sequence[StoredBatch]], Conclusion] | None = None
    event: AuditEvent | None = None
    charge: BudgetCharge | None = None
    delete: str | None = None


@dataclass(slots=True)
class _Read:
    tenant: str
    tokens: Sequence[str]

    @property
    def weight(self) -> int:
        return len(self.tokens)


class StoreObserver(Protocol):
    """Counts what the store does."""

    def committed(self, requests: int, waiting: int) -> None:
        """So many requests share a transaction, and so many wait for the next."""

    def audit_appended(self, seconds: float) -> None:
        """Audit events became durable, so long after they were handed over."""


class PostgresTokenStore:
    """One process's token store. ``width`` transactions of a kind run at a time."""

    def __init__(self, database: Database, observer: StoreObserver, *, width: int = 2) -> None:
        self._database = database
        self._observer = observer
        self._writes: CommitQueue[_Write, None] = CommitQueue(
            self._write, width=width, observe=observer.committed
        )
        self._reads: CommitQueue[_Read, Mapping[str, TokenRecord]] = CommitQueue(
            self._read, width=width, max_weight=10_000
        )
        self._repeating: set[tuple[str, str]] = set()

    async def close(self) -> None:
        """Wait for what is under way."""
        await self._writes.close()
        await self._reads.close()

    async def store(
        self,
        tenant: str,
        batches: Sequence[TokenBatch],
        conclude: Callable[[Sequence[StoredBatch]], Conclusion],
    ) -> None:
        """See :class:`~vault_service.domain.ports.TokenStore`."""
        weight = sum(len(batch) for batch in batches)
        await self._writes.submit(_Write(tenant, weight, batches, conclude))

    async def append(self, event: AuditEvent, charge: BudgetCharge | None = None) -> None:
        """See :class:`~vault_service.domain.ports.TokenStore`."""
        weight = 1 + event.item_count // 4
        await self._writes.submit(_Write(event.tenant, weight, event=event, charge=charge))

    async def delete(self, tenant: str, token: str, event: AuditEvent) -> None:
        """See :class:`~vault_service.domain.ports.TokenStore`."""
        await self._writes.submit(_Write(tenant, 1, event=event, delete=token))

    async def fetch(self, tenant: str, tokens: Sequence[str]) -> Mapping[str, TokenRecord]:
        """See :class:`~vault_service.domain.ports.TokenStore`."""
        return await self._reads.submit(_Read(tenant, tokens))

    async def find(
        self, tenant: str, blind_indexes: Sequence[bytes]
    ) -> Mapping[bytes, TokenRecord]:
        """See :class:`~vault_service.domain.ports.TokenStore`."""
        rows = await self._select(tenant, statements.FIND, ByteaArray(blind_indexes))
        return {row[8]: record(row) for row in rows}

    async def _read(self, works: Sequence[_Read]) -> Sequence[Mapping[str, TokenRecord]]:
        tenant = works[0].tenant
        wanted = list(dict.fromkeys(token for work in works for token in work.tokens))
        rows = await self._select(tenant, statements.FETCH, TextArray(wanted))
        found = {row[0]: record(row) for row in rows}
        if len(works) == 1:
            return [found]
        return [{t: found[t] for t in work.tokens if t in found} for work in works]

    async def _select(
        self, tenant: str, statement: str, keys: TextArray | ByteaArray
    ) -> list[tuple[Any, ...]]:
        for attempt in range(_TRIES):
            try:
                async with self._connection() as connection, connection.pipeline():
                    await connection.execute("BEGIN READ ONLY")
                    await connection.execute(statements.SET_TENANT, (tenant,), prepare=True)
                    cursor = await connection.execute(
                        statement, (tenant, keys), prepare=True, binary=True
                    )
                    await connection.execute("COMMIT")
                    return await cursor.fetchall()
            except psycopg.OperationalError as error:
                # A pooled connection may have died since its last use; another may not.
                if attempt == _TRIES - 1 or not _lost(error):
                    raise database_failure(error) from None
            except _DRIVER_ERRORS as error:
                raise database_failure(error) from None
        raise AssertionError("unreachable")

    async def _write(self, works: Sequence[_Write]) -> Sequence[VaultError | None]:
        """One transaction for works of one tenant; the error or ``None`` of each."""
        tenant = works[0].tenant
        plain = self._plain(works)
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self._connection() as connection:
                    return await self._transact(connection, tenant, works, plain)
            except _Repeats:
                plain = False
            except _FirstStepFailed as failure:
                error = failure.error
                if attempt < _TRIES and (is_retryable(error) or _lost(error)):
                    continue
                raise database_failure(error) from None
            except _DRIVER_ERRORS as error:
                raise database_failure(error) from None

    async def _transact(
        self, connection: Connection, tenant: str, works: Sequence[_Write], plain: bool
    ) -> Sequence[VaultError | None]:
        stored: Sequence[StoredBatch] = ()
        batches = [batch for work in works for batch in work.batches]
        results: list[VaultError | None] = [None] * len(works)
        if any(work.batches or work.charge or work.delete for work in works):
            try:
                async with connection.pipeline():
                    await connection.execute("BEGIN")
                    await connection.execute(statements.SET_TENANT, (tenant,), prepare=True)
                    if plain:
                        await insert_plainly(connection, tenant, batches[0])
                if plain:
                    stored = outcomes(batches, {})
                else:
                    stored = await self._find_or_insert(connection, tenant, batches)
                for position, work in enumerate(works):
                    if work.charge is not None:
                        results[position] = await charge(connection, work.charge)
                    if work.delete is not None:
                        await connection.execute(
                            statements.DELETE, (work.delete, tenant), prepare=True
                        )
            except psycopg.errors.UniqueViolation as error:
                if error.diag.constraint_name == "tokens_pkey":
                    raise TokenTaken from None
                self._repeating.add((tenant, batches[0].data_class))
                raise _Repeats from None
            except psycopg.Error as error:
                raise _FirstStepFailed(error) from None
            begun = True
        else:
            begun = False
        conclusions = _conclusions(works, stored, results)
        started = time.perf_counter()
        try:
            async with connection.pipeline():
                if not begun:
                    await connection.execute("BEGIN")
                    await connection.execute(statements.SET_TENANT, (tenant,), prepare=True)
                events = [conclusion.event for conclusion in conclusions]
                if events:
                    await connection.execute(
                        statements.INSERT_EVENTS,
                        (tenant, *event_columns(events)),
                        prepare=True,
                    )
                for conclusion in conclusions:
                    claim = conclusion.claim
                    if claim is not None:
                        await connection.execute(
                            statements.KEEP_ANSWER,
                            (
                                conclusion.answer,
                                claim.tenant,
                                claim.principal,
                                claim.key,
                                claim.request_digest,
                            ),
                            prepare=True,
                        )
                await connection.execute("COMMIT")
        except psycopg.Error as error:
            if _lost(error):
                raise
            raise audit_failure(error) from None
        self._observer.audit_appended(time.perf_counter() - started)
        return results

    async def _find_or_insert(
        self, connection: Connection, tenant: str, batches: Sequence[TokenBatch]
    ) -> Sequence[StoredBatch]:
        if not batches:
            return ()
        winners = await find_or_insert(connection, tenant, batches)
        if not winners and len(batches) == 1:
            self._repeating.discard((tenant, batches[0].data_class))
        return outcomes(batches, winners)

    def _plain(self, works: Sequence[_Write]) -> bool:
        """Whether to take the rows for new: one large, simple batch of a class that had
        no repeats in its last."""
        if len(works) != 1 or len(works[0].batches) != 1:
            return False
        batch = works[0].batches[0]
        return (
            len(batch) >= PLAIN_MINIMUM
            and simple(batch)
            and (works[0].tenant, batch.data_class) not in self._repeating
        )

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """A pooled connection; whatever it is left in is rolled back."""
        async with self._database.pool.connection() as connection:
            try:
                yield connection
            finally:
                if connection.info.transaction_status not in (
                    TransactionStatus.IDLE,
                    TransactionStatus.UNKNOWN,
                ):
                    await connection.rollback()


class _Repeats(Exception):
    """A value that was taken for new was there already."""


class _FirstStepFailed(Exception):
    """The rows could not be written; nothing was committed, so a retry is safe."""

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__()
        self.error = error


def _lost(error: BaseException) -> bool:
    state = sqlstate(error)
    return isinstance(error, psycopg.OperationalError) and (
        state is None or state[:2] in ("08", "57")
    )


def _conclusions(
    works: Sequence[_Write],
    stored: Sequence[StoredBatch],
    results: Sequence[VaultError | None],
) -> list[Conclusion]:
    found: list[Conclusion] = []
    at = 0
    for work, result in zip(works, results, strict=True):
        share = stored[at : at + len(work.batches)]
        at += len(work.batches)
        if result is not None:
            continue
        if work.conclude is not None:
            found.append(work.conclude(share))
        elif work.event is not None:
            found.append(Conclusion(work.event))
    return found
