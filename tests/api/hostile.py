"""What the tests of bad input share: a canary, and where it must not be found."""

import base64
import json
from typing import Any, Final

import httpx2

from tests.serving import Server

CANARY: Final = "Kanarie7Q5xZ"
"""Stands in every hostile input; nothing else in the project holds it."""
CARD: Final = "4929139874563071"
"""A card number (its check digit holds) that no other test uses."""


def refused(answer: httpx2.Response, rule: str | None = None, code: str | None = None) -> Any:
    """Assert a refusal of the whole request that names a rule and echoes nothing."""
    assert 400 <= answer.status_code < 500, answer.status_code
    echoes_nothing(answer)
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["detail"]
    if code is not None:
        assert body["code"] == code
    if rule is not None:
        assert rule in {error["rule"] for error in body["errors"]}, body
    return body


def echoes_nothing(answer: httpx2.Response) -> None:
    """Assert that neither body nor headers give back what was sent."""
    head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
    for text in (answer.text, head):
        assert_absent(text.encode())


def spellings(text: str) -> list[bytes]:
    """How a text may be hidden in bytes."""
    raw = text.encode()
    return [
        raw.lower(),
        raw.hex().encode(),
        base64.b64encode(raw).rstrip(b"=").lower(),
        " ".join(text).lower().encode(),
    ]


def assert_absent(data: bytes) -> None:
    folded = data.lower()
    for text in (CANARY, CARD):
        for spelling in spellings(text):
            assert spelling not in folded, "what was sent came back or was kept"


def assert_never_kept(server: Server) -> None:
    """Nothing that was sent stands in a log or in any table."""
    for log in (server.stdout, server.stderr):
        assert_absent(log.read_bytes())
    tables = server.query(
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = 'strongroom' AND table_type = 'BASE TABLE'"
    )
    assert len(tables) > 5
    for (table,) in tables:
        for (row,) in server.query(f"SELECT t::text FROM strongroom.{table} AS t"):
            assert_absent(row.encode())


def item(**changes: Any) -> dict[str, Any]:
    """An item of a tokenize request, usable but for the changes."""
    return {"data_class": "pan", "value": "4111111111111111", **changes}


def one(**changes: Any) -> bytes:
    """A tokenize request with that one item."""
    return json.dumps({"items": [item(**changes)]}).encode()
