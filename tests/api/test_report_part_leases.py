"""Who holds a part of a run, over HTTP: by the order of that part alone, for as long as its
lease lasts, and until a part fails them all."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.cut_runs import REPORT, cut, ordered, result, rule
from tests.reporting import PROGRAM, job
from tests.serving import Serve, Server


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(program=PROGRAM)


def test_an_order_of_a_part_is_of_that_part_as_it_was_cut(
    server: Server, names: list[str], periods: str
) -> None:
    run, parts = cut(server, periods)
    _, others = cut(server, periods, format="json")
    client = job(server, REPORT)
    altered = parts[0].order.replace('"part":1', '"part":2')
    assert rule(lambda: client.start(altered)) == ("access_denied", "order_altered")
    assert client.start(parts[0].order).part is not None
    # A signed order stays with its own run, and its own part.
    moved = others[0].order
    path = f"/v1/reports/runs/{run.id}/start"
    caller = server.caller(f"job:{REPORT}")
    answer = caller.post(path, {"order": moved, "holder": "somebody-else"})
    assert answer.json()["errors"][0]["rule"] == "order_altered"
    refused = server.caller("auditor").events(action="report_order_refused")
    assert [event["detail"]["run"] for event in refused[:2]] == [run.id, run.id]
    other = job(server, "chargeback_file")
    assert rule(lambda: other.start(parts[1].order)) == ("access_denied", "other_job")


def test_a_row_that_was_moved_to_another_range_is_found(
    server: Server, names: list[str], periods: str
) -> None:
    """With the database alone nobody widens what a part is of."""
    run, parts = cut(server, periods)
    server.query(
        "UPDATE strongroom.report_parts SET until = NULL WHERE run = %s AND number = 1", run.id
    )
    client = job(server, REPORT)
    assert rule(lambda: client.start(parts[0].order)) == ("access_denied", "order_altered")


def test_a_silent_part_is_taken_over_with_what_it_sealed(
    server: Server, names: list[str], periods: str
) -> None:
    run, parts = cut(server, periods)
    silent, other = job(server, REPORT), job(server, REPORT)
    silent.start(parts[0].order)
    told = result(server, run, 1)
    silent.seal(**told)
    assert rule(lambda: other.start(parts[0].order)) == ("idempotency_conflict", "leased")
    server.query("UPDATE strongroom.report_parts SET lease_until = now() WHERE run = %s", run.id)
    taken = other.start(parts[0].order).part
    assert taken is not None
    assert (taken.attempts, taken.leased) == (2, True)
    assert taken.sealed is not None
    assert taken.sealed.output_location == told["output_location"]
    late: list[Callable[[], Any]] = [
        silent.heartbeat,
        lambda: silent.seal(**told),
        lambda: silent.finish(**told),
        lambda: silent.release("out_of_time"),
        lambda: silent.fail("internal", "report_failed"),
    ]
    for attempt in late:
        assert rule(attempt) == ("access_denied", "lease_lost")
    assert other.finish(**told).parts_done == 1
    assert other.finish(**told).parts_done == 1
    changed = told | {"output_sha256": "0" * 64}
    assert rule(lambda: other.finish(**changed)) == ("invalid_request", "other_result")


def test_a_lease_is_given_back_at_once(server: Server, names: list[str], periods: str) -> None:
    run = ordered(server, periods)
    first, second = job(server, REPORT), job(server, REPORT)
    first.start(run.order or "")
    answer = server.caller(f"job:{REPORT}").post(
        f"/v1/reports/runs/{run.id}/release", {"holder": "another-1", "reason": "out_of_time"}
    )
    assert answer.json()["errors"][0]["rule"] == "lease_lost"
    assert first.release("out_of_time").lease_until is None
    assert first.release("out_of_time").state == "running"
    assert second.start(run.order or "").attempts == 2
    [one, *_] = second.split()
    third, fourth = job(server, REPORT), job(server, REPORT)
    third.start(one.order)
    assert third.release("store_failed").part is not None
    found = fourth.start(one.order).part
    assert found is not None
    assert found.attempts == 2
    events = server.caller("auditor").events(action="report_released")
    told = [e["detail"] for e in reversed(events) if e["detail"]["run"] == run.id]
    assert [(each["reason"], each.get("part")) for each in told] == [
        *(("out_of_time", None), ("store_failed", 1)),
    ]


@pytest.mark.parametrize("verb", ["release", "fail"])
def test_a_reason_is_one_of_a_list(
    server: Server, names: list[str], periods: str, verb: str
) -> None:
    run = ordered(server, periods)
    client = job(server, REPORT)
    client.start(run.order or "")
    body = {"holder": client.holder, "reason": "Anna Mustera was not found"}
    if verb == "fail":
        body["code"] = "internal"
    answer = server.caller(f"job:{REPORT}").post(f"/v1/reports/runs/{run.id}/{verb}", body)
    assert answer.status_code == 400
    assert (answer.json()["errors"][0]["rule"], "Anna" in answer.text) == ("enum", False)


def test_a_part_fails_the_run_by_the_jobs_own_reason(
    server: Server, names: list[str], periods: str
) -> None:
    run, parts = cut(server, periods)
    client, idle = job(server, REPORT), job(server, REPORT)
    client.start(parts[0].order)
    idle.start(parts[1].order)
    assert client.fail("internal", "store_failed").state == "failed"
    assert client.fail("internal", "store_failed").rule == "store_failed"
    assert rule(idle.heartbeat) == ("access_denied", "not_running")
    assert rule(lambda: idle.start(parts[1].order)) == ("invalid_request", "ended")
    failed = server.caller("auditor").events(action="report_failed")
    told = next(event["detail"] for event in failed if event["detail"]["run"] == run.id)
    assert told["rule"] == "store_failed"
