"""What callers were promised, held against what the database holds.

A promise is an answer of 200: from then on each token resolves to its value, and the
event that the receipt names is in the audit log with the token in it.
"""

import json
import threading
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.calling import Caller
from tests.serving import Server

PURPOSE = "data_quality"
_PART = 5_000


@dataclass(frozen=True)
class Promise:
    """One acknowledged token."""

    value: str
    token: str
    event_id: str


@dataclass
class Ledger:
    """Promises, written down by any number of threads."""

    promises: list[Promise] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, values: list[str], answer: httpx2.Response) -> list[Promise]:
        """Write down what an answer of 200 to the tokenizing of ``values`` promises."""
        body = answer.json()
        event_id = body["receipt"]["event_id"]
        made = [
            Promise(value, item["token"], event_id)
            for value, item in zip(values, body["items"], strict=True)
        ]
        with self._lock:
            self.promises += made
        return made

    def recent(self, count: int) -> list[Promise]:
        """The last ``count`` promises."""
        with self._lock:
            return self.promises[-count:]

    def broken(self, server: Server, caller: Caller) -> list[str]:
        """A line for every promise that does not hold; none where all are kept."""
        with self._lock:
            promises = list(self.promises)
        found: list[str] = []
        events = recorded(server)
        for at in range(0, len(promises), _PART):
            part = promises[at : at + _PART]
            answer = caller.detokenize([promise.token for promise in part], PURPOSE)
            items = answer.json()["items"]
            for promise, item in zip(part, items, strict=True):
                if item.get("value") != promise.value:
                    found.append(f"{promise.token} does not give its value back")
                if promise.token not in events.get(promise.event_id, ()):
                    found.append(f"{promise.token} is not in its event {promise.event_id}")
        return found


def recorded(server: Server, action: str = "tokenize") -> dict[str, set[str]]:
    """The tokens of each event of this action, by event id, from the events' own bytes."""
    found: dict[str, set[str]] = {}
    for event_id, body in server.query(
        "SELECT id, body FROM strongroom.audit_events WHERE action = %s", action
    ):
        groups: list[dict[str, Any]] = json.loads(bytes(body)).get("groups", [])
        found[event_id] = {token for group in groups for token in group.get("tokens", ())}
    return found


def unrecorded(server: Server) -> set[str]:
    """The stored tokens that no tokenize event names; must be none at any time."""
    # Read before the events: what is stored in between has its event already.
    stored = {token for (token,) in server.query("SELECT token FROM strongroom.tokens")}
    named: set[str] = set().union(*recorded(server).values())
    return stored - named


def check_problem(answer: httpx2.Response, codes: set[str], hidden: list[str]) -> None:
    """The answer is a 503 that says what is away and when to come back, and shows none of
    the ``hidden`` values."""
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] in codes, problem
    assert problem["retryable"] is True
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert int(answer.headers["retry-after"]) >= 1
    for value in hidden:
        assert value not in answer.text
        assert value[6:12] not in answer.text, "not even the middle of a value"
