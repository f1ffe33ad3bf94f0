"""Runs of reports when several want the same, when who works dies, and when the database or
the signing key is away: one output, or a state that says why not."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.fakes.kms_faults import KmsFaultProxy, Mode
from tests.reporting import (
    COLUMNS,
    PROGRAM,
    RSA_KEY,
    approved,
    job,
    output,
    people,
    refusal,
    requested,
    running,
    stored,
)
from tests.serving import Serve, Server
from vault_service.client import RequestRefused
from vault_service.client.report_results import RunInfo


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(program=PROGRAM)


def ended(attempt: Callable[[], RunInfo]) -> tuple[str, str]:
    """How a call ended: the run's state, or code and rule."""
    try:
        run = attempt()
    except RequestRefused as error:
        return error.code, error.errors[0].rule if error.errors else ""
    return "ok", run.state


def lapse(server: Server, run: RunInfo) -> None:
    server.query("UPDATE strongroom.report_runs SET lease_until = now() WHERE id = %s", run.id)


def actions(server: Server, run: RunInfo) -> list[str]:
    events = server.caller("auditor").events()
    return [e["action"] for e in reversed(events) if e.get("detail", {}).get("run") == run.id]


def test_many_requests_at_once_make_one_run(server: Server) -> None:
    tokens = stored(server, 1, seed=60)
    with ThreadPoolExecutor(6) as threads:
        runs = list(threads.map(lambda _: requested(server, tokens), range(12)))
    assert len({run.id for run in runs}) == 1
    assert [run.created for run in runs].count(True) == 1


