"""The whole service on tables that are full, locked or take no events.

Nothing is shown or stored that is not recorded, the answer is a 503 that says which part
is away, and the next request after the fault is served, without a restart.
"""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import psycopg
import pytest

from tests.calling import Caller
from tests.faults.faulted_vault import (
    AWAY,
    RECOVERY_SECONDS,
    Stored,
    all_fail,
    counts,
    fresh,
    is_live_not_ready,
    recovers,
    reveal,
    tokenize,
)
from tests.ledger import PURPOSE, check_problem, recorded
from tests.serving import Serve, Server

UNRECORDED = {"audit_unavailable"}


@pytest.fixture(scope="module")
def vault(serve_module: Serve) -> Server:
    return serve_module()


@contextlib.contextmanager
def _raising(vault: Server, table: str, how: str, *, deferred: bool = False) -> Iterator[None]:
    """Let every insert into ``table`` fail, at once or at the commit."""
    kind = "CONSTRAINT TRIGGER" if deferred else "TRIGGER"
    when = "AFTER" if deferred else "BEFORE"
    late = "DEFERRABLE INITIALLY DEFERRED " if deferred else ""
    vault.query(
        "CREATE FUNCTION strongroom.fault() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {how} RETURN NEW; END $$"
    )
    vault.query(
        f"CREATE {kind} fault {when} INSERT ON strongroom.{table} {late}"
        "FOR EACH ROW EXECUTE FUNCTION strongroom.fault()"
    )
    try:
        yield
    finally:
        vault.query("DROP FUNCTION strongroom.fault() CASCADE")


@contextlib.contextmanager
def _locked(vault: Server, table: str) -> Iterator[None]:
    with psycopg.connect(vault.superuser_url) as connection:
        connection.execute(f"LOCK TABLE strongroom.{table} IN ACCESS EXCLUSIVE MODE".encode())
        yield
        connection.rollback()


@pytest.mark.parametrize("table", ["tokens", "audit_events"])
def test_a_full_disk(vault: Server, stored: Stored, table: str) -> None:
    before = counts(vault)
    values = fresh(300)
    disk_full = "RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100';"
    with _raising(vault, table, disk_full):
        check_problem(tokenize(stored.caller, values[:1]), AWAY, values[:1])
        check_problem(tokenize(stored.caller, values), AWAY, values)
        if table == "tokens":
            revealed = reveal(stored.caller, stored.token)
            assert revealed.status_code == 200, "what needs no room there is served"
        else:
            all_fail(stored, AWAY | UNRECORDED)
            assert counts(vault) == before
            is_live_not_ready(vault)
    assert counts(vault)[0] == before[0]
    recovers(vault, stored)


@pytest.mark.parametrize("deferred", [False, True], ids=["insert", "commit"])
def test_an_audit_log_that_cannot_be_written(vault: Server, stored: Stored, deferred: bool) -> None:
    """The insert raises, or the commit does (PCI-DSS 10.2.1)."""
    before = counts(vault)
    with _raising(vault, "audit_events", "RAISE EXCEPTION 'no';", deferred=deferred):
        all_fail(stored, UNRECORDED)
        assert counts(vault) == before
        is_live_not_ready(vault)
        checks = httpx2.get(vault.url + "/readyz", timeout=30.0).json()["checks"]
        assert checks["audit"] == "audit_unavailable"
        assert checks["database"] == checks["keys"] == "ok"
        stranger = Caller(vault.url, "srk_" + "0" * 40)
        refused = stranger.detokenize([stored.token], PURPOSE)
        assert refused.status_code in (401, 503)
        stranger.close()
        first = stored.caller.post(
            "/v1/tokenize", {"items": [{"data_class": "pan_unverified", "value": stored.value}]}
        )
        check_problem(first, UNRECORDED, [stored.value])
    recovers(vault, stored)


@pytest.mark.parametrize("table", ["tokens", "audit_events"])
def test_a_table_that_is_locked(vault: Server, stored: Stored, table: str) -> None:
    before = counts(vault)
    with _locked(vault, table):
        all_fail(stored, AWAY)
        if table == "audit_events":
            is_live_not_ready(vault)
    assert counts(vault) == before
    recovers(vault, stored)


@pytest.mark.parametrize("deferred", [False, True], ids=["insert", "commit"])
def test_one_request_that_cannot_be_recorded_fails_alone(
    vault: Server, stored: Stored, deferred: bool
) -> None:
    """Requests that wait for the same commit do not pay for each other's fault."""
    values = fresh(40)
    poison = (
        "IF position(convert_to('poisoned', 'UTF8') IN NEW.body) > 0"
        " THEN RAISE EXCEPTION 'no'; END IF;"
    )
    callers = [vault.caller("load-tester") for _ in values]

    def send(position: int) -> httpx2.Response:
        bad = position % 10 == 3
        headers = {"X-Request-Id": f"{'poisoned' if bad else 'sound'}-{position}"}
        if position % 2:
            body = {
                "purpose": PURPOSE,
                "items": [{"token": stored.token, "form": "plain"}],
            }
            return callers[position].post("/v1/detokenize", body, headers=headers)
        items = [{"data_class": "pan", "value": values[position]}]
        return callers[position].post("/v1/tokenize", {"items": items}, headers=headers)

    groups = _commit_groups(vault)
    with (
        _raising(vault, "audit_events", poison, deferred=deferred),
        ThreadPoolExecutor(len(values)) as threads,
    ):
        with _locked(vault, "audit_events"):
            sent = [threads.submit(send, position) for position in range(len(values))]
            _await_waiting(vault)
            time.sleep(0.5)  # let the rest queue up behind the two that wait for the lock
        answers = [future.result() for future in sent]
    for position, answer in enumerate(answers):
        if position % 10 == 3:
            check_problem(answer, UNRECORDED, [values[position], stored.value])
        else:
            assert answer.status_code == 200, answer.text
            event_id = answer.json()["receipt"]["event_id"]
            [item] = answer.json()["items"]
            if position % 2:
                assert item["value"] == stored.value
            else:
                assert item["token"] in recorded(vault)[event_id]
    requests, transactions = (
        now - then for now, then in zip(_commit_groups(vault), groups, strict=True)
    )
    assert transactions < requests, "the requests did not share commits: nothing was shown"
    recovers(vault, stored)


def _commit_groups(vault: Server) -> tuple[float, float]:
    """Requests committed so far, and the transactions they shared."""
    page = httpx2.get(vault.url + "/metrics", timeout=30.0).text
    values = dict(
        line.rsplit(" ", 1)
        for line in page.splitlines()
        if line.startswith(
            ("strongroom_commit_batch_size_sum", "strongroom_commit_batch_size_count")
        )
    )
    return (
        float(values["strongroom_commit_batch_size_sum"]),
        float(values["strongroom_commit_batch_size_count"]),
    )


def _await_waiting(vault: Server) -> None:
    """Wait until a statement of the service waits for a lock."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < deadline:
        found = vault.query(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'",
            vault.database,
        )
        if found[0][0] > 0:
            return
        time.sleep(0.02)
    raise AssertionError("nothing waits for the lock")
