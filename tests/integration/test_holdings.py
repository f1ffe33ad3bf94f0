"""Tokens of a class without values, page by page, and how many lie under each key."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.stored import make
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.holdings import PostgresHoldings
from vault_service.adapters.postgres.token_ranges import PostgresTokenRanges
from vault_service.adapters.postgres.token_store import PostgresTokenStore
from vault_service.domain.events import AuditEvent, new_event_id
from vault_service.domain.holdings import TokenEntry
from vault_service.domain.ports import Conclusion
from vault_service.domain.report_parts import ranges
from vault_service.domain.report_ports import TokenQuery
from vault_service.domain.tokens import StoredBatch

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


async def save(kept: PostgresTokenStore, tenant: str, names: Sequence[str], **fields: Any) -> None:
    """Tokens of ``names`` (in class ``pan``, under key 7)."""

    async def conclude(_: Sequence[StoredBatch]) -> Conclusion:
        event = AuditEvent(new_event_id(), NOW, tenant, "x", "tokenize", "ok", "", "")
        return Conclusion(event)

    await kept.store(tenant, [make(tenant, names, **fields)], conclude)


@pytest.fixture
def kept(store: PostgresTokenStore) -> PostgresTokenStore:
    return store


async def pages(holdings: PostgresHoldings, query: TokenQuery) -> list[Sequence[TokenEntry]]:
    found = []
    while True:
        page, cursor = await holdings.tokens(query)
        found.append(page)
        if cursor is None:
            return found
        query = replace(query, cursor=cursor)


@pytest.mark.parametrize(("limit", "walked"), [(100, 50_000), (7, 50_000), (3, 5), (100, 4)])
async def test_all_tokens_of_a_class(
    database: Database,
    kept: PostgresTokenStore,
    superuser: psycopg.Connection[Any],
    tenant: str,
    limit: int,
    walked: int,
) -> None:
    """Each once, however the pages are cut; none of another class or tenant."""
    await save(kept, tenant, [f"value-{n}" for n in range(40)], tags=(("region", "eu"),))
    await save(kept, f"{tenant}_other", ["somebody else's"])
    superuser.execute(
        "UPDATE strongroom.tokens SET data_class = 'email' WHERE tenant = %s AND token IN"
        " (SELECT token FROM strongroom.tokens WHERE tenant = %s ORDER BY token LIMIT 20)",
        (tenant, tenant),
    )
    expected = [
        token
        for (token,) in superuser.execute(
            "SELECT token FROM strongroom.tokens WHERE tenant = %s AND data_class = 'pan'"
            " ORDER BY token",
            (tenant,),
        )
    ]
    holdings = PostgresHoldings(database, walked=walked)
    found = await pages(holdings, TokenQuery(tenant, "pan", limit))
    entries = [entry for page in found for entry in page]
    assert [entry.token for entry in entries] == expected
    assert all(len(page) <= limit for page in found)
    assert {entry.data_class for entry in entries} == {"pan"}
    assert {tuple(entry.tags.items()) for entry in entries} == {(("region", "eu"),)}


@pytest.mark.parametrize("size", [1, 7, 20, 21])
async def test_boundaries_cut_a_class_into_ranges_that_miss_and_share_nothing(
    database: Database,
    kept: PostgresTokenStore,
    superuser: psycopg.Connection[Any],
    tenant: str,
    size: int,
) -> None:
    await save(kept, tenant, [f"value-{n}" for n in range(40)])
    await save(kept, f"{tenant}_other", ["somebody else's"])
    superuser.execute(
        "UPDATE strongroom.tokens SET data_class = 'email' WHERE tenant = %s AND token IN"
        " (SELECT token FROM strongroom.tokens WHERE tenant = %s ORDER BY random() LIMIT 20)",
        (tenant, tenant),
    )
    holdings = PostgresHoldings(database)
    everything = await pages(holdings, TokenQuery(tenant, "pan", 100))
    whole = [entry.token for page in everything for entry in page]
    cutting = PostgresTokenRanges(database)
    ends = await cutting.boundaries(tenant, "pan", size, 500)
    assert len(ends) == -(-len(whole) // size) - 1
    found = []
    for within in ranges(ends):
        cut = await pages(holdings, TokenQuery(tenant, "pan", 3, within=within))
        tokens = [entry.token for page in cut for entry in page]
        assert len(tokens) <= size
        found += tokens
    assert found == whole
    assert len(ranges(await cutting.boundaries(tenant, "pan", size, 3))) <= 3


async def test_pages_end_where_they_ended_before(
    database: Database,
    kept: PostgresTokenStore,
    superuser: psycopg.Connection[Any],
    tenant: str,
) -> None:
    """A row that goes shifts no page behind the next edge."""
    await save(kept, tenant, [f"value-{n}" for n in range(3000)])
    holdings = PostgresHoldings(database)
    query = TokenQuery(tenant, "pan", 1000)
    before = [page[-1].token for page in await pages(holdings, query) if page]
    superuser.execute(
        "DELETE FROM strongroom.tokens WHERE tenant = %s AND token ="
        " (SELECT min(token) FROM strongroom.tokens WHERE tenant = %s)",
        (tenant, tenant),
    )
    after = [page[-1].token for page in await pages(holdings, query) if page]
    assert len(before) >= 3
    assert set(after[1:]) & set(before[1:])


async def test_tokens_of_subjects(
    database: Database, kept: PostgresTokenStore, tenant: str
) -> None:
    await save(
        *(kept, tenant, ["a", "b", "c", "d"]),
        subjects={"a": "cus_1", "b": "cus_1", "c": "cus_2"},
        links=[("a", "cus_2"), ("b", "cus_3")],
    )
    holdings = PostgresHoldings(database)

    async def of(*subjects: str, limit: int = 100) -> list[str | None]:
        query = TokenQuery(tenant, "pan", limit, subjects=subjects)
        return sorted(
            (entry.subject for page in await pages(holdings, query) for entry in page), key=str
        )

    assert await of("cus_1") == ["cus_1", "cus_1"]
    assert await of("cus_2") == ["cus_2", "cus_2"]
    assert await of("cus_1", "cus_2", "cus_3", limit=1) == [
        *("cus_1", "cus_1", "cus_2", "cus_2", "cus_3"),
    ]
    assert await of("nobody") == []


@pytest.mark.parametrize(("limit", "walked"), [(100, 50_000), (1, 50_000), (2, 3), (3, 50_000)])
async def test_a_token_of_several_people_comes_once_for_each(
    database: Database,
    kept: PostgresTokenStore,
    superuser: psycopg.Connection[Any],
    tenant: str,
    limit: int,
    walked: int,
) -> None:
    """However the pages are cut, with all tokens and among some; once where it is overdue."""
    links = [("b", f"cus_{n}") for n in range(3, 9)] + [("d", "cus_3")]
    await save(
        *(kept, tenant, ["a", "b", "c", "d", "e"]),
        subjects={"a": "cus_1", "b": "cus_2", "d": "cus_1"},
        expires={"b": NOW - DAY},
        links=links,
    )
    of: dict[str, list[str | None]] = {}
    for token, subject in superuser.execute(
        "SELECT token, subject FROM strongroom.tokens WHERE tenant = %s"
        " UNION ALL SELECT token, subject FROM strongroom.token_subjects WHERE tenant = %s",
        (tenant, tenant),
    ):
        of.setdefault(token, []).append(subject)
    [shared] = [token for token, people in of.items() if len(people) == 7]
    expected = sorted((token, subject) for token in of for subject in map(str, of[token]))
    holdings = PostgresHoldings(database, walked=walked)

    async def told(query: TokenQuery) -> list[tuple[str, str]]:
        found = await pages(holdings, query)
        assert all(len(page) <= limit for page in found)
        return sorted((entry.token, str(entry.subject)) for page in found for entry in page)

    assert await told(TokenQuery(tenant, "pan", limit)) == expected
    among = [shared, min(of), "tok_pan_nobody's"]
    assert await told(TokenQuery(tenant, "pan", limit, among=among)) == [
        pair for pair in expected if pair[0] in among
    ]
    assert await told(TokenQuery(tenant, "email", limit, among=among)) == []
    late = TokenQuery(tenant, "pan", limit, overdue_at=datetime.now(UTC))
    assert await told(late) == [(shared, "cus_2")]


async def test_what_has_outlived_its_time(
    database: Database,
    kept: PostgresTokenStore,
    superuser: psycopg.Connection[Any],
    tenant: str,
) -> None:
    await save(
        *(kept, tenant, ["gone", "good", "old"]),
        expires={"gone": NOW - DAY, "good": NOW + DAY},
    )
    superuser.execute(
        "UPDATE strongroom.tokens SET created_at = now() - interval '30 days' WHERE tenant = %s"
        " AND expires_at IS NULL",
        (tenant,),
    )
    holdings = PostgresHoldings(database)
    at = datetime.now(UTC)
    query = TokenQuery(tenant, "pan", 100, overdue_at=at)

    async def overdue(query: TokenQuery) -> int:
        return sum(len(page) for page in await pages(holdings, query))

    assert await overdue(query) == 1
    assert await overdue(replace(query, retained_since=at - 20 * DAY)) == 2
    assert await overdue(replace(query, retained_since=at - 40 * DAY)) == 1


async def test_the_inventory(
    database: Database,
    kept: PostgresTokenStore,
    superuser: psycopg.Connection[Any],
    tenant: str,
) -> None:
    superuser.execute(
        "INSERT INTO strongroom.data_keys (id, tenant, data_class, purpose, epoch, state, wrapped,"
        " wrapper, uses, created_at) VALUES (7, %s, 'pan', 'record', 3, 'retired', '',"
        " 'local:root', 0, '2026-01-01T00:00:00Z')"
        " ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant",
        (tenant,),
    )
    await save(
        *(kept, tenant, ["a", "b", "c"]),
        subjects={"a": "cus_1", "b": "cus_1"},
        expires={"c": NOW - DAY},
        links=[("a", "cus_2"), ("c", "cus_2"), ("b", "cus_3")],
    )
    at = datetime.now(UTC)
    [held] = await PostgresHoldings(database).holdings(tenant, {"pan": at - DAY}, at)
    assert (held.data_class, held.key_id, held.epoch, held.key_state) == ("pan", 7, 3, "retired")
    assert (held.tokens, held.subjects, held.overdue) == (3, 3, 1)
    assert held.wrapping_key == "local:root"
    assert held.oldest <= held.newest
    assert held.key_created_at == datetime(2026, 1, 1, tzinfo=UTC)
    [later] = await PostgresHoldings(database).holdings(tenant, {"pan": at + DAY}, at)
    assert later.overdue == 3
