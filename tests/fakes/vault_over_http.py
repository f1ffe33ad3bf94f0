"""A vault in memory behind :class:`ScriptedServer`, in the shapes of the contract.

It keeps what the client's side relies on: one token per value of a deterministic
class, a first answer kept under its idempotency key, per-item errors, and a problem
document with the items where all failed. Values that start with ``bad`` break a rule;
a principal named in ``denied`` may do nothing.
"""

import itertools
import json
import threading
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa

from tests.fakes.scripted_server import Reply, Seen, problem
from vault_service.domain import columns

CLASSES = {
    "pan": {"tags": ["pci"], "forms": ["masked", "plain", "last4"], "deterministic": True},
    "pan_unverified": {"tags": ["pci"], "forms": ["masked", "plain"], "deterministic": True},
    "email": {"tags": ["pii"], "forms": ["masked", "plain"], "deterministic": True},
    "person_name": {"tags": ["pii"], "forms": ["masked", "plain"], "deterministic": True},
    "free_text": {"tags": ["pii"], "forms": ["masked", "plain"], "deterministic": False},
}
PURPOSES = {"chargeback": "Answer a card dispute", "data_quality": "Check the data"}


class MemoryVault:
    """Call it with a request; it answers like the service."""

    def __init__(self, *, denied: bool = False) -> None:
        self.values: dict[str, tuple[str, str]] = {}
        self.tokens: dict[tuple[str, str], str] = {}
        self.answers: dict[str, tuple[bytes, Reply]] = {}
        self.denied = denied
        self.busy: set[str] = set()
        self.arrow_requests: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def __call__(self, seen: Seen) -> Reply:
        with self._lock:
            return self._route(seen)

    def _route(self, seen: Seen) -> Reply:
        if seen.headers.get("content-type") == columns.MEDIA_TYPE:
            return self._in_arrow(seen)
        return self._in_json(seen)

    def _in_arrow(self, seen: Seen) -> Reply:
        """The same by way of JSON: request and answer turned over."""
        table = pa.ipc.open_stream(seen.body).read_all()
        assert table.schema.metadata
        said = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        items = [
            {k: dict(v) if k == columns.TAGS else v for k, v in row.items() if v is not None}
            for row in table.to_pylist()
        ]
        body = json.dumps({**said, "items": items}).encode()
        self.arrow_requests.append({**said, "items": items})
        reply = self._in_json(replace(seen, body=body))
        if reply.media_type != "application/json":
            return reply
        rows = []
        for item in reply.json["items"]:
            error = item.pop("error", {})
            rows.append({**item, **{f"error_{name}": value for name, value in error.items()}})
        outcome = columns.TOKEN if seen.path == "/v1/tokenize" else columns.VALUE
        text = [columns.REFERENCE, columns.STATUS, outcome, columns.DATA_CLASS]
        text += [columns.ERROR_CODE, columns.ERROR_DETAIL]
        schema = pa.schema(
            [
                (columns.INDEX, pa.int64()),
                *[(name, pa.string()) for name in text],
                (columns.ERROR_RETRYABLE, pa.bool_()),
            ],
            metadata={columns.REQUEST_ID_KEY: b"req-1", columns.EVENT_ID_KEY: b"evt_1"},
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema) as writer:
            writer.write_table(pa.Table.from_pylist(rows, schema))
        content = bytes(sink.getvalue())
        return Reply(reply.status, media_type=columns.MEDIA_TYPE, content=content)

    def _in_json(self, seen: Seen) -> Reply:
        path = urlsplit(seen.path).path
        if not seen.headers.get("authorization", "").startswith("Bearer "):
            return problem(401, "unauthenticated")
        if path == "/v1/catalog":
            classes = {name: {"name": name, **more} for name, more in CLASSES.items()}
            return Reply(json={"data_classes": classes, "purposes": PURPOSES})
        if path == "/v1/whoami":
            return Reply(json={"principal": "loader", "tenant": "main", "type": "service"})
        if path == "/v1/policy/explain":
            return Reply(json={"allowed": not self.denied, "policies": ["p1"]})
        if path.startswith("/v1/tokens/"):
            return self._token(seen.method, path.rsplit("/", 1)[1])
        if path == "/v1/audit/events":
            return self._events(parse_qs(urlsplit(seen.path).query))
        if self.denied:
            items = [
                self._error(i, item, "access_denied") for i, item in enumerate(seen.json["items"])
            ]
            return problem(403, "access_denied", items=items)
        if path == "/v1/tokenize":
            return self._once(seen)
        if path == "/v1/lookup":
            asked = seen.json["data_class"], seen.json["value"]
            return Reply(json={"token": self.tokens.get(asked), "request_id": "req-1"})
        return self._all([self._reveal(i, item) for i, item in enumerate(seen.json["items"])])

    def _once(self, seen: Seen) -> Reply:
        key = seen.headers.get("idempotency-key")
        if key in self.answers:
            body, reply = self.answers[key]
            return reply if body == seen.body else problem(422, "idempotency_conflict")
        items = [self._store(i, item) for i, item in enumerate(seen.json["items"])]
        reply = self._all(items)
        if key is not None:
            self.answers[key] = (seen.body, reply)
        return reply

    def _error(self, index: int, item: dict[str, Any], code: str) -> dict[str, Any]:
        error: dict[str, Any] = {
            "code": code,
            "detail": "A constant sentence.",
            "retryable": code in ("key_unavailable", "budget_exceeded"),
        }
        if code == "invalid_value":
            error["rule"] = "shape"
        return self._item(index, item, status="error", error=error)

    def _item(self, index: int, item: dict[str, Any], **more: Any) -> dict[str, Any]:
        reference = {"reference": item["reference"]} if "reference" in item else {}
        return {"index": index, "status": "ok", **reference, **more}

    def _store(self, index: int, item: dict[str, Any]) -> dict[str, Any]:
        data_class, value = item["data_class"], item["value"]
        if value in self.busy:
            self.busy.discard(value)
            return self._error(index, item, "key_unavailable")
        if value.startswith("bad"):
            return self._error(index, item, "invalid_value")
        if data_class not in CLASSES:
            return self._error(index, item, "unknown_data_class")
        known = self.tokens.get((data_class, value))
        token = known or f"tok_{data_class}_{next(self._numbers):027d}"
        if CLASSES[data_class]["deterministic"]:
            self.tokens[data_class, value] = token
        self.values[token] = (data_class, value)
        return self._item(index, item, token=token, data_class=data_class, masked="****")

    def _reveal(self, index: int, item: dict[str, Any]) -> dict[str, Any]:
        if item["token"] not in self.values:
            return self._error(index, item, "not_found")
        data_class, value = self.values[item["token"]]
        form = item.get("form", "masked")
        shown = value if form == "plain" else "****"
        return self._item(index, item, data_class=data_class, form=form, value=shown)

    def _all(self, items: list[dict[str, Any]]) -> Reply:
        failed = [item for item in items if item["status"] == "error"]
        if failed and len(failed) == len(items):
            return problem(422, failed[0]["error"]["code"], items=items)
        return Reply(
            207 if failed else 200,
            {
                "items": items,
                "summary": {"ok": len(items) - len(failed), "failed": len(failed)},
                "request_id": "req-1",
                "receipt": {"event_id": "evt_1"},
            },
        )

    def _token(self, method: str, token: str) -> Reply:
        if token not in self.values:
            return problem(404, "not_found")
        if method == "DELETE":
            self.tokens.pop(self.values.pop(token), None)
            return Reply(204)
        data_class = self.values[token][0]
        return Reply(json={"token": token, "data_class": data_class, "tags": {}})

    def _events(self, query: dict[str, list[str]]) -> Reply:
        start = int(query.get("cursor", ["0"])[0])
        events = [{"id": f"evt_{number}"} for number in range(start, start + 2)]
        return Reply(json={"events": events, "next_cursor": str(start + 2) if start < 4 else None})
