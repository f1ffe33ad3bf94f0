"""Rows and events as the use cases make them, for tests of the adapters beneath."""

import asyncio
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from tests.conftest import DatabaseUrls
from vault_service.adapters.postgres.token_store import PostgresTokenStore
from vault_service.domain.access import Tags
from vault_service.domain.catalog import TokenFormat
from vault_service.domain.events import AuditEvent, EventGroup, canonical_bytes, new_event_id
from vault_service.domain.ports import Conclusion
from vault_service.domain.tokens import StoredBatch, TokenBatch, new_tokens

AT: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Counted:
    """What a store tells its observer."""

    def __init__(self) -> None:
        self.groups: list[int] = []

    def committed(self, requests: int, waiting: int) -> None:
        self.groups.append(requests)

    def audit_appended(self, seconds: float) -> None:
        pass


def index(tenant: str, value: str) -> bytes:
    return hashlib.sha256(f"{tenant}/{value}".encode()).digest()


def make(
    tenant: str,
    values: Sequence[str],
    *,
    tags: Tags = (),
    subjects: dict[str, str] | None = None,
    expires: dict[str, datetime] | None = None,
    links: Sequence[tuple[str, str]] = (),
    tokens: Sequence[str] | None = None,
) -> TokenBatch:
    """A batch as the use case makes it: ascending by blind index."""
    ordered = sorted(values, key=lambda value: index(tenant, value))
    return TokenBatch(
        "pan",
        tags,
        7,
        list(tokens) if tokens else new_tokens("pan", TokenFormat.OPAQUE, ordered),
        [os.urandom(60) for _ in ordered],
        8,
        [index(tenant, value) for value in ordered],
        [subjects.get(value) for value in ordered] if subjects else None,
        [(ordered.index(value), subject) for value, subject in links],
        [expires.get(value) for value in ordered] if expires else None,
    )


def event(tenant: str, tokens: Sequence[str] = (), **fields: Any) -> AuditEvent:
    group = EventGroup("ok", "pan", tokens=tuple(tokens), count=len(tokens))
    settings: dict[str, Any] = {
        "id": new_event_id(),
        "occurred_at": AT,
        "tenant": tenant,
        "principal": "checkout",
        "action": "tokenize",
        "outcome": "ok",
        "request_id": "req",
        "policy_hash": "0" * 64,
        "groups": (group,),
        "item_count": len(tokens),
    }
    return AuditEvent(**{**settings, **fields})


def key_event(
    tenant: str, principal: str, action: str, data_class: str | None, detail: Mapping[str, Any]
) -> AuditEvent:
    """The event of a key, as a keyring has it made."""
    return AuditEvent(
        id=new_event_id(),
        occurred_at=datetime.now(UTC),
        tenant=tenant,
        principal=principal,
        action=action,
        outcome="ok",
        request_id="",
        policy_hash="",
        groups=() if data_class is None else (EventGroup("ok", data_class),),
        detail=detail,
    )


async def put(store: PostgresTokenStore, tenant: str, *batches: TokenBatch) -> list[StoredBatch]:
    """Store the batches; what became of them, as the event says too."""
    kept: list[StoredBatch] = []

    async def conclude(stored: Sequence[StoredBatch]) -> Conclusion:
        kept[:] = stored
        return Conclusion(event(tenant, [token for batch in stored for token in batch.tokens]))

    await store.store(tenant, batches, conclude)
    return kept


def put_directly(superuser_url: str, events: Sequence[AuditEvent]) -> None:
    """Events in the table, as whoever owns the database can put them there."""
    columns = "id, occurred_at, tenant, principal, action, outcome, data_classes, terms, body"
    statement = f"COPY strongroom.audit_events ({columns}) FROM STDIN"
    with (
        psycopg.connect(superuser_url) as connection,
        connection.cursor() as cursor,
        cursor.copy(statement.encode()) as copy,
    ):
        for each in events:
            names = (each.id, each.occurred_at, each.tenant, each.principal, each.action)
            copy.write_row((*names, each.outcome, [], [], canonical_bytes(each)))


def tokens_of(connection: psycopg.Connection[Any], tenant: str) -> set[str]:
    found = connection.execute("SELECT token FROM strongroom.tokens WHERE tenant = %s", [tenant])
    return {token for (token,) in found}


def events_of(connection: psycopg.Connection[Any], tenant: str) -> list[dict[str, Any]]:
    found = connection.execute(
        "SELECT body FROM strongroom.audit_events WHERE tenant = %s ORDER BY position", [tenant]
    )
    return [json.loads(bytes(body)) for (body,) in found]


async def waits_for_a_lock(urls: DatabaseUrls) -> None:
    """Return once a statement of the service waits for another transaction."""
    async with await psycopg.AsyncConnection.connect(urls.superuser_url, autocommit=True) as own:
        while True:
            cursor = await own.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
                " AND wait_event_type = 'Lock'",
                [urls.name],
            )
            row = await cursor.fetchone()
            if row is not None and row[0] > 0:
                return
            await asyncio.sleep(0.01)


async def sessions_ended(own: psycopg.AsyncConnection[Any]) -> None:
    """Return once ``own`` is the one session of its database: closed ones end when they get
    to it, and what they counted in the server's statistics is whole only then."""
    while True:
        cursor = await own.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        if await cursor.fetchone() == (0,):
            return
        await asyncio.sleep(0.01)
