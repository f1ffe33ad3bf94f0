"""The whole service on a database that is away, full, locked or read-only.

Nothing is shown or stored that is not recorded, the answer is a 503 that says which part
is away, and the next request after the fault is served, without a restart.
"""

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psycopg
import pytest

from tests.ledger import PURPOSE, Ledger, check_problem, recorded, unrecorded
from tests.serving import Caller, Server, new_server
from tests.synthetic import cards
from vault_service.adapters.postgres.embedded import EmbeddedPostgres

RECOVERY_SECONDS = 30.0
AWAY = {"database_unavailable"}
UNRECORDED = {"audit_unavailable"}
_cards = iter(cards(20_000, seed=91))
_numbers = itertools.count()


def fresh(count: int = 1) -> list[str]:
    """Card numbers that no test used before."""
    return [next(_cards) for _ in range(count)]


@pytest.fixture(scope="module")
def own_postgres(
    tmp_path_factory: pytest.TempPathFactory, pg_bindir: Path | None
) -> Iterator[EmbeddedPostgres]:
    """A database server that may be stopped and killed without harm to other tests."""
    home = tmp_path_factory.mktemp("own")
    with EmbeddedPostgres.own(home, bindir=pg_bindir, shared_buffers="32MB") as server:
        yield server


@pytest.fixture(scope="module")
def vault(
    own_postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    server = new_server(own_postgres, tmp_path_factory.mktemp("vault"), workers=1)
    try:
        yield server.start()
    finally:
        server.close()


@dataclass
class Stored:
    """A value that was stored before the fault."""

    caller: Caller
    value: str
    token: str


@pytest.fixture
def stored(vault: Server) -> Stored:
    caller = vault.caller("load-tester")
    [value] = fresh()
    [token] = caller.tokenize("pan", [value])
    # Afterwards every key that the requests below need is there, and in memory.
    assert _reveal(caller, token).status_code == 200
    assert _keyed(caller, [value]).status_code == 200
    return Stored(caller, value, token)


def _tokenize(caller: Caller, values: list[str], **fields: object) -> httpx2.Response:
    items = [{"data_class": "pan", "value": value} for value in values]
    return caller.post("/v1/tokenize", {"items": items, **fields})


def _reveal(caller: Caller, token: str, form: str = "plain") -> httpx2.Response:
    return caller.detokenize([token], PURPOSE, form)


def _requests(stored: Stored) -> list[tuple[Callable[[], httpx2.Response], list[str]]]:
    """Every kind of request that stores, reveals or records, with what it must not show."""
    caller, token, value = stored.caller, stored.token, stored.value
    one, batch, atomic, keyed = fresh(), fresh(500), fresh(3), fresh()
    return [
        (lambda: _reveal(caller, token), [value]),
        (lambda: _reveal(caller, token, "masked"), [value]),
        (lambda: _tokenize(caller, one), one),
        (lambda: _tokenize(caller, [value]), [value]),
        (lambda: _tokenize(caller, batch), batch),
        (lambda: _tokenize(caller, atomic, mode="atomic"), atomic),
        (lambda: _keyed(caller, keyed), keyed),
        (lambda: caller.post("/v1/lookup", {"data_class": "pan", "value": value}), [value, token]),
        (lambda: caller.get(f"/v1/tokens/{token}"), [value]),
        (lambda: caller.delete(f"/v1/tokens/{token}"), [value]),
    ]


def _keyed(caller: Caller, values: list[str]) -> httpx2.Response:
    items = [{"data_class": "pan", "value": value} for value in values]
    headers = {"Idempotency-Key": f"key-{next(_numbers)}"}
    return caller.post("/v1/tokenize", {"items": items}, headers=headers)


def _counts(vault: Server) -> tuple[int, int]:
    [(tokens, events)] = vault.query(
        "SELECT (SELECT count(*) FROM strongroom.tokens),"
        " (SELECT count(*) FROM strongroom.audit_events)"
    )
    return tokens, events


def _all_fail(stored: Stored, codes: set[str]) -> None:
    requests = _requests(stored)
    with ThreadPoolExecutor(len(requests)) as threads:
        answers = list(threads.map(lambda request: request[0](), requests))
    for answer, (_, hidden) in zip(answers, requests, strict=True):
        check_problem(answer, codes, hidden)


def _is_live_not_ready(vault: Server) -> None:
    assert httpx2.get(vault.url + "/healthz", timeout=30.0).status_code == 200
    ready = httpx2.get(vault.url + "/readyz", timeout=30.0)
    assert ready.status_code == 503
    assert ready.json()["status"] == "not ready"


def _recovers(vault: Server, stored: Stored) -> None:
    """The stored value is read, new ones are stored, and the vault says that it is ready."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while (answer := _reveal(stored.caller, stored.token)).status_code != 200:
        assert answer.status_code == 503
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    assert answer.json()["items"][0]["value"] == stored.value
    values = fresh(20)
    tokens = stored.caller.tokenize("pan", values)
    shown = stored.caller.detokenize(tokens, PURPOSE).json()["items"]
    assert [item["value"] for item in shown] == values
    vault.wait("/readyz", 200)
    assert not unrecorded(vault)


def _postmaster(postgres: EmbeddedPostgres) -> int:
    return int((postgres.home / "postgres" / "postmaster.pid").read_text().split("\n")[0])


def _end(postgres: EmbeddedPostgres, number: signal.Signals) -> None:
    """Send the postmaster a signal and wait until nothing answers at its port."""
    url = postgres.superuser_url
    os.kill(_postmaster(postgres), number)
    deadline = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < deadline:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return
        time.sleep(0.05)
    raise AssertionError("the database does not end")


def _terminate(vault: Server) -> int:
    """End every connection of the service, as an operator would, and see it gone."""
    return len(
        vault.query(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = %s AND pid <> pg_backend_pid()",
            vault.database,
        )
    )


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


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_database_that_is_gone(
    vault: Server, stored: Stored, own_postgres: EmbeddedPostgres, how: signal.Signals
) -> None:
    """Stopped in order, or killed."""
    before = _counts(vault)
    _end(own_postgres, how)
    _is_live_not_ready(vault)
    _all_fail(stored, AWAY)
    stranger = Caller(vault.url, "srk_" + "0" * 40)
    assert stranger.detokenize([stored.token], PURPOSE).status_code in (401, 503)
    stranger.close()
    own_postgres.ensure_running()
    assert _counts(vault) == before
    _recovers(vault, stored)


def test_a_service_that_starts_before_its_database(
    vault: Server, stored: Stored, own_postgres: EmbeddedPostgres
) -> None:
    vault.kill()
    _end(own_postgres, signal.SIGKILL)
    vault.start("/healthz")
    _is_live_not_ready(vault)
    check_problem(_reveal(stored.caller, stored.token), AWAY, [stored.value])
    own_postgres.ensure_running()
    _recovers(vault, stored)


def test_idle_connections_that_are_cut_cost_no_request(vault: Server, stored: Stored) -> None:
    """As after a fail-over, or a proxy's time-out: every kind of request, at once."""
    with ThreadPoolExecutor(8) as threads:
        for _ in range(3):
            assert _terminate(vault) > 0
            requests = [ask for ask, _ in _requests(stored)[:-1]]
            answers = list(threads.map(lambda ask: ask(), requests))
            assert [answer.status_code for answer in answers] == [200] * len(requests)


def test_connections_that_are_cut_under_load(vault: Server, stored: Stored) -> None:
    ledger, over = Ledger(), threading.Event()
    pools = [fresh(400) for _ in range(6)]

    def load(pool: list[str]) -> list[int]:
        caller = vault.caller("load-tester")
        statuses: list[int] = []
        size = 1
        while pool and not over.is_set():
            values, pool = pool[:size], pool[size:]
            size = 11 - size
            answer = _tokenize(caller, values)
            statuses.append(answer.status_code)
            if answer.status_code == 200:
                made = ledger.keep(values, answer)
                reveal = _reveal(caller, made[0].token)
                statuses.append(reveal.status_code)
                if reveal.status_code == 200:
                    assert reveal.json()["items"][0]["value"] == values[0]
                else:
                    check_problem(reveal, AWAY, values)
            else:
                check_problem(answer, AWAY, values)
        return statuses

    with ThreadPoolExecutor(len(pools)) as threads:
        running = [threads.submit(load, pool) for pool in pools]
        cut = 0
        for _ in range(8):
            time.sleep(0.15)
            cut += _terminate(vault)
        over.set()
        statuses = [status for each in running for status in each.result()]
    assert cut > 0
    assert statuses.count(200) > 0
    _recovers(vault, stored)
    assert not ledger.broken(vault, stored.caller)


@pytest.mark.parametrize("table", ["tokens", "audit_events"])
def test_a_full_disk(vault: Server, stored: Stored, table: str) -> None:
    before = _counts(vault)
    values = fresh(300)
    disk_full = "RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100';"
    with _raising(vault, table, disk_full):
        check_problem(_tokenize(stored.caller, values[:1]), AWAY, values[:1])
        check_problem(_tokenize(stored.caller, values), AWAY, values)
        if table == "tokens":
            revealed = _reveal(stored.caller, stored.token)
            assert revealed.status_code == 200, "what needs no room there is served"
        else:
            _all_fail(stored, AWAY | UNRECORDED)
            assert _counts(vault) == before
            _is_live_not_ready(vault)
    assert _counts(vault)[0] == before[0]
    _recovers(vault, stored)


@pytest.mark.parametrize("deferred", [False, True], ids=["insert", "commit"])
def test_an_audit_log_that_cannot_be_written(vault: Server, stored: Stored, deferred: bool) -> None:
    """The insert raises, or the commit does (PCI-DSS 10.2.1)."""
    before = _counts(vault)
    with _raising(vault, "audit_events", "RAISE EXCEPTION 'no';", deferred=deferred):
        _all_fail(stored, UNRECORDED)
        assert _counts(vault) == before
        _is_live_not_ready(vault)
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
    _recovers(vault, stored)


@pytest.mark.parametrize("table", ["tokens", "audit_events"])
def test_a_table_that_is_locked(vault: Server, stored: Stored, table: str) -> None:
    before = _counts(vault)
    with _locked(vault, table):
        _all_fail(stored, AWAY)
        if table == "audit_events":
            _is_live_not_ready(vault)
    assert _counts(vault) == before
    _recovers(vault, stored)


def test_a_database_that_became_read_only(vault: Server, stored: Stored) -> None:
    """As after a fail-over to a standby."""
    before = _counts(vault)
    setting = f"ALTER DATABASE {vault.database}"
    vault.query(f"{setting} SET default_transaction_read_only = on")
    _terminate(vault)
    _all_fail(stored, AWAY)
    _is_live_not_ready(vault)
    with psycopg.connect(vault.superuser_url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"{setting} RESET default_transaction_read_only".encode())
    _terminate(vault)
    assert _counts(vault) == before
    _recovers(vault, stored)


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
    _recovers(vault, stored)


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
