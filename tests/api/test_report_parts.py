"""Runs that are cut into parts, over HTTP: each part once, one manifest, one end, and the
limits of the run over all of them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.api.cut_runs import NAMES, REPORT, actions, cut, made, ordered, result, rule
from tests.reporting import PROGRAM, job, people
from tests.serving import Serve, Server
from vault_service.client import RequestRefused
from vault_service.client.errors import Unreachable
from vault_service.client.report_results import RunInfo
from vault_service.domain.notes import VerifierKey
from vault_service.domain.report_notes import PartOrder, open_manifest, open_work


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(program=PROGRAM)


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
