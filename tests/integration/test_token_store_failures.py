"""What the token store does when something fails: nothing by halves, and to nobody else."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import psycopg
import pytest

from tests.conftest import DatabaseUrls
from tests.stored import (
    AT,
    Counted,
    event,
    events_of,
    index,
    make,
    put,
    tokens_of,
    waits_for_a_lock,
)
from vault_service.adapters.postgres.token_store import PostgresTokenStore
from vault_service.domain.errors import Code, KeyUnavailable, VaultError
from vault_service.domain.events import AuditEvent
from vault_service.domain.ports import BudgetCharge, Conclude, Conclusion
from vault_service.domain.principals import Budget
from vault_service.domain.tokens import StoredBatch, TokenTaken


async def test_a_token_that_is_in_use(
    store: PostgresTokenStore, counted: Counted, tenant: str, superuser: psycopg.Connection[Any]
) -> None:
    """Formats with few digits can draw one twice: nothing is stored, and those who share
    the transaction do not notice."""
    taken = "9123456789012"
    await put(store, tenant, make(tenant, ["x"], tokens=[taken]))
    for data in (
        make(tenant, ["y"], tokens=[taken]),
        make(tenant, ["z", "x"], tokens=[taken, "n"]),
    ):
        if data.blind_indexes is not None and data.blind_indexes[0] == index(tenant, "x"):
            data.tokens.reverse()
        with pytest.raises(TokenTaken):
            await put(store, tenant, data)
    assert tokens_of(superuser, tenant) == {taken}
    assert len(events_of(superuser, tenant)) == 1
    works = [put(store, tenant, make(tenant, [f"sound {n}"])) for n in range(20)]
    works.insert(10, put(store, tenant, make(tenant, ["y"], tokens=[taken])))
    found = await asyncio.gather(*works, return_exceptions=True)
    assert isinstance(found.pop(10), TokenTaken)
    assert not [each for each in found if isinstance(each, BaseException)]
    assert max(counted.groups) > 1
    assert len(tokens_of(superuser, tenant)) == 21
    other = f"{tenant}_other"
    [stored] = await put(store, other, make(other, ["x"], tokens=[taken]))
    assert stored.tokens == [taken], "each tenant draws for itself"


@pytest.mark.parametrize(
    "failure",
    [
        KeyUnavailable("The key is away."),
        VaultError(Code.ERASED, "The key was destroyed."),
        VaultError(Code.INTERNAL, "Something is wrong."),
        VaultError(Code.AUDIT_UNAVAILABLE, "The event cannot be made."),
    ],
    ids=lambda failure: failure.code.value,
)
async def test_a_failure_of_one_is_not_one_of_those_beside_it(
    store: PostgresTokenStore,
    counted: Counted,
    tenant: str,
    superuser: psycopg.Connection[Any],
    failure: VaultError,
) -> None:
    """The key of a known record may be out of reach, and only its caller is told."""

    async def fails(stored: Sequence[StoredBatch]) -> Conclusion:
        raise failure

    works: list[Awaitable[Any]] = [
        put(store, tenant, make(tenant, [f"sound {n}"])) for n in range(20)
    ]
    works.insert(10, store.store(tenant, [make(tenant, ["bad"])], fails))
    found = await asyncio.gather(*works, return_exceptions=True)
    assert found.pop(10) is failure
    assert not [each for each in found if isinstance(each, BaseException)]
    assert max(counted.groups) > 1
    assert len(tokens_of(superuser, tenant)) == 20
    assert len(events_of(superuser, tenant)) == 20


async def test_a_caller_that_goes_away_takes_nobody_along(
    store: PostgresTokenStore, urls: DatabaseUrls, tenant: str, superuser: psycopg.Connection[Any]
) -> None:
    async with await psycopg.AsyncConnection.connect(urls.superuser_url) as other:
        await other.execute("LOCK TABLE strongroom.tokens IN ACCESS EXCLUSIVE MODE")
        works = [
            asyncio.create_task(put(store, tenant, make(tenant, [f"value {n}"]))) for n in range(10)
        ]
        await asyncio.wait_for(waits_for_a_lock(urls), 30)
        for work in works[::2]:
            work.cancel()
        await other.rollback()
        found = await asyncio.gather(*works, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in found] == [True, False] * 5
    await store.settle()
    stored = tokens_of(superuser, tenant)
    assert {each[0].tokens[0] for each in found if isinstance(each, list)} <= stored
    recorded = {
        token for each in events_of(superuser, tenant) for token in each["groups"][0]["tokens"]
    }
    assert stored == recorded, "whatever was committed is recorded"


async def test_a_deadlock_is_done_again(
    urls: DatabaseUrls, store: PostgresTokenStore, tenant: str, superuser: psycopg.Connection[Any]
) -> None:
    """Somebody stores the same two values the other way round: PostgreSQL ends one of the two,
    and no caller is told of it."""
    batch = make(tenant, ["x", "y"])
    assert batch.blind_indexes is not None
    first, last = batch.blind_indexes
    insert = (
        "INSERT INTO strongroom.tokens (tenant, token, data_class, key_id, ciphertext,"
        " blind_index, index_key_id, created_at) VALUES (%s, %s, 'pan', 7, '', %s, 8, now())"
    )
    async with await psycopg.AsyncConnection.connect(urls.superuser_url) as other:
        # So that it is the store's transaction that is ended.
        await other.execute("SET deadlock_timeout = '60s'")
        await other.execute(insert, [tenant, f"tok_pan_{tenant}_last", last])
        storing = asyncio.create_task(put(store, tenant, batch))
        await asyncio.wait_for(waits_for_a_lock(urls), 30)
        await other.execute(insert, [tenant, f"tok_pan_{tenant}_first", first])
        await other.rollback()
    [stored] = await storing
    assert stored.tokens == batch.tokens
    assert tokens_of(superuser, tenant) == set(batch.tokens)
    assert len(events_of(superuser, tenant)) == 1


@contextlib.contextmanager
def refusing(superuser: psycopg.Connection[Any], how: Callable[[str], str]) -> Iterator[None]:
    superuser.execute(
        "CREATE FUNCTION strongroom.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no'; END $$"
    )
    superuser.execute(how("strongroom.refuse()"))
    try:
        yield
    finally:
        superuser.execute("DROP FUNCTION strongroom.refuse() CASCADE")


@pytest.mark.parametrize("when", ["insert", "commit"])
@pytest.mark.parametrize("way", ["new", "known", "deletion", "event", "draw"])
async def test_nothing_without_its_event(
    store: PostgresTokenStore,
    tenant: str,
    superuser: psycopg.Connection[Any],
    when: str,
    way: str,
) -> None:
    """PCI-DSS 10.2.1: the rows and the event become durable together or not at all."""
    [kept] = await put(store, tenant, make(tenant, ["x"]))
    budgets = (Budget(None, tokens_per_day=5, subjects_per_day=5),)
    draw = BudgetCharge(tenant, "asker", "chargeback", budgets, 1, frozenset({"a"}), AT)

    def trigger(function: str) -> str:
        if when == "insert":
            return (
                "CREATE TRIGGER refuse BEFORE INSERT ON strongroom.audit_events"
                f" FOR EACH ROW EXECUTE FUNCTION {function}"
            )
        return (
            "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON strongroom.audit_events"
            f" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {function}"
        )

    with refusing(superuser, trigger):
        both = make(tenant, ["x", "y"], subjects={"x": "a", "y": "b"})
        attempts: dict[str, Callable[[], Awaitable[object]]] = {
            "new": lambda: put(store, tenant, make(tenant, ["y"])),
            "known": lambda: put(store, tenant, both),
            "deletion": lambda: store.delete(tenant, kept.tokens[0], event(tenant)),
            "event": lambda: store.append(event(tenant)),
            "draw": lambda: store.append(event(tenant), draw),
        }
        with pytest.raises(VaultError) as caught:
            await attempts[way]()
        assert caught.value.code is Code.AUDIT_UNAVAILABLE
        assert caught.value.__cause__ is None
        assert tokens_of(superuser, tenant) == set(kept.tokens)
    record = (await store.fetch(tenant, kept.tokens))[kept.tokens[0]]
    assert record.subject is None
    for table in ("budget_usage", "budget_subjects"):
        counted = f"SELECT FROM strongroom.{table} WHERE tenant = %s"
        assert superuser.execute(counted.encode(), [tenant]).fetchall() == []
    assert len(events_of(superuser, tenant)) == 1
    conclude: Conclude = _conclude_with(event(tenant))
    await store.store(tenant, [make(tenant, ["y"])], conclude)
    assert len(tokens_of(superuser, tenant)) == 2


def _conclude_with(made: AuditEvent) -> Conclude:
    async def conclude(stored: Sequence[StoredBatch]) -> Conclusion:
        return Conclusion(made)

    return conclude
