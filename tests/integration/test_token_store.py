"""The token store on a real PostgreSQL: find or insert, one commit, one tenant."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.conftest import DatabaseUrls
from tests.stored import AT, Counted, event, events_of, index, make, put, tokens_of
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.token_store import PostgresTokenStore
from vault_service.domain.errors import Code, KeyUnavailable, VaultError
from vault_service.domain.events import AuditEvent
from vault_service.domain.ports import BudgetCharge, Conclude, Conclusion
from vault_service.domain.principals import Budget
from vault_service.domain.tokens import StoredBatch, TokenRecord, TokenTaken


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


async def test_new_values_are_stored_as_given(
    store: PostgresTokenStore, tenant: str, superuser: psycopg.Connection[Any]
) -> None:
    batch = make(
        tenant,
        ["a", "b"],
        tags=(("note", 'ü " \\ \u2028'), ("region", "eu")),
        subjects={"a": "cus_1"},
        expires={"b": AT},
        links=[("b", "cus_2"), ("b", "cus_3")],
    )
    assert batch.blind_indexes is not None
    [stored] = await put(store, tenant, batch)
    assert stored == StoredBatch(batch.tokens, {})
    records = await store.fetch(tenant, [*batch.tokens, "tok_pan_nobody"])
    assert list(records) == list(dict.fromkeys(records))
    assert set(records) == set(batch.tokens)
    found = await store.find(tenant, [*batch.blind_indexes, bytes(32)])
    assert set(found) == set(batch.blind_indexes)
    for position, token in enumerate(batch.tokens):
        record = records[token]
        assert found[batch.blind_indexes[position]] == record
        assert (record.data_class, record.key_id, record.tags) == ("pan", 7, batch.tags)
        assert record.ciphertext == batch.ciphertexts[position]
        assert record.subject == (batch.subjects or [])[position]
        assert record.expires_at == (batch.expires_at or [])[position]
    links = superuser.execute(
        "SELECT subject FROM strongroom.token_subjects WHERE tenant = %s ORDER BY 1", [tenant]
    ).fetchall()
    assert links == [("cus_2",), ("cus_3",)]
    [recorded] = events_of(superuser, tenant)
    assert set(recorded["groups"][0]["tokens"]) == set(batch.tokens)


async def test_tokens_of_all_kinds_are_fetched_together(
    store: PostgresTokenStore, tenant: str
) -> None:
    """Tags, subjects and expiries of some, of none and of all."""
    batches = [
        make(tenant, ["a", "b", "c"]),
        make(tenant, ["d", "e"], tags=(("region", "eu"),), subjects={"d": "cus_1"}),
        make(tenant, ["f", "g"], tags=(("region", "us"),), expires={"g": AT}),
        make(tenant, ["h"], subjects={"h": "cus_2"}, expires={"h": AT}),
    ]
    for batch in batches:
        await put(store, tenant, batch)
    found = await store.fetch(tenant, [token for batch in batches for token in batch.tokens])
    assert len(found) == 8
    for batch in batches:
        for row, token in enumerate(batch.tokens):
            assert found[token] == TokenRecord(
                token,
                "pan",
                7,
                batch.ciphertexts[row],
                batch.tags,
                batch.subjects[row] if batch.subjects else None,
                batch.expires_at[row] if batch.expires_at else None,
            )


async def test_a_token_is_described_with_the_time_it_was_stored(
    store: PostgresTokenStore, tenant: str, superuser: psycopg.Connection[Any]
) -> None:
    batch = make(tenant, ["a", "b"], tags=(("region", "eu"),))
    await put(store, tenant, batch)
    token = batch.tokens[0]
    described = await store.describe(tenant, token)
    assert described is not None
    assert described.record == (await store.fetch(tenant, [token]))[token]
    assert superuser.execute(
        "SELECT created_at FROM strongroom.tokens WHERE token = %s", [token]
    ).fetchone() == (described.created_at,)
    assert await store.describe(tenant, "tok_pan_nobody") is None
    assert await store.describe(f"not {tenant}", token) is None


@pytest.mark.parametrize("size", [4, 300])
async def test_known_values_keep_their_tokens(
    database: Database, tenant: str, superuser: psycopg.Connection[Any], size: int
) -> None:
    """All known, then half of them: in a store that expects it and in one that does not."""
    values = [f"value {number}" for number in range(size)]
    first = PostgresTokenStore(database, Counted())
    batch = make(tenant, values, tags=(("region", "eu"),))
    await put(first, tenant, batch)
    for other in (first, PostgresTokenStore(database, Counted()), first):
        [again] = await put(other, tenant, make(tenant, values))
        assert again.tokens == batch.tokens
        assert set(again.known) == set(range(size))
        assert again.known[0].tags == batch.tags
        assert again.known[0].ciphertext == batch.ciphertexts[0]
    for number, other in enumerate((first, PostgresTokenStore(database, Counted()))):
        fresh = [f"fresh {number} {each}" for each in range(size)]
        mixed = make(tenant, values[::2] + fresh)
        [stored] = await put(other, tenant, mixed)
        assert len(stored.known) == size // 2
        for row, token in enumerate(stored.tokens):
            assert (token == mixed.tokens[row]) is (row not in stored.known)
            assert (token in batch.tokens) is (row in stored.known)
    assert len(tokens_of(superuser, tenant)) == 3 * size
    assert len(events_of(superuser, tenant)) == 6


async def test_the_same_value_from_many_at_once(
    store: PostgresTokenStore, counted: Counted, tenant: str, superuser: psycopg.Connection[Any]
) -> None:
    found = await asyncio.gather(
        *(put(store, tenant, make(tenant, ["same", f"own {n}"])) for n in range(40))
    )
    rows = tokens_of(superuser, tenant)
    assert len(rows) == 41
    shared = set.intersection(*(set(batch.tokens) for [batch] in found))
    assert len(shared) == 1
    assert max(counted.groups) > 1, "nothing shared a transaction"
    events = events_of(superuser, tenant)
    assert len(events) == 40
    assert all(shared < set(each["groups"][0]["tokens"]) for each in events)


@pytest.mark.parametrize("commits", [True, False])
async def test_a_value_that_another_transaction_is_storing(
    store: PostgresTokenStore, urls: DatabaseUrls, tenant: str, commits: bool
) -> None:
    """The store waits for it, and takes its token if it comes to be."""
    theirs, mine = make(tenant, ["x"]), make(tenant, ["w", "x", "y"])
    async with await psycopg.AsyncConnection.connect(urls.superuser_url) as other:
        assert theirs.blind_indexes is not None
        await other.execute(
            "INSERT INTO strongroom.tokens (tenant, token, data_class, key_id, ciphertext,"
            " blind_index, index_key_id, created_at) VALUES (%s, %s, 'pan', 7, %s, %s, 8, now())",
            [tenant, theirs.tokens[0], theirs.ciphertexts[0], theirs.blind_indexes[0]],
        )
        putting = asyncio.create_task(put(store, tenant, mine))
        await asyncio.wait_for(waits_for_a_lock(urls), 30)
        assert not putting.done()
        await (other.commit() if commits else other.rollback())
        [stored] = await putting
    expected = set(mine.tokens)
    if commits:
        assert mine.blind_indexes is not None
        expected.remove(mine.tokens[mine.blind_indexes.index(theirs.blind_indexes[0])])
        expected.add(theirs.tokens[0])
    assert set(stored.tokens) == expected
    assert len(stored.known) == commits
    assert set(await store.fetch(tenant, stored.tokens)) == expected


async def test_a_known_value_that_is_deleted_meanwhile(
    store: PostgresTokenStore, tenant: str, superuser: psycopg.Connection[Any]
) -> None:
    """The row that was in the way is gone when it is looked for: insert again."""
    old = make(tenant, ["x"])
    await put(store, tenant, old)
    superuser.execute(
        "CREATE FUNCTION strongroom.vanish() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS"
        f" $$ BEGIN DELETE FROM strongroom.tokens WHERE token = '{old.tokens[0]}';"
        " RETURN NULL; END $$"
    )
    superuser.execute(
        "CREATE TRIGGER vanish AFTER INSERT ON strongroom.tokens"
        " FOR EACH STATEMENT EXECUTE FUNCTION strongroom.vanish()"
    )
    try:
        new = make(tenant, ["x", "y"])
        [stored] = await put(store, tenant, new)
    finally:
        superuser.execute("DROP FUNCTION strongroom.vanish() CASCADE")
    assert stored.tokens == new.tokens
    assert not stored.known
    assert tokens_of(superuser, tenant) == set(new.tokens)


async def test_subjects_of_known_values(
    store: PostgresTokenStore, tenant: str, superuser: psycopg.Connection[Any]
) -> None:
    """A row without a subject adopts the first that comes; others are linked, once."""
    [first] = await put(store, tenant, make(tenant, ["x"]))
    for subject in ("cus_1", "cus_2", "cus_1", "cus_2", "cus_3"):
        await put(store, tenant, make(tenant, ["x"], subjects={"x": subject}))
    await put(store, tenant, make(tenant, ["x"], links=[("x", "cus_4"), ("x", "cus_1")]))
    [token] = first.tokens
    assert (await store.fetch(tenant, [token]))[token].subject == "cus_1"
    links = superuser.execute(
        "SELECT subject FROM strongroom.token_subjects WHERE token = %s ORDER BY 1", [token]
    ).fetchall()
    assert links == [("cus_2",), ("cus_3",), ("cus_4",)]


async def test_a_repeat_can_only_prolong(store: PostgresTokenStore, tenant: str) -> None:
    day = timedelta(days=1)
    [stored] = await put(store, tenant, make(tenant, ["x"], expires={"x": AT + day}))
    [token] = stored.tokens

    async def expiry() -> datetime | None:
        return (await store.fetch(tenant, [token]))[token].expires_at

    assert await expiry() == AT + day
    for wanted, kept in ((AT, AT + day), (AT + 3 * day, AT + 3 * day), (AT + day, AT + 3 * day)):
        await put(store, tenant, make(tenant, ["x"], expires={"x": wanted}))
        assert await expiry() == kept
    await put(store, tenant, make(tenant, ["x"]))
    assert await expiry() is None, "never is later than any time"
    await put(store, tenant, make(tenant, ["x"], expires={"x": AT + 9 * day}))
    assert await expiry() is None


@pytest.mark.parametrize("days", [(2, 9, 5), (9, 2), (2, None, 9), (None, 9)])
async def test_the_latest_of_several_at_once_holds(
    store: PostgresTokenStore, tenant: str, days: tuple[int | None, ...]
) -> None:
    [stored] = await put(store, tenant, make(tenant, ["x"], expires={"x": AT}))
    times = [None if each is None else AT + timedelta(days=each) for each in days]
    batches = [
        make(tenant, ["x"], expires=None if at is None else {"x": at}, tags=(("n", str(n)),))
        for n, at in enumerate(times)
    ]
    await put(store, tenant, *batches)
    [record] = (await store.fetch(tenant, stored.tokens)).values()
    assert record.expires_at == (None if None in times else max(at for at in times if at))


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


async def test_deletion(
    store: PostgresTokenStore, tenant: str, superuser: psycopg.Connection[Any]
) -> None:
    other = f"{tenant}_other"
    [mine] = await put(store, tenant, make(tenant, ["x"], links=[("x", "cus_1"), ("x", "cus_2")]))
    await put(store, other, make(other, ["x"], tokens=mine.tokens))
    [token] = mine.tokens
    deletion = event(tenant, [token], action="delete_token")
    await store.delete(tenant, token, deletion)
    assert not tokens_of(superuser, tenant)
    assert tokens_of(superuser, other) == {token}, "that of another tenant stays"
    left = superuser.execute(
        "SELECT count(*) FROM strongroom.token_subjects WHERE tenant = %s", [tenant]
    ).fetchone()
    assert left == (0,)
    assert events_of(superuser, tenant)[-1]["id"] == deletion.id
    [again] = await put(store, tenant, make(tenant, ["x"]))
    assert again.tokens != [token], "a value that comes back gets a token of its own"


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
