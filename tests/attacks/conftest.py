"""A vault for each module that asks, and a caller who may do everything with values."""

import pytest

from tests.serving import Caller, Serve, Server


@pytest.fixture(scope="module")
def vault(serve_module: Serve) -> Server:
    return serve_module()


@pytest.fixture
def caller(vault: Server) -> Caller:
    return vault.caller("load-tester")
