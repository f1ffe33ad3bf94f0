"""The table of wrapped keys in PostgreSQL.

Every statement runs under the tenant it is about, so row-level security stands behind
each ``WHERE``. Wrapped keys travel as binary parameters and never appear in SQL text.
"""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from vault_service.adapters.postgres.audit import append_event
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.schema import data_key_ids, data_keys
from vault_service.domain.errors import DamagedKey
from vault_service.domain.events import AuditEvent
from vault_service.domain.ports import KeyPurpose, KeyState, StoredKey

_ACTIVE: Final = KeyState.ACTIVE.value


class PostgresKeyStore:
    """:class:`~vault_service.domain.ports.KeyStore` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def current(self, tenant: str, data_class: str, purpose: KeyPurpose) -> StoredKey | None:
        """The active key of the highest epoch, or ``None``."""
        query = (
            sa.select(data_keys)
            .where(*_slot(tenant, data_class, purpose), data_keys.c.state == _ACTIVE)
            .order_by(data_keys.c.epoch.desc())
            .limit(1)
        )
        return await self._one(tenant, query)

    async def by_id(self, tenant: str, key_id: int) -> StoredKey | None:
        """The tenant's key with this id, or ``None``."""
        query = sa.select(data_keys).where(data_keys.c.id == key_id, data_keys.c.tenant == tenant)
        return await self._one(tenant, query)

    async def next_id(self) -> int:
        """A fresh key id. Ids that are never used leave gaps, which mean nothing."""
        async with self._database.transaction() as connection:
            return int(
                (await connection.execute(sa.select(data_key_ids.next_value()))).scalar_one()
            )

    async def create(self, key: StoredKey, event: AuditEvent) -> StoredKey:
        """Store the key with its event and retire the lower epochs, in one transaction;
        where this epoch is there already, return that key and record nothing."""
        slot = _slot(key.tenant, key.data_class, key.purpose)
        async with self._database.transaction(key.tenant) as connection:
            # A concurrent insert of the same epoch is waited for, then found below.
            inserted = await connection.execute(
                insert(data_keys)
                .values(
                    id=key.id,
                    tenant=key.tenant,
                    data_class=key.data_class,
                    purpose=key.purpose.value,
                    epoch=key.epoch,
                    state=key.state.value,
                    wrapped=key.wrapped,
                    wrapper=key.wrapper,
                    wrapped_by=key.wrapped_by,
                    uses=key.uses,
                    created_at=key.created_at,
                )
                .on_conflict_do_nothing(constraint="data_keys_epoch")
                .returning(data_keys.c.id)
            )
            if inserted.first() is None:
                winner = await connection.execute(
                    sa.select(data_keys).where(*slot, data_keys.c.epoch == key.epoch)
                )
                return _key(winner.one())
            await connection.execute(
                sa.update(data_keys)
                .where(*slot, data_keys.c.epoch < key.epoch, data_keys.c.state == _ACTIVE)
                .values(state=KeyState.RETIRED.value)
            )
            await append_event(connection, event)
        return key

    async def reserve_uses(self, tenant: str, key_id: int, count: int, limit: int) -> bool:
        """Count uses ahead; ``False`` where they pass the limit or the key is not active."""
        statement = (
            sa.update(data_keys)
            .where(
                data_keys.c.id == key_id,
                data_keys.c.tenant == tenant,
                data_keys.c.state == _ACTIVE,
                data_keys.c.uses + count <= limit,
            )
            .values(uses=data_keys.c.uses + count)
            .returning(data_keys.c.id)
        )
        async with self._database.transaction(tenant) as connection:
            return (await connection.execute(statement)).first() is not None

    async def list(self, tenant: str | None = None) -> Sequence[StoredKey]:
        """The tenant's keys by class, purpose and epoch. Without a tenant there are
        none: row-level security shows the keys of one tenant at a time."""
        query = (
            sa.select(data_keys)
            .where(data_keys.c.tenant == tenant)
            .order_by(data_keys.c.data_class, data_keys.c.purpose, data_keys.c.epoch)
        )
        async with self._database.transaction(tenant) as connection:
            return [_key(row) for row in await connection.execute(query)]

    async def _one(self, tenant: str, query: sa.Select[Any]) -> StoredKey | None:
        async with self._database.transaction(tenant) as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else _key(row)


def _slot(tenant: str, data_class: str, purpose: KeyPurpose) -> tuple[Any, ...]:
    return (
        data_keys.c.tenant == tenant,
        data_keys.c.data_class == data_class,
        data_keys.c.purpose == purpose.value,
    )


def _key(row: sa.Row[Any]) -> StoredKey:
    try:
        purpose, state = KeyPurpose(row.purpose), KeyState(row.state)
    except ValueError:
        raise DamagedKey("A stored key has an unknown purpose or state.") from None
    return StoredKey(
        id=row.id,
        tenant=row.tenant,
        data_class=row.data_class,
        purpose=purpose,
        epoch=row.epoch,
        state=state,
        wrapped=bytes(row.wrapped),
        wrapper=row.wrapper,
        wrapped_by=row.wrapped_by,
        uses=row.uses,
        created_at=row.created_at,
    )
