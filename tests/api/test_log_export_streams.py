"""``/v1/audit/export`` of a large log, with readers and databases that go away."""

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO

import httpx2
import pytest

from tests.auditing import all_sealed, export, pinned_key, recorded, until, verified
from tests.serving import Serve, Server
from tests.stored import event, put_directly
from vault_service.domain.tokens import new_opaque
from vault_service.verifier.bundles import verify_bundle
from vault_service.verifier.findings import Kind, Verdict


@pytest.fixture(scope="module")
def large(serve_module: Serve) -> Server:
    """A log too large for what is buffered on the way to a reader who does not read."""
    server = serve_module(workers=1)
    events = [
        event("main", new_opaque("pan", 200), occurred_at=datetime.now(UTC)) for _ in range(4000)
    ]
    put_directly(server.superuser_url, events)
    all_sealed(server)
    return server


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
        " AND query LIKE 'SELECT l.leaf_index, CASE%%'",
        server.database,
    )
    return [pid for (pid,) in rows]


def the_one_exporting(server: Server) -> int:
    """As soon as it is seen: between two pages its connection asks for something else."""
    seen: list[int] = []

    def looked() -> bool:
        seen[:] = exporting(server)
        return len(seen) == 1

    until(looked)
    return seen[0]


def test_a_large_log_arrives_whole(large: Server) -> None:
    auditor = large.caller("auditor")
    key = pinned_key(auditor)
    bundle = export(auditor)
    report = verified(bundle, key)
    assert report.events >= 4000
    assert len(bundle) > 20_000_000
    assert exporting(large) == []


def test_a_database_that_dies_breaks_the_answer_off(large: Server) -> None:
    """What arrived never looks complete, and the verifier says so too."""
    key = pinned_key(large.caller("auditor"))
    with begun(large) as (pieces, first):
        large.query("SELECT pg_terminate_backend(%s)", the_one_exporting(large))
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
            until(lambda: len(exporting(large)) == 1)
        until(lambda: exporting(large) == [])
    with begun(large):
        until(lambda: len(exporting(large)) == 1)


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
        until(lambda: len(exporting(large)) == 2)
        # Nobody else waits for them.
        assert auditor.get("/v1/audit/checkpoint").status_code == 200
    until(lambda: exporting(large) == [])
    with begun(large):
        until(lambda: len(exporting(large)) == 1)
