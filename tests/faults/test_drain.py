"""The orderly end of a service: no request fails, nothing acknowledged is lost.

SIGTERM to one of two services behind a balancer, then a rolling restart of both, under load
by callers who keep their connections, with pauses, and callers who open one for each request.
No caller tries anything twice: what fails is counted.
"""

import asyncio
import http.client
import json
import random
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
import psycopg
import pytest

from tests.fakes.balancer import Balancer
from tests.serving import Serve, Server
from tests.soak import times
from tests.synthetic import cards

_DRAIN: Final = times(4, 15)
"""Seconds, the second as in production. What must fit in: the longest pause of a caller, and
the balancer's look at readiness, on a machine that may be busy with other things."""
_LONGEST_PAUSE: Final = 2.0
_CALLERS: Final = times(12, 60)
_ROUNDS: Final = times(1, 12)
_WARM: Final = 100
"""Requests that are answered before each signal, so that it comes in the midst of them."""


@dataclass
class Load:
    """Callers until told to stop, and what they got."""

    url: str
    key: str
    stored: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    answered: int = 0
    told_to_close: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _progress: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def running(self) -> Iterator["Load"]:
        thread = threading.Thread(target=lambda: asyncio.run(self._all()))
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def wait(self, more: int = _WARM) -> None:
        """Wait until so many further requests were answered."""
        with self._progress:
            goal = self.answered + more
            assert self._progress.wait_for(lambda: self.answered >= goal, 120)

    async def _all(self) -> None:
        calls = (self._calls(number, keeps=number % 2 == 0) for number in range(_CALLERS))
        await asyncio.gather(*calls)

    async def _calls(self, number: int, *, keeps: bool) -> None:
        limits = httpx2.Limits(max_connections=1, keepalive_expiry=None)
        headers = {"Authorization": f"Bearer {self.key}"}
        if not keeps:
            headers["Connection"] = "close"
        chance = random.Random(number)
        values = iter(cards(5000, seed=1000 + number))
        async with httpx2.AsyncClient(
            base_url=self.url, limits=limits, headers=headers, timeout=60.0
        ) as client:
            while not self._stop.is_set():
                value = next(values)
                body = {"items": [{"data_class": "pan", "value": value}]}
                answer = await self._call(client, "/v1/tokenize", body)
                if answer is not None:
                    token = answer["items"][0]["token"]
                    self.stored[token] = value
                    asked = {
                        "purpose": "data_quality",
                        "items": [{"token": token, "form": "plain"}],
                    }
                    shown = await self._call(client, "/v1/detokenize", asked)
                    if shown is not None and shown["items"][0]["value"] != value:
                        self.failures.append("another value")
                await asyncio.sleep(chance.uniform(0, _LONGEST_PAUSE) if keeps else 0.05)

    async def _call(
        self, client: httpx2.AsyncClient, path: str, body: dict[str, Any]
    ) -> dict[str, Any] | None:
        try:
            answer = await client.post(path, json=body)
        except httpx2.HTTPError as error:
            self.failures.append(type(error).__name__)
            return None
        if answer.status_code != 200:
            self.failures.append(f"{answer.status_code} {answer.text}")
            return None
        self.told_to_close += (
            answer.headers.get("connection") == "close"
            and answer.request.headers.get("connection") != "close"
        )
        with self._progress:
            self.answered += 1
            self._progress.notify_all()
        found: dict[str, Any] = answer.json()
        return found


