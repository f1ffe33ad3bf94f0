"""What several unit tests are handed."""

from collections.abc import Iterator

import pytest

from tests.authenticating import House, house_of
from tests.fakes.scripted_server import ScriptedServer
from tests.fakes.vault_over_http import MemoryVault


@pytest.fixture
async def house() -> House:
    return house_of()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A vault in memory that fails where it is told to."""
    with ScriptedServer(MemoryVault()) as running:
        yield running
