"""A database server that may be hurt, and a value that a vault holds before each fault."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.faulted_vault import Stored, fresh, reveal, tokenize_keyed
from tests.serving import Server
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres


@pytest.fixture(scope="module")
def own_postgres(
    tmp_path_factory: pytest.TempPathFactory, pg_bindir: Path | None
) -> Iterator[EmbeddedPostgres]:
    """A database server that may be stopped and killed without harm to other tests."""
    home = tmp_path_factory.mktemp("own")
    with EmbeddedPostgres.own(home, bindir=pg_bindir, shared_buffers="32MB") as server:
        yield server


@pytest.fixture
def stored(vault: Server) -> Stored:
    caller = vault.caller("load-tester")
    [value] = fresh()
    [token] = caller.tokenize("pan", [value])
    # Afterwards every key that the requests below need is there, and in memory.
    assert reveal(caller, token).status_code == 200
    assert tokenize_keyed(caller, [value]).status_code == 200
    return Stored(caller, value, token)
