"""What tests of runs in parts are handed: names enough to be cut, on the service of their
module, and a period of their own."""

import hashlib

import pytest

from tests.api.cut_runs import NAMES
from tests.serving import Server


@pytest.fixture(scope="module")
def names(server: Server) -> list[str]:
    """Ten tokens: three parts of four at the most."""
    tokens: list[str] = server.caller("crm").tokenize("person_name", NAMES)
    return sorted(tokens)


@pytest.fixture
def periods(request: pytest.FixtureRequest) -> str:
    """A period of the test's own."""
    number = int(hashlib.sha256(request.node.name.encode()).hexdigest(), 16) % 20_000
    return f"{2000 + number // 336}-{number // 28 % 12 + 1:02}-{number % 28 + 1:02}"
