"""Kills under load: what was acknowledged is there afterwards, with its event.

The service, its parent and all workers, or PostgreSQL itself are killed with SIGKILL
while callers tokenize and reveal. After each restart every promise is looked up again.
"""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx2
import pytest

from tests.calling import Caller
from tests.fresh_services import new_server
from tests.ledger import PURPOSE, Ledger, unrecorded
from tests.serving import Server
from tests.soak import times
from tests.synthetic import cards
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres

THREADS = 8
BATCH = 60
RECOVERY_SECONDS = 60.0
SAMPLE = 3_000


@pytest.fixture(scope="module")
def vault(
    own_postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    server = new_server(own_postgres, tmp_path_factory.mktemp("vault"), workers=2)
    try:
        yield server.start()
    finally:
        server.close()


@dataclass
class Load:
    """Callers who tokenize and reveal until their server goes away."""

    server: Server
    ledger: Ledger
    values: Iterator[str]
    unanswered: list[list[str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def under(self, fault: Callable[[], None], seconds: float) -> None:
        """Load the server, and do ``fault`` to it once it has served that long."""
        over = threading.Event()
        with ThreadPoolExecutor(THREADS) as threads:
            running = [threads.submit(self._call, number, over) for number in range(THREADS)]
            time.sleep(seconds)
            fault()
            over.set()
            for each in running:
                each.result()

    def _call(self, number: int, over: threading.Event) -> None:
        caller = Caller(self.server.url, self.server.key("load-tester"))
        try:
            while not over.is_set():
                values = self._take(1 if number % 2 else BATCH)
                try:
                    answer = _tokenize(caller, values)
                except httpx2.TransportError:
                    with self._lock:
                        self.unanswered.append(values)
                    return
                if answer.status_code == 200:
                    self.ledger.keep(values, answer)
                else:
                    self._expect_away(answer)
                self._reveal(caller)
        except httpx2.TransportError:
            return  # the server is gone, and the question was one without consequences
        finally:
            caller.close()

    def _reveal(self, caller: Caller) -> None:
        promises = self.ledger.recent(5)
        if not promises:
            return
        answer = caller.detokenize([promise.token for promise in promises], PURPOSE)
        if answer.status_code != 200:
            self._expect_away(answer)
            return
        shown = [item["value"] for item in answer.json()["items"]]
        if shown != [promise.value for promise in promises]:
            self.wrong.append("a reveal under load gave another value")

    def _expect_away(self, answer: httpx2.Response) -> None:
        if answer.status_code != 503:
            self.wrong.append(f"an answer of {answer.status_code}")

    def _take(self, count: int) -> list[str]:
        with self._lock:
            return [next(self.values) for _ in range(count)]


def _tokenize(caller: Caller, values: list[str]) -> httpx2.Response:
    items = [{"data_class": "pan", "value": value} for value in values]
    return caller.post("/v1/tokenize", {"items": items})


def _check(load: Load, caller: Caller) -> None:
    """Every recent promise holds, nothing is stored unrecorded, and what was not answered
    can be asked again."""
    recent = Ledger(load.ledger.recent(SAMPLE))
    assert not recent.broken(load.server, caller)
    assert not load.wrong
    assert not unrecorded(load.server)
    for values in load.unanswered[-THREADS:]:
        answer = _tokenize(caller, values)
        assert answer.status_code == 200, answer.text
        load.ledger.keep(values, answer)


def _finally(load: Load, caller: Caller, kills: int) -> None:
    """Every promise of the whole run holds."""
    promises = load.ledger.promises
    assert len(promises) >= kills, "too little was acknowledged to show anything"
    assert not load.ledger.broken(load.server, caller)
    tokens: dict[str, str] = {}
    for promise in promises:
        assert tokens.setdefault(promise.value, promise.token) == promise.token
    [(rows,)] = load.server.query("SELECT count(*) FROM strongroom.tokens")
    assert rows >= len(tokens)
    assert not unrecorded(load.server)


def _report(of: str, load: Load, kills: int, record: Callable[[str, object], None]) -> None:
    """Put the figures into the report that ``--junitxml`` writes."""
    record(f"{of}_kills", kills)
    record(f"{of}_acknowledged", len(load.ledger.promises))
    record(f"{of}_unanswered", sum(map(len, load.unanswered)))


def test_the_service_is_killed_under_load(
    vault: Server, record_testsuite_property: Callable[[str, object], None]
) -> None:
    kills = times(5, 50)
    source = random.Random(94)
    load = Load(vault, Ledger(), iter(cards(times(100_000, 400_000), seed=94)))
    for _ in range(kills):
        load.under(vault.kill, source.uniform(0.2, 1.2))
        vault.start()
        caller = vault.caller("load-tester")
        _check(load, caller)
    _finally(load, vault.caller("load-tester"), kills)
    _report("service", load, kills, record_testsuite_property)


def test_postgresql_is_killed_under_load(
    vault: Server,
    own_postgres: EmbeddedPostgres,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    kills = times(3, 30)
    source = random.Random(95)
    load = Load(vault, Ledger(), iter(cards(times(60_000, 300_000), seed=95)))
    caller = vault.caller("load-tester")

    def kill() -> None:
        lines = (own_postgres.home / "postgres" / "postmaster.pid").read_text().splitlines()
        os.kill(int(lines[0]), signal.SIGKILL)

    for _ in range(kills):
        load.under(kill, source.uniform(0.2, 1.2))
        own_postgres.ensure_running()
        vault.wait("/readyz")
        _await_service(caller, load.ledger)
        _check(load, caller)
    _finally(load, caller, kills)
    _report("postgresql", load, kills, record_testsuite_property)


def _await_service(caller: Caller, ledger: Ledger) -> None:
    """The service notices its dead connections by itself, one request each at the most."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    tokens = [promise.token for promise in ledger.recent(1)]
    served = 0
    while served < 10:
        answer = caller.detokenize(tokens, PURPOSE)
        served = served + 1 if answer.status_code == 200 else 0
        assert answer.status_code in (200, 503), answer.text
        assert time.monotonic() < deadline, json.dumps(answer.json())
