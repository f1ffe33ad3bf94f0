"""What an auditor does with the log over HTTP, and what others may try."""

import json
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import httpx2

from tests.calling import Caller
from tests.serving import Server
from tests.synthetic import cards
from vault_service.domain.notes import VerifierKey
from vault_service.verifier.bundles import BundleReport, verify_bundle
from vault_service.verifier.findings import Verdict

PATIENCE_SECONDS: Final = 60.0


def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
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


def pinned_key(caller: Caller) -> VerifierKey:
    """The log's key, as it tells it."""
    answer = caller.get("/v1/audit/key")
    assert answer.status_code == 200, answer.text
    return VerifierKey.parse(answer.text.removesuffix("\n"))


def proof(caller: Caller, event_id: str) -> httpx2.Response:
    return caller.get(f"/v1/audit/events/{event_id}/proof")


def recorded(auditor: Caller, answer: httpx2.Response) -> dict[str, Any]:
    """The one event that a request left."""
    request_id = answer.headers["x-request-id"]
    [found] = [each for each in auditor.events() if each["request_id"] == request_id]
    return found


def export(caller: Caller, **query: Any) -> bytes:
    """The bundle; ``from`` in a mapping, since it is a word of the language."""
    answer = caller.get("/v1/audit/export", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["cache-control"] == "no-store"
    return answer.content


def lines(bundle: bytes, kind: str) -> list[dict[str, Any]]:
    """The lines of one type."""
    return [line for line in map(json.loads, bundle.splitlines()) if line["type"] == kind]


def verified(bundle: bytes, key: VerifierKey, kept: str | None = None) -> BundleReport:
    """The report of a bundle that verifies."""
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
