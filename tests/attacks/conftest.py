"""A vault for each module that asks, and a caller who may do everything with values; a log
for each module that tampers with one, and a copy of it for each attack."""

from collections.abc import Iterator

import pytest

from tests.attacks.log_copies import Copy
from tests.attacks.tampered_log import Original, make_log
from tests.by_hand import save_script
from tests.calling import Caller
from tests.serving import Serve, Server


@pytest.fixture(scope="module")
def vault(serve_module: Serve) -> Server:
    return serve_module()


@pytest.fixture
def caller(vault: Server) -> Caller:
    return vault.caller("load-tester")


@pytest.fixture(scope="module")
def log(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Original]:
    made = make_log(serve_module, save_script(tmp_path_factory.mktemp("by_hand")))
    yield made
    made.early.close()


@pytest.fixture
def copy(log: Original) -> Iterator[Copy]:
    made = Copy(log.server)
    yield made
    made.close()