def test_many_starts_at_once_make_one_lease(server: Server) -> None:
    run = approved(server, stored(server, 1, seed=61))
    jobs = [job(server, "chargeback_file") for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        ends = list(threads.map(lambda each: ended(lambda: each.start(run.order or "")), jobs))
    assert sorted(ends) == [*[("idempotency_conflict", "leased")] * 5, ("ok", "running")]
    assert actions(server, run).count("report_started") == 1
    [winner] = [each for each, end in zip(jobs, ends, strict=True) if end[0] == "ok"]
    assert winner.start(run.order or "").attempts == 1  # an answer that was lost


def test_many_finishes_at_once_make_one_output(server: Server) -> None:
    client = running(server, stored(server, 1, seed=62))
    told = output(server, client)
    with ThreadPoolExecutor(6) as threads:
        ends = list(
            threads.map(
                lambda _: ended(lambda: client.finish(rows=1, columns=COLUMNS, **told)), range(6)
            )
        )
    assert set(ends) == {("ok", "succeeded")}
    assert actions(server, client.run).count("report_succeeded") == 1
    other = told | {"output_sha256": "0" * 64}
    with pytest.raises(RequestRefused) as caught:
        client.finish(rows=1, columns=COLUMNS, **other)
    assert refusal(caught) == ("invalid_request", "other_result")
    again = job(server, "chargeback_file")
    assert again.start(client.run.order or "").state == "succeeded"  # a repeated delivery
    assert again.done


def test_a_silent_job_is_taken_over(server: Server) -> None:
    """Who was silent for too long finishes nothing when it comes back."""
    tokens = stored(server, 1, seed=63)
    silent = running(server, tokens)
    run = silent.run
    other = job(server, "chargeback_file")
    with pytest.raises(RequestRefused) as caught:
        other.start(run.order or "")
    assert refusal(caught) == ("idempotency_conflict", "leased")
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 301
    lapse(server, run)
    assert other.start(run.order or "").attempts == 2
    told = output(server, silent)
    late: list[Callable[[], RunInfo]] = [
        silent.heartbeat,
        lambda: silent.finish(rows=1, columns=COLUMNS, **told),
        lambda: silent.fail("internal"),
    ]
    for attempt in late:
        assert ended(attempt) == ("access_denied", "lease_lost")
    assert other.finish(rows=1, columns=COLUMNS, **told).state == "succeeded"


def test_a_lease_that_lapsed_is_good_while_nobody_wants_it(server: Server) -> None:
    client = running(server, stored(server, 1, seed=64))
    lapse(server, client.run)
    assert client.heartbeat().state == "running"
    lapse(server, client.run)
    told = output(server, client)
    assert client.finish(rows=1, columns=COLUMNS, **told).state == "succeeded"


def test_a_failed_run_makes_room(server: Server) -> None:
    tokens = stored(server, 1, seed=65)
    client = running(server, tokens)
    assert client.fail("key_unavailable").state == "failed"
    assert client.fail("key_unavailable").code == "key_unavailable"
    again = job(server, "chargeback_file")
    assert ended(lambda: again.start(client.run.order or ""))[1] == "ended"
    assert ended(client.heartbeat)[1] == "not_running"
    assert requested(server, tokens).id != client.run.id


def test_a_killed_service_keeps_its_runs(serve: Serve) -> None:
    server = serve(program=PROGRAM)
    client = running(server, stored(server, 1, seed=66))
    server.restart()
    assert client.heartbeat().state == "running"
    told = output(server, client)
    server.restart()
    assert client.finish(rows=1, columns=COLUMNS, **told).state == "succeeded"
    server.restart()
    assert client.finish(rows=1, columns=COLUMNS, **told).manifest is not None


def test_the_database_goes_away(serve: Serve) -> None:
    """Every step says so, and goes on where it was when the database is back."""
    server = serve(program=PROGRAM)
    tokens = stored(server, 1, seed=67)
    waiting = requested(server, tokens, period="2026-01")
    client = running(server, tokens)
    told = output(server, client)
    officer, lead = people(server, "compliance-officer"), people(server, "compliance-lead")
    steps: dict[str, Callable[[], RunInfo]] = {
        "request": lambda: requested(server, tokens, period="2026-02"),
        "run": lambda: officer.run(waiting.id),
        "approve": lambda: lead.approve(waiting.id),
        "heartbeat": client.heartbeat,
        "finish": lambda: client.finish(rows=1, columns=COLUMNS, **told),
    }
    _connections(server, "false")
    try:
        for name, step in steps.items():
            assert ended(step)[0] in ("database_unavailable", "audit_unavailable"), name
    finally:
        _connections(server, "true")
    server.wait()
    assert lead.run(waiting.id).state == "requested"
    assert {name: ended(step)[0] for name, step in steps.items()} == dict.fromkeys(steps, "ok")


def _connections(server: Server, allowed: str) -> None:
    with _postgres(server) as connection:
        connection.execute(f"ALTER DATABASE {server.database} ALLOW_CONNECTIONS {allowed}".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (server.database,),
        )


def _postgres(server: Server) -> psycopg.Connection[Any]:
    url = server.superuser_url.replace(f"/{server.database}?", "/postgres?")
    return psycopg.connect(url, autocommit=True)


def test_the_signing_key_is_away(serve: Serve) -> None:
    """No order and no manifest without a signature: nothing changes until the key is back."""
    with KmsFaultProxy() as kms:
        server = serve(
            program=PROGRAM,
            environment={
                **kms.environment(),
                "STRONGROOM_AUDIT_SIGNING_KEY_ARN": kms.create_signing_key(),
            },
        )
        tokens = stored(server, 1, seed=68)
        waiting = requested(server, tokens)
        client = running(server, tokens, period="2026-01")
        told = output(server, client)
        lead, officer = people(server, "compliance-lead"), people(server, "compliance-officer")
        steps: dict[str, Callable[[], RunInfo]] = {
            "request": lambda: officer.request_run("access_review", recipient=RSA_KEY),
            "approve": lambda: lead.approve(waiting.id),
            "finish": lambda: client.finish(rows=1, columns=COLUMNS, **told),
        }
        kms.mode = Mode.SERVER_ERROR
        for name, step in steps.items():
            assert ended(step)[0] == "key_unavailable", name
        assert lead.run(waiting.id).state == "requested"
        assert lead.run(client.run.id).state == "running"
        assert list(officer.runs(report="access_review")) == []
        kms.mode = Mode.OK
        assert {name: ended(step)[0] for name, step in steps.items()} == dict.fromkeys(steps, "ok")
        server.stop()
