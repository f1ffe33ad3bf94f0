"""Claims on ``Idempotency-Key``s. Implements
:class:`~vault_service.domain.ports.IdempotencyStore`."""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.schema import idempotency
from vault_service.domain.errors import Code, IdempotencyMismatch, VaultError
from vault_service.domain.ports import IdempotencyClaim

KEPT: Final = timedelta(hours=24)
LEASE: Final = timedelta(seconds=30)
"""How long a claim without an answer is believed to be at work; twice the longest that
a statement may take."""


class PostgresIdempotency:
    """The table of keys and answers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, claim: IdempotencyClaim, at: datetime) -> bytes | None:
        """See :class:`~vault_service.domain.ports.IdempotencyStore`."""
        values = {
            "tenant": claim.tenant,
            "principal": claim.principal,
            "key": claim.key,
            "request_digest": claim.request_digest,
            "answer": None,
            "lease_until": at + LEASE,
            "created_at": at,
        }
        free = sa.or_(
            idempotency.c.created_at <= at - KEPT,
            sa.and_(
                idempotency.c.answer.is_(None),
                idempotency.c.lease_until <= at,
                idempotency.c.request_digest == claim.request_digest,
            ),
        )
        changed = {
            name: values[name] for name in ("request_digest", "answer", "lease_until", "created_at")
        }
        async with self._database.transaction(claim.tenant) as connection:
            taken = await connection.execute(
                insert(idempotency)
                .values(values)
                .on_conflict_do_update(
                    index_elements=["tenant", "principal", "key"],
                    set_=changed,
                    where=free,
                )
                .returning(idempotency.c.key)
            )
            if taken.first() is not None:
                return None
            found = await connection.execute(
                sa.select(idempotency.c.request_digest, idempotency.c.answer).where(_is(claim))
            )
            row = found.first()
        if row is not None and row.request_digest != claim.request_digest:
            raise IdempotencyMismatch()
        if row is None or row.answer is None:
            raise IdempotencyBusy()
        answer: bytes = row.answer
        return answer

    async def release(self, claim: IdempotencyClaim) -> None:
        """See :class:`~vault_service.domain.ports.IdempotencyStore`."""
        async with self._database.transaction(claim.tenant) as connection:
            await connection.execute(
                sa.delete(idempotency).where(_is(claim), idempotency.c.answer.is_(None))
            )

    async def forget(self, tenant: str, at: datetime) -> None:
        """Remove what is older than 24 hours."""
        async with self._database.transaction(tenant) as connection:
            await connection.execute(
                sa.delete(idempotency).where(idempotency.c.created_at <= at - KEPT)
            )


class IdempotencyBusy(VaultError):
    """The first request with the key is still at work."""

    def __init__(self) -> None:
        super().__init__(
            Code.IDEMPOTENCY_CONFLICT,
            "A request with this Idempotency-Key is still at work; repeat it in a moment.",
            retry_after=1,
        )


def _is(claim: IdempotencyClaim) -> sa.ColumnElement[bool]:
    return sa.and_(
        idempotency.c.tenant == claim.tenant,
        idempotency.c.principal == claim.principal,
        idempotency.c.key == claim.key,
    )
