"""Claims on ``Idempotency-Key``s in PostgreSQL: one at work, one answer, for a day."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.stored import AT, event, make, put
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.idempotency import (
    KEPT,
    LEASE,
    IdempotencyBusy,
    PostgresIdempotency,
)
from vault_service.adapters.postgres.token_store import PostgresTokenStore
from vault_service.domain.errors import IdempotencyMismatch, VaultError
from vault_service.domain.ports import Conclusion, IdempotencyClaim
from vault_service.domain.tokens import StoredBatch

SECOND = timedelta(seconds=1)


@pytest.fixture
def keys(database: Database) -> PostgresIdempotency:
    return PostgresIdempotency(database)


@pytest.fixture
def claim(tenant: str) -> IdempotencyClaim:
    return IdempotencyClaim(tenant, "checkout", "order-1", b"digest" * 5)


async def answer(
    store: PostgresTokenStore, claim: IdempotencyClaim, text: bytes, value: str = "x"
) -> None:
    """Store something under the claim, as the first request does at its end."""

    async def conclude(stored: Sequence[StoredBatch]) -> Conclusion:
        return Conclusion(event(claim.tenant, stored[0].tokens), claim, text)

    await store.store(claim.tenant, [make(claim.tenant, [value])], conclude)


@pytest.mark.parametrize("known", [False, True])
async def test_a_repeat_gets_the_first_answer(
    keys: PostgresIdempotency, store: PostgresTokenStore, claim: IdempotencyClaim, known: bool
) -> None:
    if known:
        await put(store, claim.tenant, make(claim.tenant, ["x"]))
    assert await keys.claim(claim, AT) is None
    with pytest.raises(IdempotencyBusy):
        await keys.claim(claim, AT + SECOND)
    await answer(store, claim, b"first")
    assert await keys.claim(claim, AT + SECOND) == b"first"
    assert await keys.claim(claim, AT + KEPT - SECOND) == b"first"
    for at in (AT + SECOND, AT + LEASE + SECOND):
        with pytest.raises(IdempotencyMismatch):
            await keys.claim(replace(claim, request_digest=b"other"), at)
    assert await keys.claim(replace(claim, request_digest=b"other"), AT + KEPT) is None


async def test_one_of_many_gets_it(keys: PostgresIdempotency, claim: IdempotencyClaim) -> None:
    found = await asyncio.gather(
        *(keys.claim(claim, AT) for _ in range(12)), return_exceptions=True
    )
    assert found.count(None) == 1
    assert sum(isinstance(each, IdempotencyBusy) for each in found) == 11


async def test_a_claim_of_one_who_died(keys: PostgresIdempotency, claim: IdempotencyClaim) -> None:
    """Believed for the length of its lease, then free for the same body alone."""
    await keys.claim(claim, AT)
    with pytest.raises(IdempotencyBusy):
        await keys.claim(claim, AT + LEASE - SECOND)
    with pytest.raises(IdempotencyMismatch):
        await keys.claim(replace(claim, request_digest=b"other"), AT + LEASE)
    assert await keys.claim(claim, AT + LEASE) is None
    with pytest.raises(IdempotencyBusy):
        await keys.claim(claim, AT + LEASE + SECOND)


async def test_a_key_given_back(
    keys: PostgresIdempotency, store: PostgresTokenStore, claim: IdempotencyClaim
) -> None:
    await keys.claim(claim, AT)
    await keys.release(claim)
    other = replace(claim, request_digest=b"other")
    assert await keys.claim(other, AT + SECOND) is None
    await answer(store, other, b"first")
    await keys.release(other)
    assert await keys.claim(other, AT + SECOND) == b"first", "an answer is not given back"


async def test_keys_are_apart_by_principal_and_tenant(
    keys: PostgresIdempotency, claim: IdempotencyClaim
) -> None:
    await keys.claim(claim, AT)
    for other in (
        replace(claim, principal="crm"),
        replace(claim, key="order-2"),
        replace(claim, tenant=f"{claim.tenant}_other"),
    ):
        assert await keys.claim(other, AT) is None


async def test_no_answer_without_what_it_tells_of(
    keys: PostgresIdempotency,
    store: PostgresTokenStore,
    claim: IdempotencyClaim,
    superuser: psycopg.Connection[Any],
) -> None:
    await keys.claim(claim, AT)
    superuser.execute(
        "CREATE FUNCTION strongroom.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no'; END $$"
    )
    superuser.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON strongroom.audit_events"
        " FOR EACH ROW EXECUTE FUNCTION strongroom.refuse()"
    )
    try:
        with pytest.raises(VaultError):
            await answer(store, claim, b"first")
    finally:
        superuser.execute("DROP FUNCTION strongroom.refuse() CASCADE")
    with pytest.raises(IdempotencyBusy):
        await keys.claim(claim, AT + SECOND)
    await answer(store, claim, b"second")
    assert await keys.claim(claim, AT + SECOND) == b"second"


async def test_old_keys_are_forgotten(
    keys: PostgresIdempotency, claim: IdempotencyClaim, superuser: psycopg.Connection[Any]
) -> None:
    other = replace(claim, tenant=f"{claim.tenant}_other")
    for each in (claim, other):
        await keys.claim(each, AT)
        await keys.claim(replace(each, key="young"), AT + SECOND)
    await keys.forget(claim.tenant, AT + KEPT)
    left = superuser.execute(
        "SELECT tenant, key FROM strongroom.idempotency WHERE tenant LIKE %s ORDER BY 1, 2",
        [claim.tenant + "%"],
    ).fetchall()
    assert left == [
        (claim.tenant, "young"),
        (other.tenant, "order-1"),
        (other.tenant, "young"),
    ]
