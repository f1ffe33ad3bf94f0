"""The whole service on a database that is away, or came back with connections cut or read-only.

Nothing is shown or stored that is not recorded, the answer is a 503 that says which part
is away, and the next request after the fault is served, without a restart.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.calling import Caller
from tests.faults.faulted_vault import (
    AWAY,
    RECOVERY_SECONDS,
    Stored,
    all_fail,
    counts,
    every_request,
    fresh,
    is_live_not_ready,
    recovers,
    reveal,
    tokenize,
)
from tests.fresh_services import new_server
from tests.ledger import PURPOSE, Ledger, check_problem
from tests.serving import Server
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres


@pytest.fixture(scope="module")
def vault(
    own_postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    server = new_server(own_postgres, tmp_path_factory.mktemp("vault"), workers=1)
    try:
        yield server.start()
    finally:
        server.close()


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


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_database_that_is_gone(
    vault: Server, stored: Stored, own_postgres: EmbeddedPostgres, how: signal.Signals
) -> None:
    """Stopped in order, or killed."""
    before = counts(vault)
    _end(own_postgres, how)
    is_live_not_ready(vault)
    all_fail(stored, AWAY)
    stranger = Caller(vault.url, "srk_" + "0" * 40)
    assert stranger.detokenize([stored.token], PURPOSE).status_code in (401, 503)
    stranger.close()
    own_postgres.ensure_running()
    assert counts(vault) == before
    recovers(vault, stored)


def test_a_service_that_starts_before_its_database(
    vault: Server, stored: Stored, own_postgres: EmbeddedPostgres
) -> None:
    vault.kill()
    _end(own_postgres, signal.SIGKILL)
    vault.start("/healthz")
    is_live_not_ready(vault)
    check_problem(reveal(stored.caller, stored.token), AWAY, [stored.value])
    own_postgres.ensure_running()
    recovers(vault, stored)


def test_idle_connections_that_are_cut_cost_no_request(vault: Server, stored: Stored) -> None:
    """As after a fail-over, or a proxy's time-out: every kind of request, at once."""
    with ThreadPoolExecutor(8) as threads:
        for _ in range(3):
            assert _terminate(vault) > 0
            requests = [ask for ask, _ in every_request(stored)[:-1]]
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
            answer = tokenize(caller, values)
            statuses.append(answer.status_code)
            if answer.status_code == 200:
                made = ledger.keep(values, answer)
                revealed = reveal(caller, made[0].token)
                statuses.append(revealed.status_code)
                if revealed.status_code == 200:
                    assert revealed.json()["items"][0]["value"] == values[0]
                else:
                    check_problem(revealed, AWAY, values)
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
    recovers(vault, stored)
    assert not ledger.broken(vault, stored.caller)


def test_a_database_that_became_read_only(vault: Server, stored: Stored) -> None:
    """As after a fail-over to a standby."""
    before = counts(vault)
    setting = f"ALTER DATABASE {vault.database}"
    vault.query(f"{setting} SET default_transaction_read_only = on")
    _terminate(vault)
    all_fail(stored, AWAY)
    is_live_not_ready(vault)
    with psycopg.connect(vault.superuser_url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"{setting} RESET default_transaction_read_only".encode())
    _terminate(vault)
    assert counts(vault) == before
    recovers(vault, stored)
