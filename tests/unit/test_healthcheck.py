"""The container's health check tells a service that answers 200 from all else."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from vault_service.adapters.postgres.embedded.state import free_port
from vault_service.healthcheck import healthy


class _Service(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def service() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), _Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "expected"), [(200, True), (500, False), (503, False)])
def test_only_200_is_healthy(
    service: HTTPServer, monkeypatch: pytest.MonkeyPatch, status: int, expected: bool
) -> None:
    monkeypatch.setattr(_Service, "status", status)
    assert healthy(service.server_port) is expected


def test_nobody_there_is_not_healthy() -> None:
    assert healthy(free_port()) is False
