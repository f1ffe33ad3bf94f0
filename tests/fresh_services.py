"""Services on fresh databases: one for the session, more for a test or a module.

``server`` is one ordinary service for the session; share it where a test leaves nothing
behind that could disturb another. ``serve`` and ``serve_module`` start more, each on a
fresh database, with other settings where a test needs them.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.serving import SERVICE, Serve, Server
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.embedded.state import APP, MIGRATOR, SUPERUSER
from vault_service.adapters.postgres.migrate import upgrade

_numbers = itertools.count(1)


def new_server(
    postgres: EmbeddedPostgres,
    directory: Path,
    *,
    workers: int = 1,
    environment: Mapping[str, str] | None = None,
    program: str = SERVICE,
) -> Server:
    """A server on a fresh, migrated database, not yet started."""
    name = f"served_{next(_numbers)}"
    urls = postgres.create_database(name)
    upgrade(urls[MIGRATOR])
    return Server(
        postgres,
        name,
        directory,
        urls[APP],
        urls[SUPERUSER],
        workers=workers,
        environment=environment or {},
        program=program,
    )


@contextlib.contextmanager
def _serving(postgres: EmbeddedPostgres, fresh: Callable[[], Path]) -> Iterator[Serve]:
    with contextlib.ExitStack() as closing:

        def serve(
            *,
            workers: int = 1,
            environment: Mapping[str, str] | None = None,
            start: bool = True,
            program: str = SERVICE,
        ) -> Server:
            server = new_server(
                postgres, fresh(), workers=workers, environment=environment, program=program
            )
            closing.callback(server.close)
            return server.start() if start else server

        yield serve


@pytest.fixture(scope="session")
def server(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One service with two workers for the whole session; leave no trace that matters."""
    with _serving(postgres, lambda: tmp_path_factory.mktemp("server")) as serve:
        yield serve(workers=2)


@pytest.fixture
def serve(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts services of the test's own."""
    with _serving(postgres, lambda: tmp_path_factory.mktemp("server")) as serve:
        yield serve


@pytest.fixture(scope="module")
def serve_module(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serve]:
    """Starts services that all tests of one module share."""
    with _serving(postgres, lambda: tmp_path_factory.mktemp("server")) as serve:
        yield serve
