"""The asyncio client: the same calls, driven by an event loop."""

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest

from tests.fakes.scripted_server import DROP, Reply, ScriptedServer, Seen, problem
from vault_service.client import AsyncClient, BatchError, Client, Credentials, RequestRefused, Retry

FAST = Retry(first=0.001, longest=0.002, deadline=10.0)


@pytest.fixture
async def vault(server: ScriptedServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.url, "srk_x", batch_size=10, concurrency=3, retry=FAST) as client:
        yield client


def test_both_clients_offer_the_same() -> None:
    blocking = {"submit", "stream"}  # on threads, and piece by piece

    def offered(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") and name not in blocking
        }

    assert offered(Client) == offered(AsyncClient)


async def test_order_is_kept_over_batches(vault: AsyncClient, server: ScriptedServer) -> None:
    values = [f"value-{number}" for number in range(95)]
    tokens = await vault.tokenize("email", values)
    assert await vault.detokenize(tokens, purpose="chargeback", form="plain") == values
    assert len(server.seen) == 20
    assert server.most_running <= 3


async def test_failures_are_repeated(vault: AsyncClient, server: ScriptedServer) -> None:
    server.faults += [DROP, problem(503, "database_unavailable")]
    assert len(await vault.tokenize("email", ["someone"])) == 1
    assert len({seen.headers["idempotency-key"] for seen in server.seen}) == 1
    assert len(server.seen) == 3


async def test_item_failures_are_raised(vault: AsyncClient) -> None:
    with pytest.raises(BatchError) as caught:
        await vault.tokenize("email", ["good", "bad"])
    assert caught.value.code == "invalid_value"


async def test_the_first_refusal_stops_the_rest(vault: AsyncClient, server: ScriptedServer) -> None:
    def refuse(seen: Seen) -> Reply:
        return problem(403, "access_denied")

    server.handler = refuse
    with pytest.raises(RequestRefused):
        await vault.tokenize("email", [str(number) for number in range(1000)])
    assert len(server.seen) < 50


async def test_the_other_routes(vault: AsyncClient) -> None:
    token = (await vault.tokenize("email", ["known"]))[0]
    assert await vault.lookup("email", "known") == token
    assert await vault.lookup("email", "unknown") is None
    assert (await vault.describe(token)).data_class == "email"
    assert "chargeback" in (await vault.catalog()).purposes
    assert (await vault.whoami()).principal == "loader"
    assert (await vault.explain("tokenize", "email")).allowed
    assert len([event async for event in vault.audit_events()]) == 6
    await vault.delete(token)


async def test_a_slow_source_of_credentials_does_not_block_the_loop(
    server: ScriptedServer,
) -> None:
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    go_on = asyncio.Event()

    def slow() -> str:
        loop.call_soon_threadsafe(asked.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return "srk_slow"

    async with AsyncClient(server.url, Credentials(slow), retry=FAST) as vault:
        call = asyncio.create_task(vault.whoami())
        await asked.wait()
        go_on.set()
        await call
    assert server.seen[0].headers["authorization"] == "Bearer srk_slow"
