"""The token store on a real PostgreSQL: find or insert, one commit, one tenant."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.conftest import DatabaseUrls
from tests.stored import AT, Counted, event, events_of, make, put, tokens_of, waits_for_a_lock
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.token_store import PostgresTokenStore
from vault_service.domain.tokens import StoredBatch, TokenRecord


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
