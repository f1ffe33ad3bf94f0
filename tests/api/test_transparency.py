"""The log for those who verify it, on the real service: receipts, checkpoint, key, export.

What is got here is verified as an auditor does it, with the offline verifier and a key and
checkpoints that were kept.
"""

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import httpx2
import psycopg
import pytest

from tests.serving import Caller, Serve, Server
from tests.stored import event
from tests.synthetic import cards
from vault_service.adapters.postgres.log_statements import LOCK
from vault_service.domain.checkpoints import open_checkpoint
from vault_service.domain.events import AuditEvent, canonical_bytes
from vault_service.domain.notes import VerifierKey
from vault_service.domain.tokens import new_opaque
from vault_service.verifier.bundles import BundleReport, verify_bundle
from vault_service.verifier.findings import Kind, Verdict
from vault_service.verifier.receipts import verify_receipt

PATIENCE_SECONDS = 60.0
NOBODYS = "evt_" + "0" * 26


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(workers=1)


@pytest.fixture(scope="module")
def auditor(server: Server) -> Caller:
    return server.caller("auditor")


@pytest.fixture(scope="module")
def key(auditor: Caller) -> VerifierKey:
    answer = auditor.get("/v1/audit/key")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    return VerifierKey.parse(answer.text.removesuffix("\n"))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.05)


