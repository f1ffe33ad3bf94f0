"""Runs that are cut into parts, over HTTP: each part once, one manifest, one end, and the
limits of the run over all of them."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.reporting import PROGRAM, RSA_KEY, job, people, refusal
from tests.serving import Serve, Server
from vault_service.client import RequestRefused
from vault_service.client.errors import Unreachable
from vault_service.client.report_results import PartInfo, RunInfo
from vault_service.domain.notes import VerifierKey
from vault_service.domain.report_notes import PartOrder, open_manifest, open_work

REPORT = "sanctions_screening"
NAMES = [f"Anna Muster{chr(97 + number)}" for number in range(10)]


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(program=PROGRAM)


@pytest.fixture(scope="module")
def names(server: Server) -> list[str]:
    """Ten tokens: three parts of four at the most."""
    tokens: list[str] = server.caller("crm").tokenize("person_name", NAMES)
    return sorted(tokens)


@pytest.fixture
def periods(request: pytest.FixtureRequest) -> str:
    """A period of the test's own."""
    number = int(hashlib.sha256(request.node.name.encode()).hexdigest(), 16) % 20_000
    return f"{2000 + number // 336}-{number // 28 % 12 + 1:02}-{number % 28 + 1:02}"


def ordered(server: Server, period: str, **fields: Any) -> RunInfo:
    """An approved run."""
    wanted = {"recipient": RSA_KEY, "format": "csv", "period": period} | fields
    run = people(server, "compliance-officer").request_run(REPORT, **wanted)
    return people(server, "compliance-lead").approve(run.id, binding=run.binding)


def cut(server: Server, period: str, **fields: Any) -> tuple[RunInfo, list[PartInfo]]:
    """A run and its parts."""
    run = ordered(server, period, **fields)
    client = job(server, REPORT)
    client.start(run.order or "")
    return run, client.split()


def result(server: Server, run: RunInfo, number: int, rows: int = 1) -> dict[str, Any]:
    """What a job tells of a part that it made."""
    content = f"sealed {number}".encode()
    location = f"{REPORT}/{run.id}/part-{number:04}/1.sealed"
    path = server.home / "reports" / location
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {
        "rows": rows,
        "columns": ["token"],
        "output_sha256": hashlib.sha256(content).hexdigest(),
        "output_bytes": len(content),
        "output_location": location,
    }


def made(server: Server, run: RunInfo, part: PartInfo, rows: int = 1) -> RunInfo:
    """A part from its start to its end."""
    client = job(server, REPORT)
    client.start(part.order)
    client.seal(**result(server, run, part.number, rows))
    return client.finish(**result(server, run, part.number, rows))


