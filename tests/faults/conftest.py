"""A value that a module's vault holds before each fault."""

import pytest

from tests.faults.faulted_vault import Stored, fresh, reveal, tokenize_keyed
from tests.serving import Server


@pytest.fixture
def stored(vault: Server) -> Stored:
    caller = vault.caller("load-tester")
    [value] = fresh()
    [token] = caller.tokenize("pan", [value])
    # Afterwards every key that the requests below need is there, and in memory.
    assert reveal(caller, token).status_code == 200
    assert tokenize_keyed(caller, [value]).status_code == 200
    return Stored(caller, value, token)