def test_a_rolling_restart_fails_no_request(serve: Serve) -> None:
    first = serve(workers=2, environment={"STRONGROOM_DRAIN_SECONDS": str(_DRAIN)})
    second = first.beside(workers=1).start()
    ports = [first.port, second.port]
    with Balancer(ports) as balancer:
        balancer.wait_for(ports)
        with Load(balancer.url, first.key("load-tester")).running() as load:
            for _ in range(_ROUNDS):
                for leaving, staying in ((first, second), (second, first)):
                    load.wait()
                    assert leaving.end() == 0
                    balancer.wait_for([staying.port])
                    load.wait()
                    leaving.start()
                    balancer.wait_for(ports)
        assert load.failures == []
        assert balancer.unserved == 0
        assert load.told_to_close > 0, "connections that are kept are asked for"
        _all_resolve(Load(balancer.url, load.key), load.stored)
    assert second.end() == 0
    assert first.end() == 0
    ends = "SELECT count(*) FROM strongroom.audit_events WHERE action = 'stop_audit'"
    assert first.query(ends) == [(3 * (_ROUNDS + 1),)], "each process, each time"
    unsealed = first.query(
        "SELECT count(*) FROM strongroom.audit_events AS e WHERE NOT EXISTS"
        " (SELECT FROM strongroom.log_leaves AS l WHERE l.position = e.position)"
    )
    assert unsealed == [(0,)], "what was recorded is sealed before the end"


def _all_resolve(load: Load, stored: dict[str, str]) -> None:
    assert len(stored) > _WARM
    tokens = list(stored)
    headers = {"Authorization": f"Bearer {load.key}"}
    for start in range(0, len(tokens), 500):
        part = tokens[start : start + 500]
        items = [{"token": token, "form": "plain"} for token in part]
        answer = httpx2.post(
            load.url + "/v1/detokenize",
            json={"purpose": "data_quality", "items": items},
            headers=headers,
            timeout=60.0,
        )
        assert answer.status_code == 200, answer.text
        shown = [item["value"] for item in answer.json()["items"]]
        assert shown == [stored[token] for token in part]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_connection_sees_of_the_end(serve: Serve, workers: int) -> None:
    server = serve(workers=workers, environment={"STRONGROOM_DRAIN_SECONDS": "600"})
    idle, used = _connections(server, 2 * workers), _connections(server, 2 * workers)
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    server.wait("/readyz", 503)
    for connection in used:
        # Each worker drains when its own signal reaches it.
        while (answer := _get(connection, "/readyz"))[0] == 200:
            pass
        assert answer[0] == 503
        assert json.loads(answer[2])["status"] == "draining"
        assert answer[1] == "close"
        assert connection.sock is None, "the client is told before the connection ends"
    assert httpx2.get(server.url + "/healthz").status_code == 200, "new connections are taken"
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0, "a second signal ends the drain"
    for connection in idle:
        assert connection.sock is not None
        assert connection.sock.recv(1) == b"", "it ends and is not reset"
        connection.close()


def test_a_request_in_flight_is_answered(serve: Serve) -> None:
    server = serve()
    caller = server.caller("load-tester")
    [card] = cards(1, seed=77)
    body = {"items": [{"data_class": "pan", "value": card}]}
    answers: list[httpx2.Response] = []
    with psycopg.connect(server.superuser_url) as other:
        other.execute("LOCK TABLE strongroom.tokens IN ACCESS EXCLUSIVE MODE")
        asking = threading.Thread(target=lambda: answers.append(caller.post("/v1/tokenize", body)))
        asking.start()
        _wait_for_lock(server)
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        _wait_until_closed(server)
        other.rollback()
    asking.join()
    assert answers[0].status_code == 200
    assert server.process.wait(60) == 0
    token = answers[0].json()["items"][0]["token"]
    assert server.query("SELECT 1 FROM strongroom.tokens WHERE token = %s", token) == [(1,)]


def _connections(server: Server, count: int) -> list[http.client.HTTPConnection]:
    """Kept connections that were used once."""
    found = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=60) for _ in range(count)]
    for connection in found:
        assert _get(connection, "/healthz")[0] == 200
    return found


def _get(connection: http.client.HTTPConnection, path: str) -> tuple[int, str | None, bytes]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.headers.get("connection"), answer.read()


def _wait_for_lock(server: Server) -> None:
    statement = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while server.query(statement) == [(0,)]:
        pass


def _wait_until_closed(server: Server) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=60).close()
        except ConnectionError:
            return