def rule(attempt: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(RequestRefused) as caught:
        attempt()
    return refusal(caught)


def actions(server: Server, run: RunInfo) -> list[str]:
    events = server.caller("auditor").events()
    return [e["action"] for e in reversed(events) if e.get("detail", {}).get("run") == run.id]


def test_parts_are_read_made_and_signed_for_as_one(
    server: Server, names: list[str], periods: str, tmp_path: Path
) -> None:
    run, parts = cut(server, periods)
    assert [(part.number, part.of, part.leased) for part in parts] == [
        *((1, 3, False), (2, 3, False), (3, 3, False)),
    ]
    key = VerifierKey.parse(job(server, REPORT).verifier_key())
    officer = people(server, "compliance-officer")
    read: list[str] = []
    for part in parts:
        order = open_work(part.order, key)
        assert isinstance(order, PartOrder)
        assert (order.order.run, order.order.requester) == (run.id, "compliance-officer")
        client = job(server, REPORT)
        assert client.start(part.order).state == "running"
        tokens = [entry.token for page in client.tokens("person_name") for entry in page]
        assert len(tokens) <= 4
        assert all(value in NAMES for value in client.reveal(tokens, "plain"))
        read += tokens
        client.finish(**result(server, run, part.number, len(tokens)))
        shown = officer.run(run.id)
        assert (shown.parts_done, shown.parts) == (part.number, 3)
        assert (shown.rows is None) == (part.number < 3)
    assert read == names
    ended = officer.run(run.id)
    assert (ended.state, ended.rows, ended.output_sha256) == ("succeeded", 10, None)
    assert ended.manifest is not None
    manifest = open_manifest(ended.manifest, key)
    assert manifest.output_bytes == sum(part.bytes for part in manifest.parts) == 24
    for number, listed in enumerate(manifest.parts, start=1):
        told = result(server, run, number, listed.rows)
        assert (listed.sha256, listed.location) == (told["output_sha256"], told["output_location"])
    assert officer.output(run.id, tmp_path / "all") == 24
    assert (tmp_path / "all").read_bytes() == b"sealed 1sealed 2sealed 3"
    officer.output(run.id, tmp_path / "two", part=2)
    assert (tmp_path / "two").read_bytes() == b"sealed 2"
    assert rule_of_output(server, run, tmp_path, 4) == "not_found"
    found = actions(server, run)
    assert found.count("report_split") == found.count("report_succeeded") == 1
    assert found.count("report_part_started") == found.count("report_part_succeeded") == 3


def rule_of_output(server: Server, run: RunInfo, folder: Path, part: int) -> str:
    with pytest.raises(RequestRefused) as caught:
        people(server, "compliance-officer").output(run.id, folder / "none", part=part)
    return caught.value.code


def test_a_part_that_was_changed_breaks_the_output_off(
    server: Server, names: list[str], periods: str, tmp_path: Path
) -> None:
    run, parts = cut(server, periods)
    for part in parts:
        made(server, run, part)
    place = server.home / "reports" / result(server, run, 2)["output_location"]
    place.write_bytes(b"sealed X")
    with pytest.raises(Unreachable):
        people(server, "compliance-officer").output(run.id, tmp_path / "got")
    assert rule_of_output(server, run, tmp_path, 2) == "internal"
    assert people(server, "compliance-officer").output(run.id, tmp_path / "three", part=3) == 8


def test_everybody_at_once_makes_each_part_once_and_ends_the_run_once(
    server: Server, names: list[str], periods: str
) -> None:
    run, parts = cut(server, periods)

    def attempt(number: int) -> str:
        try:
            return made(server, run, parts[number % 3]).state
        except RequestRefused as error:
            return error.errors[0].rule

    with ThreadPoolExecutor(6) as threads:
        ends = list(threads.map(attempt, range(12)))
    assert set(ends) <= {"running", "succeeded", "leased", "lease_lost", "not_running"}
    assert people(server, "compliance-officer").run(run.id).state == "succeeded"
    found = actions(server, run)
    assert found.count("report_part_succeeded") == 3
    assert found.count("report_succeeded") == 1


def test_a_run_is_cut_once_and_told_of_again(
    server: Server, names: list[str], periods: str
) -> None:
    run, parts = cut(server, periods)
    again = job(server, REPORT)
    told = again.start(run.order or "")
    assert (told.state, told.parts, told.part) == ("running", 3, None)
    assert again.split() == parts
    # Nobody has the run itself any more.
    whole = result(server, run, 1)
    assert rule(lambda: again.finish(**whole)) == ("access_denied", "lease_lost")
    assert rule(lambda: again.fail("internal")) == ("access_denied", "lease_lost")
    assert again.release("out_of_time").parts == 3


@pytest.mark.parametrize("fields", [{"format": "parquet"}, {"period": "2026-W"}])
def test_what_does_not_split_or_is_small_stays_whole(
    serve: Serve, server: Server, names: list[str], periods: str, fields: dict[str, str]
) -> None:
    if "period" in fields:
        server = serve(program=PROGRAM)
        server.caller("crm").tokenize("person_name", NAMES[:4])
        fields = {}
    run = ordered(server, periods, **fields)
    client = job(server, REPORT)
    client.start(run.order or "")
    assert client.split() == []
    told = result(server, run, 1)
    assert client.finish(**told).state == "succeeded"


def test_the_cap_holds_over_all_parts(server: Server, names: list[str], periods: str) -> None:
    """Seen before the last part is published: its seal is refused."""
    run, parts = cut(server, periods, row_cap=11)
    made(server, run, parts[0], rows=4)
    first, last = job(server, REPORT), job(server, REPORT)
    first.start(parts[1].order)
    first.seal(**result(server, run, 2, rows=4))
    last.start(parts[2].order)
    seal = result(server, run, 3, rows=4)
    assert rule(lambda: last.seal(**seal)) == ("access_denied", "row_cap_exceeded")
    ended = people(server, "compliance-officer").run(run.id)
    assert (ended.state, ended.rule) == ("failed", "row_cap_exceeded")
    for attempt in (first.heartbeat, lambda: first.finish(**result(server, run, 2, rows=4))):
        assert rule(attempt) == ("access_denied", "not_running")


def test_the_tokens_of_all_parts_are_counted_together(
    server: Server, names: list[str], periods: str
) -> None:
    run, [first, second, _] = cut(server, periods, row_cap=6)
    client, other = job(server, REPORT), job(server, REPORT)
    client.start(first.order)
    client.reveal([entry.token for page in client.tokens("person_name") for entry in page], "plain")
    other.start(second.order)
    tokens = [entry.token for page in other.tokens("person_name") for entry in page]
    assert rule(lambda: other.reveal(tokens, "plain")) == ("access_denied", "row_cap_exceeded")
    assert people(server, "compliance-officer").run(run.id).state == "failed"


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


def test_the_last_part_ends_the_run_even_where_its_service_was_killed(serve: Serve) -> None:
    """All parts are done and the run is not: whoever asks next ends it."""
    server = serve(program=PROGRAM)
    server.caller("crm").tokenize("person_name", NAMES)
    run, parts = cut(server, "2026-11-25")
    for part in parts[:2]:
        made(server, run, part)
    # What a kill between the two commits leaves: the last part done, and counted.
    told = result(server, run, 3)
    server.query(
        "UPDATE strongroom.report_parts SET done = true, lease_holder = 'gone', rows = 1,"
        " output_sha256 = %s, output_bytes = %s, output_location = %s"
        " WHERE run = %s AND number = 3",
        *(told["output_sha256"], told["output_bytes"], told["output_location"], run.id),
    )
    server.query(
        "UPDATE strongroom.report_runs SET parts_done = 3, rows = rows + 1,"
        " output_bytes = output_bytes + %s, version = version + 1 WHERE id = %s",
        *(told["output_bytes"], run.id),
    )
    server.restart()
    ends = [job(server, REPORT).start(order) for order in (parts[2].order, run.order or "")]
    assert [end.state for end in ends] == ["succeeded", "succeeded"]
    assert actions(server, run).count("report_succeeded") == 1
