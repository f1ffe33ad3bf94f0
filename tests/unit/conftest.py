"""What several unit tests are handed."""

import pytest

from tests.authenticating import House, house_of


@pytest.fixture
async def house() -> House:
    return house_of()
