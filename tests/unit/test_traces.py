"""Spans leave with the route template, and with nothing that a caller sent."""

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest
from fastapi import FastAPI
from fastapi.telemetry import get_telemetry_data
from opentelemetry import propagate
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from vault_service.adapters.telemetry.traces import Tracing, tracing

CANARY = "canary3b1f7c"
CARD_TRACE = "00-41111111111111110000000000000abc-00f067aa0ba902b7-01"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class _Endpoint:
    """An ASGI endpoint, as the service's own are."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await Response("ok")(scope, receive, send)


async def _broken(item: str) -> None:
    raise ValueError(item)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traced(exporter: InMemorySpanExporter) -> Iterator[Tracing]:
    before = propagate.get_global_textmap()
    made = tracing("", environment="test", exporter=exporter)
    yield made
    made.close()
    propagate.set_global_textmap(before)


@pytest.fixture
def client(traced: Tracing) -> TestClient:
    app = FastAPI(telemetry=traced.config)
    app.router.routes.append(Route("/v1/tokens/{token}", _Endpoint(), methods=["GET", "POST"]))
    app.add_api_route("/broken/{item}", _broken)
    return TestClient(app, raise_server_exceptions=False)


def spans(traced: Tracing, exporter: InMemorySpanExporter) -> tuple[ReadableSpan, ...]:
    """What was exported; closing sends what is waiting."""
    traced.close()
    return exporter.get_finished_spans()


def test_span_has_the_template_and_no_more_than_the_allowed_attributes(
    client: TestClient, traced: Tracing, exporter: InMemorySpanExporter
) -> None:
    client.post(
        f"/v1/tokens/{CANARY}?q={CANARY}",
        json={CANARY: CANARY},
        headers={
            "authorization": f"Bearer {CANARY}",
            "user-agent": CANARY,
            "host": f"{CANARY}.example",
            "traceparent": TRACE,
            "tracestate": f"vendor={CANARY}",
            "baggage": f"key={CANARY}",
        },
    )
    client.get(f"/broken/{CANARY}")
    client.get(f"/nowhere/{CANARY}")
    client.request(CANARY.upper(), f"/v1/tokens/{CANARY}")
    found = spans(traced, exporter)
    assert [span.name for span in found] == [
        "POST /v1/tokens/{token}",
        "GET /broken/{item}",
        "GET",
        "_OTHER /v1/tokens/{token}",
    ]
    written = "".join(span.to_json() for span in found)
    assert CANARY not in written.lower()
    assert found[0].attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v1/tokens/{token}",
        "network.protocol.version": "1.1",
        "url.scheme": "http",
    }
    assert found[1].attributes is not None
    assert found[1].attributes["error.type"] == "ValueError"
    assert not any(span.events or span.links for span in found)


def test_joins_the_trace_of_the_caller(
    client: TestClient, traced: Tracing, exporter: InMemorySpanExporter
) -> None:
    client.get("/v1/tokens/x", headers={"traceparent": TRACE})
    (span,) = spans(traced, exporter)
    assert json.loads(span.to_json())["context"]["trace_id"] == "0x" + TRACE.split("-")[1]
    assert span.parent is not None


def test_does_not_join_a_trace_that_holds_a_card_number(
    client: TestClient, traced: Tracing, exporter: InMemorySpanExporter
) -> None:
    client.get("/v1/tokens/x", headers={"traceparent": CARD_TRACE})
    (span,) = spans(traced, exporter)
    assert "4111111111111111" not in span.to_json()
    assert span.parent is None


class _Collector(BaseHTTPRequestHandler):
    received: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.received.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


def test_spans_reach_the_collector_without_what_the_caller_sent() -> None:
    before = propagate.get_global_textmap()
    _Collector.received.clear()
    with HTTPServer(("127.0.0.1", 0), _Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        made = tracing(f"http://127.0.0.1:{server.server_port}/", environment="test")
        app = FastAPI(telemetry=made.config)
        app.router.routes.append(Route("/v1/tokens/{token}", _Endpoint()))
        TestClient(app).get(f"/v1/tokens/{CANARY}?q={CANARY}", headers={"x-any": CANARY})
        made.close()
        server.shutdown()
        thread.join()
    propagate.set_global_textmap(before)
    ((path, body),) = _Collector.received
    assert path == "/v1/traces"
    assert b"/v1/tokens/{token}" in body
    assert CANARY.encode() not in body


def test_no_collector_means_no_spans() -> None:
    made = tracing("", environment="test")
    seen: list[object] = []

    class Endpoint(_Endpoint):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            seen.append(get_telemetry_data())
            await super().__call__(scope, receive, send)

    app = FastAPI(telemetry=made.config)
    app.router.routes.append(Route("/", Endpoint()))
    assert TestClient(app).get("/").status_code == 200
    assert seen == [None]
    made.close()
