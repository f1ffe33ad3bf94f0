"""How far sealing is, as ``/readyz``, metrics and log lines tell it; start and stop."""

import json
import re
from datetime import timedelta
from typing import Any

import httpx2
import psycopg
import pytest

from tests.auditing import pinned_key, proof, tokenize, until
from tests.calling import Caller
from tests.serving import Serve, Server
from tests.stored import event, put_directly
from vault_service.adapters.postgres.log_statements import LOCK
from vault_service.verifier.findings import Verdict
from vault_service.verifier.receipts import verify_receipt


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(workers=1)


@pytest.fixture(scope="module")
def auditor(server: Server) -> Caller:
    return server.caller("auditor")


def metric(server: Server, name: str) -> float:
    page = httpx2.get(f"{server.url}/metrics", timeout=10.0).text
    found = re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def ready(server: Server) -> dict[str, Any]:
    answer = httpx2.get(f"{server.url}/readyz", timeout=10.0)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    assert set(body) == {"status", "checks", "unsealed_seconds", "unsealed_alarm"}
    return body


def test_what_is_sealed_and_signed_is_counted(server: Server, auditor: Caller) -> None:
    leaves, signed = (
        metric(server, f"strongroom_audit_{name}_total") for name in ("leaves", "checkpoints")
    )
    _, event_id = tokenize(server.caller("checkout"), 217)
    assert proof(auditor, event_id).status_code == 200
    assert metric(server, "strongroom_audit_leaves_total") > leaves
    assert metric(server, "strongroom_audit_checkpoints_total") > signed
    assert metric(server, "strongroom_audit_log_broken") == 0
    assert metric(server, "strongroom_audit_anchor_failures_total") == 0
    until(lambda: ready(server)["unsealed_seconds"] == 0)
    assert not ready(server)["unsealed_alarm"]
    [(newest,)] = server.query("SELECT max(tree_size) FROM strongroom.log_checkpoints")
    until(lambda: newest in copies(server))


def copies(server: Server) -> set[int]:
    """Sizes of the checkpoints that are kept in the folder."""
    return {int(path.stem) for path in (server.home / "checkpoints").iterdir()}


def test_a_log_that_nobody_seals(serve: Serve) -> None:
    """Requests are served; that their events are not sealed is told, loudly past five
    minutes; what needs a signature says that there is none yet."""
    server = serve(workers=1, start=False)
    with psycopg.connect(server.superuser_url, autocommit=True) as elsewhere:
        elsewhere.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        server.start()
        auditor, checkout = server.caller("auditor"), server.caller("checkout")
        _, event_id = tokenize(checkout, 218)
        for path in ("/v1/audit/checkpoint", "/v1/audit/export"):
            answer = auditor.get(path)
            assert answer.status_code == 404, path
            assert answer.json()["code"] == "not_found"
        answer = proof(checkout, event_id)
        assert answer.status_code == 503
        assert answer.json()["code"] == "audit_unavailable"
        assert answer.headers["retry-after"] == "5"
        state = ready(server)
        assert 0 < state["unsealed_seconds"] < 300
        assert not state["unsealed_alarm"]
        [(first,)] = server.query("SELECT min(occurred_at) FROM strongroom.audit_events")
        old = event("main", occurred_at=first - timedelta(minutes=6))
        put_directly(server.superuser_url, [old])
        with psycopg.connect(server.superuser_url) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute("DELETE FROM strongroom.audit_events WHERE id <> %s", [old.id])
        assert ready(server)["unsealed_seconds"] > 360
        assert ready(server)["unsealed_alarm"]
        until(lambda: metric(server, "strongroom_audit_unsealed_seconds") > 360)
        until(lambda: "audit_unsealed" in server.stderr.read_text())
        told = [json.loads(line) for line in server.stderr.read_text().splitlines()]
        [alarm] = [line for line in told if line["event"] == "audit_unsealed"]
        assert alarm["level"] == "critical"
        assert alarm["seconds"] > 360
        assert metric(server, "strongroom_audit_leaves_total") == 0
        assert tokenize(checkout, 219)
    until(lambda: not ready(server)["unsealed_alarm"])
    until(lambda: auditor.get("/v1/audit/checkpoint").status_code == 200)


def told(server: Server, action: str) -> list[dict[str, Any]]:
    rows = server.query(
        "SELECT body FROM strongroom.audit_events WHERE action = %s ORDER BY position", action
    )
    return [json.loads(bytes(body)) for (body,) in rows]


def test_that_recording_starts_and_stops_is_recorded_and_sealed(serve: Serve) -> None:
    """PCI-DSS 10.2.1.6: by each process; what stops is the last that is signed."""
    server = serve(workers=2)
    until(lambda: len(told(server, "start_audit")) == 2)
    tokenize(server.caller("checkout"), 220)
    server.stop()
    started, stopped = told(server, "start_audit"), told(server, "stop_audit")
    assert len(stopped) == 2
    for found in (*started, *stopped):
        assert (found["tenant"], found["principal"], found["outcome"]) == ("-", "system", "ok")
        assert set(found["detail"]) == {"host", "process", "version"}
    processes = [
        sorted(each["detail"]["process"] for each in found) for found in (started, stopped)
    ]
    assert processes[0] == processes[1]
    [(count,)] = server.query("SELECT count(*) FROM strongroom.audit_events")
    assert server.query("SELECT count(*) FROM strongroom.log_leaves") == [(count,)]
    assert server.query("SELECT max(tree_size) FROM strongroom.log_checkpoints") == [(count,)]
    [(newest,)] = server.query(
        "SELECT action FROM strongroom.log_leaves JOIN strongroom.audit_events USING (position)"
        " ORDER BY leaf_index DESC LIMIT 1"
    )
    assert newest == "stop_audit"
    assert count in copies(server)


def test_a_process_that_is_killed_tells_nothing_and_loses_nothing(serve: Serve) -> None:
    server = serve(workers=1)
    until(lambda: len(told(server, "start_audit")) == 1)
    _, event_id = tokenize(server.caller("checkout"), 221)
    server.restart()
    until(lambda: len(told(server, "start_audit")) == 2)
    assert told(server, "stop_audit") == []
    auditor = server.caller("auditor")
    report = verify_receipt(proof(auditor, event_id).content, pinned_key(auditor))
    assert report.verdict is Verdict.VERIFIED
