"""A vault with the routes that a job's run uses, played from memory.

    with ReportVault(tokens={"tok_email_…": "a@example.com"}) as vault:
        order = vault.order("tiny", recipient)

Orders are signed with a key of its own, leases and ends are those of the contract:
``tests/jobs/test_on_the_service.py`` runs the same jobs on the real service.
"""

import hashlib
import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from reporting_jobs.definitions import definitions
from tests.fakes.scripted_server import Reply, ScriptedServer, Seen, problem
from vault_service.domain.notes import VerifierKey, sign_line
from vault_service.domain.report_notes import WorkOrder
from vault_service.domain.report_runs import new_run_id
from vault_service.domain.reports import canonical

PAGE = 1000
_ORIGIN = "test.log"


@dataclass
class FakeRun:
    """A run as the fake keeps it."""

    info: dict[str, Any]
    order: str
    holder: str | None = None
    lease_until: float = 0.0
    finishes: list[dict[str, Any]] = field(default_factory=list)


class ReportVault(ScriptedServer):
    """The fake. ``refused`` holds the orders it refused, ``runs`` its runs by id; what a
    test sets in ``deny`` is refused with ``access_denied`` by route."""

    def __init__(self, tokens: Mapping[str, str], lease_seconds: float = 300.0) -> None:
        super().__init__(self._route)
        self._signing = ec.generate_private_key(ec.SECP256R1())
        public = self._signing.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        self.key = VerifierKey(_ORIGIN, public)
        self.tokens = dict(tokens)
        self._pages = list(self.tokens)
        self.lease_seconds = lease_seconds
        self.runs: dict[str, FakeRun] = {}
        self.refused: list[str] = []
        self.deny: set[str] = set()
        self.approve_requests = True
        self._state = threading.RLock()

    def sign(self, text: str) -> str:
        """The text as a note of this vault's key."""
        signature = self._signing.sign(text.encode(), ec.ECDSA(SHA256()))
        return f"{text}\n{sign_line(_ORIGIN, self.key.key_id, signature)}"

    def order(
        self,
        report: str,
        recipient: str,
        *,
        format: str = "csv",
        parameters: Mapping[str, Any] | None = None,
        row_cap: int | None = None,
        period: str = "",
    ) -> str:
        """The signed order of a new, approved run."""
        definition = definitions()[report]
        given = dict(parameters or {})
        now = datetime.now(UTC)
        order = WorkOrder(
            run=new_run_id(),
            tenant="main",
            report=report,
            purpose=definition.purpose,
            template_hash=definition.template_hash(),
            parameters_sha256=hashlib.sha256(canonical(given)).hexdigest(),
            period=period,
            format=format,
            recipient=recipient,
            row_cap=row_cap or definition.limits.row_cap,
            requester="compliance-officer",
            expires_at=(now + timedelta(days=1)).isoformat(),
        )
        told = msgspec.to_builtins(order)
        info = {
            **{name: told[name] for name in ("report", "purpose", "template_hash", "period")},
            **{name: told[name] for name in ("format", "recipient", "row_cap", "requester")},
            "id": order.run,
            "state": "approved",
            "parameters": given,
            "requested_at": now.isoformat(),
            "expires_at": order.expires_at,
            "updated_at": now.isoformat(),
            "needs_approval": True,
            "binding": {},
            "attempts": 0,
        }
        note = self.sign(order.text())
        self.runs[order.run] = FakeRun(info, note)
        return note

    def run_of(self, order: str) -> FakeRun:
        """The run that an order is about."""
        return next(run for run in self.runs.values() if run.order == order)

    def expire_lease(self, order: str) -> None:
        """Let whoever asks next take the run over."""
        self.run_of(order).lease_until = 0.0

    def _route(self, seen: Seen) -> Reply:
        path = seen.path.partition("?")[0]
        if path in self.deny:
            return problem(403, "access_denied")
        if path == "/v1/detokenize":
            return self._detokenize(seen)
        if path.startswith("/v1/reports/runs/"):
            run_id, _, verb = path.removeprefix("/v1/reports/runs/").partition("/")
            with self._state:
                run = self.runs.get(run_id)
                if run is None:
                    return problem(404, "not_found")
                return self._on_run(run, verb, seen)
        if path.startswith("/v1/reports/") and path.endswith("/runs"):
            return self._requested(path.split("/")[3], seen.json)
        return problem(404, "not_found")

    def _requested(self, report: str, asked: dict[str, Any]) -> Reply:
        with self._state:
            for run in self.runs.values():
                if run.info["report"] == report and run.info["period"] == asked.get("period", ""):
                    return self._told(run)
            order = self.order(
                report,
                asked["recipient"],
                format=asked.get("format", "csv"),
                parameters=asked.get("parameters"),
                period=asked.get("period", ""),
            )
            run = self.run_of(order)
            if not self.approve_requests:
                run.info["state"] = "requested"
            return self._told(run)

    def _told(self, run: FakeRun) -> Reply:
        approved = run.info["state"] != "requested"
        return Reply(json={**run.info, "order": run.order if approved else None})

    def _on_run(self, run: FakeRun, verb: str, seen: Seen) -> Reply:
        body = seen.json if seen.body else {}
        if verb == "start":
            return self._start(run, body)
        if verb == "tokens":
            return self._tokens(body)
        if run.info["state"] == "succeeded" and verb == "finish" and run.holder == body["holder"]:
            return self._told(run)
        if run.holder != body["holder"] or run.info["state"] != "running":
            return problem(403, "access_denied")
        if verb == "finish":
            run.finishes.append(body)
            run.info |= {name: body[name] for name in ("rows", "output_sha256", "output_bytes")}
            run.info |= {"state": "succeeded", "location": body["output_location"]}
        elif verb == "fail":
            run.info |= {"state": "failed", "code": body["code"]}
        else:
            self._lease(run)
        return self._told(run)

    def _start(self, run: FakeRun, body: dict[str, Any]) -> Reply:
        if body["order"] != run.order:
            self.refused.append(body["order"])
            return problem(403, "access_denied")
        state = run.info["state"]
        if state == "running":
            free = run.lease_until <= datetime.now(UTC).timestamp()
            if not free and run.holder != body["holder"]:
                return problem(422, "idempotency_conflict")
        elif state != "approved":
            return self._told(run)
        run.holder = body["holder"]
        run.info |= {"state": "running", "attempts": run.info["attempts"] + 1}
        self._lease(run)
        return self._told(run)

    def _lease(self, run: FakeRun) -> None:
        run.lease_until = datetime.now(UTC).timestamp() + self.lease_seconds
        run.info["lease_until"] = datetime.fromtimestamp(run.lease_until, UTC).isoformat()

    def _tokens(self, body: dict[str, Any]) -> Reply:
        at = int(body.get("cursor") or 0)
        row = {"created_at": "2026-01-01T00:00:00+00:00"}
        page = [{"token": token, **row} for token in self._pages[at : at + PAGE]]
        more = at + PAGE < len(self._pages)
        return Reply(
            json={
                "data_class": body["data_class"],
                "tokens": page,
                "next_cursor": str(at + PAGE) if more else None,
            }
        )

    def _detokenize(self, seen: Seen) -> Reply:
        items = [
            {
                "index": index,
                "status": "ok",
                "data_class": "email",
                "form": item["form"],
                "value": self.tokens[item["token"]],
            }
            for index, item in enumerate(seen.json["items"])
        ]
        summary = {"ok": len(items), "failed": 0}
        return Reply(json={"items": items, "summary": summary, "request_id": secrets.token_hex(8)})

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)


def altered(order: str) -> str:
    """The order with a higher cap, its signature as it was."""
    head, line, rest = order.split("\n", 2)
    content = json.loads(line)
    content["row_cap"] += 1
    return f"{head}\n{canonical(content).decode()}\n{rest}"
