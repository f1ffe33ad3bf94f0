"""Reveal budgets in PostgreSQL: exact whoever draws, and nothing is counted in vain."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from tests.conftest import DatabaseUrls
from tests.stored import Counted, event, events_of
from vault_service.adapters.postgres.budgets import PostgresBudgets
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.token_store import PostgresTokenStore
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.ports import BudgetCharge
from vault_service.domain.principals import Budget

NOON = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def stores(urls: DatabaseUrls) -> AsyncIterator[list[PostgresTokenStore]]:
    """Four stores, each with connections of its own, as four workers have."""
    databases = [Database(urls.app_url) for _ in range(4)]
    for database in databases:
        await database.open()
    found = [PostgresTokenStore(database, Counted()) for database in databases]
    yield found
    for store, database in zip(found, databases, strict=True):
        await store.settle()
        await database.close()


def draw(
    tenant: str,
    budgets: tuple[Budget, ...],
    tokens: int = 1,
    subjects: frozenset[str] = frozenset(),
    at: datetime = NOON,
) -> BudgetCharge:
    return BudgetCharge(tenant, "asker", "chargeback", budgets, tokens, subjects, at)


async def fits(store: PostgresTokenStore, charge: BudgetCharge) -> bool:
    """Draw; whether it was granted. Any other failure than a refusal fails the test."""
    refusal = await refused(store, charge)
    return refusal is None


async def refused(store: PostgresTokenStore, charge: BudgetCharge) -> VaultError | None:
    try:
        await store.append(event(charge.tenant, action="detokenize"), charge)
    except VaultError as error:
        if error.code is Code.BUDGET_EXCEEDED:
            return error
        raise
    return None


def used(superuser: psycopg.Connection[Any], tenant: str) -> dict[tuple[str, str], int]:
    found = superuser.execute(
        "SELECT purpose, kind, sum(used) FROM strongroom.budget_usage WHERE tenant = %s"
        " GROUP BY 1, 2",
        [tenant],
    )
    return {(purpose, kind): int(total) for purpose, kind, total in found}


async def test_four_workers_together_never_exceed_it(
    stores: list[PostgresTokenStore], tenant: str, superuser: psycopg.Connection[Any]
) -> None:
    budgets = (Budget("chargeback", tokens_per_hour=50), Budget(None, tokens_per_day=1000))
    sizes = [1 + number % 3 for number in range(60)]
    took = await asyncio.gather(
        *(
            fits(stores[number % 4], draw(tenant, budgets, size))
            for number, size in enumerate(sizes)
        )
    )
    total = sum(size for size, was_taken in zip(sizes, took, strict=True) if was_taken)
    assert total == 50, "one token at least was asked for at the end, so all was given out"
    assert used(superuser, tenant) == {
        ("chargeback", "tokens_per_hour"): 50,
        ("*", "tokens_per_day"): 50,
    }
    assert len(events_of(superuser, tenant)) == sum(took), "refused draws recorded nothing"


async def test_distinct_subjects_across_workers(
    stores: list[PostgresTokenStore], tenant: str, superuser: psycopg.Connection[Any]
) -> None:
    """Each of 30 subjects is asked for twice, and 20 of them fit."""
    budgets = (Budget("chargeback", subjects_per_day=20),)
    took = await asyncio.gather(
        *(
            fits(stores[number % 4], draw(tenant, budgets, 1, frozenset({f"cus_{number % 30}"})))
            for number in range(60)
        )
    )
    seen = {f"cus_{number % 30}" for number, was_taken in enumerate(took) if was_taken}
    assert len(seen) == 20
    assert used(superuser, tenant) == {("chargeback", "subjects_per_day"): 20}
    assert await fits(stores[0], draw(tenant, budgets, 20, frozenset(seen)))
    stranger = frozenset({*sorted(seen)[:5], "cus_new"})
    assert not await fits(stores[1], draw(tenant, budgets, 6, stranger))
    assert used(superuser, tenant) == {("chargeback", "subjects_per_day"): 20}


async def test_nothing_is_counted_where_one_window_refuses(
    store: PostgresTokenStore, tenant: str, superuser: psycopg.Connection[Any]
) -> None:
    budgets = (
        Budget(None, tokens_per_day=100, subjects_per_hour=100),
        Budget("chargeback", tokens_per_hour=10, subjects_per_day=2),
    )
    people = frozenset({"a", "b", "c"})
    assert not await fits(store, draw(tenant, budgets, 11, frozenset({"a"})))
    assert not await fits(store, draw(tenant, budgets, 3, people))
    assert sum(used(superuser, tenant).values()) == 0
    counted = superuser.execute(
        "SELECT count(*) FROM strongroom.budget_subjects WHERE tenant = %s", [tenant]
    ).fetchone()
    assert counted == (0,)
    assert not events_of(superuser, tenant)
    assert await fits(store, draw(tenant, budgets, 10, frozenset({"a", "b"})))
    assert used(superuser, tenant) == {
        ("*", "tokens_per_day"): 10,
        ("*", "subjects_per_hour"): 2,
        ("chargeback", "tokens_per_hour"): 10,
        ("chargeback", "subjects_per_day"): 2,
    }


async def test_windows_are_clock_hours_and_days_in_utc(
    store: PostgresTokenStore, database: Database, tenant: str
) -> None:
    budgets = (Budget("chargeback", tokens_per_hour=5, tokens_per_day=8),)
    reader = PostgresBudgets(database)

    async def left(at: datetime) -> int | None:
        return await reader.left(tenant, "asker", "chargeback", budgets, at)

    late = NOON.replace(hour=23, minute=59, second=59)
    assert await left(late) == 5
    assert await fits(store, draw(tenant, budgets, 5, at=late - HOUR))
    assert await left(late) == 3, "the day is tighter than the new hour"
    assert await fits(store, draw(tenant, budgets, 3, at=late))
    assert await left(late) == 0
    refusal = await refused(store, draw(tenant, budgets, 1, at=late))
    assert refusal is not None
    assert refusal.retry_after == 1, "a second to midnight"
    assert await left(late + timedelta(seconds=1)) == 5
    elsewhere = (late + timedelta(seconds=1)).astimezone(ZoneInfo("Pacific/Auckland"))
    assert await fits(store, draw(tenant, budgets, 5, at=elsewhere))
    assert await left(late + timedelta(seconds=1)) == 0


async def test_budgets_are_apart_by_principal_and_tenant(
    store: PostgresTokenStore, tenant: str
) -> None:
    budgets = (Budget("chargeback", tokens_per_hour=1),)
    first = draw(tenant, budgets)
    assert await fits(store, first)
    assert not await fits(store, first)
    assert await fits(store, replace(first, principal="other"))
    assert await fits(store, draw(f"{tenant}_other", budgets))


async def test_a_refused_draw_leaves_those_beside_it(
    store: PostgresTokenStore, tenant: str, superuser: psycopg.Connection[Any]
) -> None:
    """In one transaction: one does not fit, the others are counted and recorded."""
    budgets = (Budget("chargeback", tokens_per_hour=30),)
    took = await asyncio.gather(
        *(fits(store, draw(tenant, budgets, 40 if n == 7 else 1)) for n in range(20))
    )
    assert [n for n, was_taken in enumerate(took) if not was_taken] == [7]
    assert used(superuser, tenant) == {("chargeback", "tokens_per_hour"): 19}
    assert len(events_of(superuser, tenant)) == 19
