"""Which requests callers made, by ids of their own, and what the log holds of them.

An answer of 200 acknowledges a request: its event is in the log, once, under the id that
the answer's receipt names. A request without an answer has one event or none.
"""

import itertools
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.serving import Server
from vault_service.domain import bundle


@dataclass
class RequestsMade:
    """Written down by any number of threads. ``answered`` has the status and the receipt's
    event, where there is one, by request id."""

    prefix: str
    answered: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new_id(self) -> str:
        """A request id that nobody has yet; without an answer until it is :meth:`kept`."""
        with self._lock:
            request_id = f"{self.prefix}-{next(self._numbers)}"
            self.unanswered.add(request_id)
        return request_id

    def keep(self, request_id: str, answer: httpx2.Response) -> None:
        """Write down what was answered."""
        receipt = answer.json().get("receipt") or {}
        with self._lock:
            self.unanswered.discard(request_id)
            self.answered[request_id] = answer.status_code, receipt.get("event_id")

    def withdraw(self, request_id: str) -> None:
        """It never left: nobody was there to take it."""
        with self._lock:
            self.unanswered.discard(request_id)

    @property
    def acknowledged(self) -> dict[str, str]:
        """The event that was promised, by request id."""
        with self._lock:
            answered = dict(self.answered)
        return {
            request_id: event_id
            for request_id, (status, event_id) in answered.items()
            if status == 200 and event_id is not None
        }


def recorded(server: Server, prefix: str) -> dict[str, list[str]]:
    """The ids of the events in the table, by request id, of requests with this prefix."""
    rows = server.query("SELECT body FROM strongroom.audit_events ORDER BY position")
    return _by_request((bytes(body) for (body,) in rows), prefix)


def exported(file: Path, prefix: str) -> dict[str, list[str]]:
    """The same of the sealed events in a bundle."""
    with file.open("rb") as stream:
        lines = map(bundle.decode, stream)
        bodies = [line.body for line in lines if isinstance(line, bundle.Event)]
    return _by_request(bodies, prefix)


def _by_request(bodies: Iterable[bytes], prefix: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for body in bodies:
        event = json.loads(body)
        request_id = event.get("request_id", "")
        if request_id.startswith(f"{prefix}-"):
            found.setdefault(request_id, []).append(event["id"])
    return found
