"""Sessions that store the same new values at the same moment: one stores them, the others
are told that they are known, and none waits for one that waits for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest

from tests.conftest import DatabaseUrls
from tests.stored import event, make, tokens_of
from vault_service.adapters.postgres import hot_path, transaction
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.insertion import Connection
from vault_service.adapters.postgres.works import Write
from vault_service.domain.ports import Conclusion
from vault_service.domain.tokens import TokenBatch

Way = Callable[[Connection, str, TokenBatch], Awaitable[int]]
STORMS = 40
VALUES = 20


@pytest.fixture
async def sessions(urls: DatabaseUrls) -> AsyncIterator[list[Connection]]:
    """Each as a worker has it."""
    async with contextlib.AsyncExitStack() as closing:
        found = []
        for _ in range(4):
            database = Database(urls.app_url, hot_connections=1)
            closing.push_async_callback(database.close)
            await database.open()
            found.append(await closing.enter_async_context(database.hot_connection()))
        yield found


def written(tenant: str, batch: TokenBatch) -> Write:
    made = event(tenant, batch.tokens)

    async def conclude(_: object) -> Conclusion:
        return Conclusion(made)

    return Write(tenant, len(batch), [batch], conclude)


async def as_new(session: Connection, tenant: str, batch: TokenBatch) -> int:
    """How many rows are stored. Raises where the session is ended as a deadlock."""
    try:
        assert await hot_path.store_new(session, tenant, [written(tenant, batch)])
    except hot_path.KnownValue:
        return 0
    return len(batch)


async def carefully(session: Connection, tenant: str, batch: TokenBatch) -> int:
    """The same, where the values may be known."""
    _, winners = await transaction.run(session, tenant, [written(tenant, batch)])
    return len(batch) - len(winners)


@pytest.mark.parametrize("subject", [None, "cus_1"], ids=["batch", "rows"])
@pytest.mark.parametrize(
    "ways", [[as_new] * 4, [as_new, as_new, carefully, carefully]], ids=["new", "both"]
)
async def test_none_waits_for_one_that_waits_for_it(
    sessions: list[Connection],
    tenant: str,
    superuser: psycopg.Connection[Any],
    ways: list[Way],
    subject: str | None,
) -> None:
    for storm in range(STORMS):
        names = [f"{storm}/{number}" for number in range(VALUES)]
        subjects = None if subject is None else dict.fromkeys(names, subject)
        stored = await asyncio.gather(
            *(
                way(session, tenant, make(tenant, names, subjects=subjects))
                for way, session in zip(ways, sessions, strict=True)
            )
        )
        assert sum(stored) == VALUES, "each value once"
    assert len(tokens_of(superuser, tenant)) == STORMS * VALUES