def tokenize(caller: Caller, seed: int, **fields: Any) -> tuple[str, str]:
    """A token, and the id in its receipt."""
    [value] = cards(1, seed=seed)
    answer = caller.post(
        "/v1/tokenize", {"items": [{"data_class": "pan", "value": value, **fields}]}
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return body["items"][0]["token"], body["receipt"]["event_id"]


def proof(caller: Caller, event_id: str) -> httpx2.Response:
    return caller.get(f"/v1/audit/events/{event_id}/proof")


def recorded(auditor: Caller, answer: httpx2.Response) -> dict[str, Any]:
    """The one event that a request left."""
    request_id = answer.headers["x-request-id"]
    [found] = [each for each in auditor.events() if each["request_id"] == request_id]
    return found


def export(caller: Caller, **query: Any) -> bytes:
    answer = caller.get("/v1/audit/export", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["cache-control"] == "no-store"
    return answer.content


def lines(bundle: bytes, kind: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, bundle.splitlines()) if line["type"] == kind]


def verified(bundle: bytes, key: VerifierKey, kept: str | None = None) -> BundleReport:
    report = verify_bundle(BytesIO(bundle), key, kept)
    assert report.verdict is Verdict.VERIFIED, report.findings
    return report


def all_sealed(server: Server) -> None:
    """Wait until every event that there is now is a leaf."""
    [(newest,)] = server.query("SELECT max(position) FROM strongroom.audit_events")
    statement = (
        "SELECT NOT EXISTS (SELECT FROM strongroom.audit_events WHERE position <= %s AND position"
        " NOT IN (SELECT position FROM strongroom.log_leaves))"
    )
    until(lambda: server.query(statement, newest) == [(True,)])


# --- receipts -----------------------------------------------------------------------------


def test_a_receipt_becomes_a_proof(server: Server, auditor: Caller, key: VerifierKey) -> None:
    checkout, service = server.caller("checkout"), server.caller("chargeback-service")
    token, made = tokenize(checkout, 201, subject="cus_201")
    shown = service.detokenize([token], "chargeback", case="CB-201").json()
    for event_id, maker, action in (
        (made, checkout, "tokenize"),
        (shown["receipt"]["event_id"], service, "detokenize"),
    ):
        for caller in (maker, auditor):
            answer = proof(caller, event_id)
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
            report = verify_receipt(answer.content, key)
            assert report.verdict is Verdict.VERIFIED, report.findings
            assert report.event is not None
            assert (report.event.id, report.event.action) == (event_id, action)
            assert report.event.tokens == 1
            told = recorded(auditor, answer)
            assert (told["action"], told["outcome"]) == ("read_audit", "ok")
            policies = ["auditors-read-the-log"] if caller is auditor else []
            assert told["detail"] == {"policies": policies, "view": "proof", "event": event_id}
            assert told["item_count"] == 1
    assert report.event.purpose == "chargeback"
    assert report.event.case == "CB-201"


def test_every_event_of_a_log_has_a_proof(
    server: Server, auditor: Caller, key: VerifierKey
) -> None:
    """Also those that nobody holds a receipt of, for who may read them."""
    for found in auditor.events()[:5]:
        report = verify_receipt(proof(auditor, found["id"]).content, key)
        assert report.verdict is Verdict.VERIFIED
        assert report.event is not None
        assert report.event.id == found["id"]


def test_of_others_events_not_even_the_existence_is_told(server: Server, auditor: Caller) -> None:
    """Another principal's, another tenant's and no event at all look alike."""
    _, event_id = tokenize(server.caller("checkout"), 202)
    _, foreign = tokenize(server.caller("other-merchant"), 203)
    answers = [
        proof(server.caller("crm"), event_id),
        proof(server.caller("vault-admin"), event_id),
        proof(server.caller("checkout"), NOBODYS),
        proof(auditor, NOBODYS),
        proof(auditor, foreign),
        proof(server.caller("checkout"), foreign),
    ]
    answers.append(proof(server.caller("other-merchant"), event_id))
    told = set()
    for answer in answers:
        assert answer.status_code == 404
        body = answer.json()
        assert body.pop("request_id") == answer.headers["x-request-id"]
        assert set(body.pop("receipt")) == {"event_id"}
        told.add(json.dumps(body))
    assert len(told) == 1
    for answer in answers[:-1]:
        found = recorded(auditor, answer)
        assert (found["action"], found["outcome"]) == ("read_audit", "failed")
        assert found["code"] == "not_found"
        assert found["detail"]["view"] == "proof"
        # An id that was tried out may be anything.
        assert "event" not in found["detail"]
        assert found["id"] == answer.json()["receipt"]["event_id"]


@pytest.mark.parametrize(
    "event_id", ["x", "evt_", NOBODYS + "0", NOBODYS.upper(), "evt_" + "u" * 26, "%0a", "evt_%00"]
)
def test_a_malformed_id_is_refused_and_not_written_down(auditor: Caller, event_id: str) -> None:
    answer = proof(auditor, event_id)
    assert answer.status_code == 400
    body = answer.json()
    assert (body["code"], body["errors"][0]["field"]) == ("invalid_request", "id")
    found = recorded(auditor, answer)
    assert (found["action"], found["code"]) == ("read_audit", "invalid_request")
    assert "detail" not in found


def test_a_card_number_for_an_id_is_refused(auditor: Caller) -> None:
    [card] = cards(1, seed=204)
    answer = proof(auditor, card)
    assert answer.status_code == 422
    assert answer.json()["code"] == "sensitive_value_in_metadata"
    assert card not in answer.text
    assert card not in json.dumps(recorded(auditor, answer))


def test_the_checkpoint_is_the_newest_that_was_signed(
    server: Server, auditor: Caller, key: VerifierKey
) -> None:
    """Anybody with a credential may have it: it says nothing but that there is a log."""
    _, event_id = tokenize(server.caller("checkout"), 205)
    assert proof(auditor, event_id).status_code == 200
    answer = server.caller("other-merchant").get("/v1/audit/checkpoint")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    checkpoint = open_checkpoint(answer.text, key, "strongroom/audit")
    [(leaf,)] = server.query(
        "SELECT leaf_index FROM strongroom.log_leaves JOIN strongroom.audit_events"
        " USING (position) WHERE id = %s",
        event_id,
    )
    assert checkpoint.size > leaf
    assert server.query("SELECT max(tree_size) FROM strongroom.log_checkpoints") >= [
        (checkpoint.size,)
    ]


# --- export -------------------------------------------------------------------------------


def test_the_whole_log_of_a_tenant(server: Server, auditor: Caller, key: VerifierKey) -> None:
    token, event_id = tokenize(server.caller("checkout"), 206)
    other_token, other_event = tokenize(server.caller("other-merchant"), 207)
    all_sealed(server)
    answer = auditor.get("/v1/audit/export")
    assert answer.status_code == 200
    assert "content-length" not in answer.headers
    bundle = answer.content
    report = verified(bundle, key)
    assert (report.scope, report.first) == ("main", 0)
    assert set(report.withheld) == {"tenant"}
    assert report.leaves == report.checkpoint.size if report.checkpoint else False
    assert event_id.encode() in bundle
    assert token.encode() in bundle
    # PCI-DSS 7.2.1: of another tenant there are hashes, and nothing else.
    for foreign in (other_token, other_event, "other-merchant"):
        assert foreign.encode() not in bundle
    found = recorded(auditor, answer)
    assert (found["action"], found["outcome"]) == ("read_audit", "ok")
    assert found["detail"] == {
        "policies": ["auditors-read-the-log"],
        "view": "export",
        "first": 0,
        "size": report.leaves,
    }
    assert found["item_count"] == report.leaves
    # PCI-DSS 10.2.1.3: it is recorded before a line of it is given out.
    unsealed = [line["event"]["id"] for line in lines(bundle, "unsealed")]
    assert found["id"] in unsealed


def test_from_and_to_choose_a_stretch(server: Server, auditor: Caller, key: VerifierKey) -> None:
    checkout = server.caller("checkout")
    marks = [tokenize(checkout, 208)[1]]
    proof(auditor, marks[0])
    for seed in (209, 210):
        marks.append(tokenize(checkout, seed)[1])
        assert proof(auditor, marks[-1]).status_code == 200  # a checkpoint stands after it
    at = {each["id"]: each["time"] for each in auditor.events() if each["id"] in marks}
    since = export(auditor, **{"from": at[marks[1]]})
    ids = [line["event"]["id"] for line in lines(since, "event")]
    assert marks[0] not in ids
    assert marks[1] in ids
    assert marks[2] in ids
    report = verified(since, key)
    assert report.first > 0
    after = datetime.fromisoformat(at[marks[1]]) + timedelta(microseconds=1)
    bundle = export(auditor, **{"from": at[marks[1]], "to": after.isoformat()})
    ids = [line["event"]["id"] for line in lines(bundle, "event")]
    assert marks[0] not in ids
    assert marks[1] in ids
    assert marks[2] not in ids
    assert lines(bundle, "unsealed") == []
    assert verified(bundle, key).first == report.first
    whole = export(auditor, to="2001-01-01")
    assert verified(whole, key).checkpoints == 1
    later = datetime.now(UTC) + timedelta(days=1)
    nothing = export(auditor, **{"from": later.isoformat()})
    assert lines(nothing, "event") == lines(nothing, "withheld") == []
    assert [line["size"] for line in lines(nothing, "checkpoint")] == [
        lines(nothing, "header")[0]["first"]
    ]


def test_bundles_follow_on_one_another(server: Server, auditor: Caller, key: VerifierKey) -> None:
    """An auditor's routine: from where the last bundle ended, with its checkpoint kept."""
    checkout = server.caller("checkout")
    cursor, kept, seen = 0, None, set()
    made = set()
    for seed in range(211, 215):
        made.add(tokenize(checkout, seed)[1])
        all_sealed(server)
        since = {} if kept is None else {"since": cursor}
        bundle = export(auditor, cursor=cursor, **since)
        report = verified(bundle, key, kept)
        assert report.first == cursor
        assert report.checkpoint is not None
        assert report.checkpoint.size > cursor
        seen |= {line["event"]["id"] for line in lines(bundle, "event")}
        cursor, kept = report.checkpoint.size, lines(bundle, "checkpoint")[-1]["note"]
    assert made <= seen
    # The kept one connects with a bundle that begins long after it, too.
    size = open_checkpoint(kept, key).size
    tokenize(checkout, 215)
    all_sealed(server)
    tail = export(auditor, cursor=size + 1, since=size)
    assert lines(tail, "header")[0]["since"]["size"] == size
    assert verified(tail, key, kept).kept is not None


def test_a_size_that_nobody_could_have_kept(auditor: Caller, key: VerifierKey) -> None:
    """0 proves nothing, one beyond the log cannot be proven; any other size can be."""
    for size in (0, 10**17):
        bundle = export(auditor, since=size)
        assert "since" not in lines(bundle, "header")[0]
        verified(bundle, key)
    [header] = lines(export(auditor, since=3), "header")
    assert header["since"]["size"] == 3


@pytest.mark.parametrize(
    "principal", ["checkout", "crm", "vault-admin", "compliance-lead", "load-tester"]
)
def test_only_who_may_read_the_log_may_export_it(
    server: Server, auditor: Caller, principal: str
) -> None:
    answer = server.caller(principal).get("/v1/audit/export")
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "access_denied"
    found = recorded(auditor, answer)
    assert (found["action"], found["outcome"]) == ("read_audit", "denied")
    assert found["principal"] == principal


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("cursor=-1", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=1.0", "cursor"),
        ("cursor=1&cursor=1", "cursor"),
        ("cursor=%C2%B2", "cursor"),
        ("cursor=9999999999999999999", "cursor"),
        ("cursor=99999999", "cursor"),
        ("since=x", "since"),
        ("since=-0", "since"),
        ("from=yesterday", "from"),
        ("to=2026-13-01", "to"),
        ("tenant=other", "query"),
        ("limit=1", "query"),
    ],
)
def test_a_bad_parameter_is_named_before_the_first_line(
    auditor: Caller, query: str, field: str
) -> None:
    answer = auditor.get(f"/v1/audit/export?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == "invalid_request"
    assert [error["field"] for error in body["errors"]] == [field]
    assert recorded(auditor, answer)["code"] == "invalid_request"


@pytest.mark.parametrize(
    "query",
    [
        {"from": "0001-01-01T00:00:00+23:59"},
        {"to": "0001-01-01T00:00:00+23:59"},
        {"from": "9999-12-31T23:59:59.999999-23:59"},
        {"to": "9999-12-31T23:59:59.999999-23:59"},
    ],
)
def test_times_at_the_ends_of_the_calendar(
    auditor: Caller, key: VerifierKey, query: dict[str, str]
) -> None:
    verify_bundle(BytesIO(export(auditor, **query)), key)


def test_a_card_number_in_the_query_is_refused(auditor: Caller) -> None:
    [card] = cards(1, seed=216)
    answer = auditor.get(f"/v1/audit/export?cursor={card}")
    assert answer.status_code == 422
    assert card not in answer.text


# --- a large log, and readers and databases that go away -----------------------------------


@pytest.fixture(scope="module")
def large(serve_module: Serve) -> Server:
    """A log too large for what is buffered on the way to a reader who does not read."""
    server = serve_module(workers=1)
    events = [
        event("main", new_opaque("pan", 200), occurred_at=datetime.now(UTC)) for _ in range(4000)
    ]
    put(server, events)
    all_sealed(server)
    return server


def put(server: Server, events: list[AuditEvent]) -> None:
    """Events in the table, as whoever owns the database can put them there."""
    with psycopg.connect(server.superuser_url) as connection, connection.cursor() as cursor:
        columns = "id, occurred_at, tenant, principal, action, outcome, data_classes, terms, body"
        with cursor.copy(f"COPY strongroom.audit_events ({columns}) FROM STDIN".encode()) as copy:
            for each in events:
                copy.write_row(
                    (
                        *(each.id, each.occurred_at, each.tenant, each.principal, each.action),
                        *(each.outcome, [], [], canonical_bytes(each)),
                    )
                )


@contextlib.contextmanager
def begun(server: Server) -> Iterator[tuple[Iterator[bytes], bytes]]:
    """An export of which the first piece was read: what comes after it, and that piece."""
    caller = server.caller("auditor")
    with caller.client.stream("GET", "/v1/audit/export") as answer:
        assert answer.status_code == 200
        pieces = answer.iter_raw(chunk_size=None)
        yield pieces, next(pieces)


def exporting(server: Server) -> list[int]:
    """The database's process ids of connections that read a log out."""
    rows = server.query(
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        " AND query LIKE 'SELECT l.leaf_index, e.position IS NULL%%'",
        server.database,
    )
    return [pid for (pid,) in rows]


def test_a_large_log_arrives_whole(large: Server) -> None:
    auditor = large.caller("auditor")
    key = VerifierKey.parse(auditor.get("/v1/audit/key").text.strip())
    bundle = export(auditor)
    report = verified(bundle, key)
    assert report.events >= 4000
    assert len(bundle) > 20_000_000
    assert exporting(large) == []


def test_a_database_that_dies_breaks_the_answer_off(large: Server) -> None:
    """What arrived never looks complete, and the verifier says so too."""
    key = VerifierKey.parse(large.caller("auditor").get("/v1/audit/key").text.strip())
    with begun(large) as (pieces, first):
        [pid] = exporting(large)
        large.query("SELECT pg_terminate_backend(%s)", pid)
        received = [first]
        with pytest.raises(httpx2.RemoteProtocolError):
            received += pieces
    report = verify_bundle(BytesIO(b"".join(received)), key)
    assert report.verdict is Verdict.UNVERIFIABLE
    assert Kind.CUT_OFF in {finding.kind for finding in report.findings}
    told = [json.loads(line) for line in large.stderr.read_text().splitlines()]
    [broken] = [line for line in told if line["event"] == "answer_broken_off"]
    assert broken["code"] == "database_unavailable"
    assert broken["request_id"]
    verified(export(large.caller("auditor")), key)


def test_a_reader_who_leaves_leaves_nothing_behind(large: Server) -> None:
    for _ in range(3):  # more often than exports may run at once
        with begun(large):
            assert len(exporting(large)) == 1
        until(lambda: exporting(large) == [])
    with begun(large):
        assert len(exporting(large)) == 1


def test_a_third_export_at_the_same_time_is_put_off(large: Server) -> None:
    auditor = large.caller("auditor")
    with begun(large), begun(large):
        answer = auditor.get("/v1/audit/export")
        assert answer.status_code == 429
        assert answer.json()["code"] == "rate_limited"
        assert answer.json()["retryable"]
        assert answer.headers["retry-after"] == "30"
        found = recorded(auditor, answer)
        assert (found["action"], found["code"]) == ("read_audit", "rate_limited")
        assert len(exporting(large)) == 2
        # Nobody else waits for them.
        assert auditor.get("/v1/audit/checkpoint").status_code == 200
    until(lambda: exporting(large) == [])
    with begun(large):
        assert len(exporting(large)) == 1


# --- how far sealing is --------------------------------------------------------------------


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
    [copy] = server.query("SELECT max(tree_size) FROM strongroom.log_checkpoints")
    kept = {int(path.stem) for path in (server.home / "checkpoints").iterdir()}
    until(lambda: copy[0] in kept or bool(kept.update(_sizes(server))) or copy[0] in kept)


def _sizes(server: Server) -> set[int]:
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
        put(server, [old])
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


# --- start and stop ------------------------------------------------------------------------


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
    assert count in _sizes(server)
    server.start()
    until(lambda: len(told(server, "start_audit")) == 4)


def test_a_process_that_is_killed_tells_nothing_and_loses_nothing(serve: Serve) -> None:
    server = serve(workers=1)
    until(lambda: len(told(server, "start_audit")) == 1)
    _, event_id = tokenize(server.caller("checkout"), 221)
    server.restart()
    until(lambda: len(told(server, "start_audit")) == 2)
    assert told(server, "stop_audit") == []
    auditor = server.caller("auditor")
    key = VerifierKey.parse(auditor.get("/v1/audit/key").text.strip())
    assert verify_receipt(proof(auditor, event_id).content, key).verdict is Verdict.VERIFIED
