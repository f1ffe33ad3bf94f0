"""What several unit tests are handed."""

from collections.abc import Iterator

import pytest

from tests.authenticating import House, house_of
from tests.fakes.scripted_server import ScriptedServer
from tests.fakes.vault_over_http import MemoryVault
from tests.unit.keyring_world import World
from vault_service.client import Client, Retry

FAST = Retry(first=0.001, longest=0.002, deadline=10.0)


@pytest.fixture
async def house() -> House:
    return house_of()


@pytest.fixture
def world() -> World:
    """Keyrings with everything around them in memory."""
    return World()


@pytest.fixture
def memory() -> MemoryVault:
    """The vault that ``server`` plays."""
    return MemoryVault()


@pytest.fixture
def server(memory: MemoryVault) -> Iterator[ScriptedServer]:
    """A vault in memory that fails where it is told to."""
    with ScriptedServer(memory) as running:
        yield running


@pytest.fixture
def vault(server: ScriptedServer) -> Iterator[Client]:
    """A client of ``server`` that does not wait long before it asks again."""
    with Client(server.url, "srk_x", retry=FAST) as client:
        yield client
