"""The OpenAPI document is true: schemathesis finds nothing that it does not say.

Every check but one must hold: no 5xx, no undocumented status, media type, header or
field, no route but health without a credential. Left out is that whatever fits the
schema is accepted: a check digit or a rule on clear text is beyond any schema.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.calling import Caller
from tests.serving import Serve, Server
from tests.soak import times

RUN_VERBS = (
    *("approve", "reject", "output", "start", "heartbeat", "tokens", "inventory", "finish"),
    *("fail", "rights", "release", "split", "seal"),
)


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(workers=1)


@pytest.mark.parametrize("principal", ["load-tester", "auditor"])
def test_schemathesis_finds_nothing(serve: Serve, principal: str, tmp_path: Path) -> None:
    # One of its own: it tries out bad credentials until an address is told to wait.
    server = serve(workers=1)
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "from schemathesis.cli import schemathesis; schemathesis()",
            "run",
            f"{server.url}/openapi.json",
            f"--header=Authorization: Bearer {server.key(principal)}",
            f"--max-examples={times(20, 2000)}",
            "--checks=all",
            "--exclude-checks=positive_data_acceptance",
            "--continue-on-failure",
            "--no-color",
            "--seed=1",
        ],
        cwd=tmp_path,
        env={k: v for k, v in server.settings().items() if not k.startswith("STRONGROOM_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-1000:]
    assert "Tested: 35" in ran.stdout


def test_no_route_but_health_is_open(server: Server) -> None:
    anonymous = Caller(server.url)
    with anonymous.client:
        document = anonymous.get("/openapi.json").json()
        assert document["security"] == [{"bearer": []}]
        opened = set()
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                answer = anonymous.client.request(method, _filled(path))
                if operation.get("security") == []:
                    opened.add(path)
                    assert answer.status_code == 200
                else:
                    assert answer.status_code == 401, path
        assert opened == {"/healthz", "/readyz", "/metrics"}


def _filled(path: str) -> str:
    return path.replace("{token}", "tok_pan_x").replace("{id}", "x").replace("{name}", "x")


def test_each_route_is_in_the_document(server: Server) -> None:
    document = server.caller("checkout").get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/v1/tokenize",
        "/v1/detokenize",
        "/v1/lookup",
        "/v1/tokens/{token}",
        "/v1/catalog",
        "/v1/whoami",
        "/v1/policy/explain",
        "/v1/audit/events",
        "/v1/audit/events/{id}/proof",
        "/v1/audit/checkpoint",
        "/v1/audit/key",
        "/v1/audit/export",
        "/v1/subjects/{id}/timeline",
        "/v1/reports",
        "/v1/reports/{name}/runs",
        "/v1/reports/approvals/{id}",
        "/v1/reports/runs",
        "/v1/reports/runs/{id}",
        *(f"/v1/reports/runs/{{id}}/{verb}" for verb in RUN_VERBS),
        "/healthz",
        "/readyz",
        "/metrics",
    }
