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
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from reporting_jobs.definitions import definitions
from tests.fakes.leased_runs import SEALED, FakeLease, FakePart, FakeRun, new_run
from tests.fakes.scripted_server import Reply, ScriptedServer, Seen, problem
from vault_service.domain.notes import VerifierKey, sign_line
from vault_service.domain.report_notes import PartOrder, WorkOrder, read_order
from vault_service.domain.report_runs import new_run_id
from vault_service.domain.reports import canonical

PAGE = 1000
_ORIGIN = "test.log"


class ReportVault(ScriptedServer):
    """The fake. ``refused`` holds the orders it refused, ``runs`` its runs by id; what a
    test sets in ``deny`` is refused with ``access_denied`` by route. Whoever asks for a verb in
    ``stuck_before`` waits for good, and nothing is done; in ``stuck_after``, once it is done."""

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
        self.stuck_before: set[str] = set()
        self.stuck_after: set[str] = set()
        self.stuck = threading.Event()
        self._let_go = threading.Event()
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
        note = self.sign(order.text())
        self.runs[order.run] = new_run(order, note, given, requested_at=now)
        return note

    def run_of(self, order: str) -> FakeRun:
        """The run that an order is about."""
        return next(run for run in self.runs.values() if run.order == order)

    def expire_lease(self, order: str) -> None:
        """Let whoever asks next take over the run, or the part, that the order is of."""
        for run in self.runs.values():
            for each in (run, *run.parts):
                if each.order == order:
                    each.lease_until = 0.0

    def _route(self, seen: Seen) -> Reply:
        path = seen.path.partition("?")[0]
        if path in self.deny:
            return problem(403, "access_denied")
        if path == "/v1/detokenize":
            return self._detokenize(seen)
        if path == "/v1/reports/runs":
            return self._listed(parse_qs(seen.path.partition("?")[2]))
        if path.startswith("/v1/reports/runs/"):
            run_id, _, verb = path.removeprefix("/v1/reports/runs/").partition("/")
            self._wait(verb, self.stuck_before)
            with self._state:
                run = self.runs.get(run_id)
                if run is None:
                    return problem(404, "not_found")
                reply = self._on_run(run, verb, seen)
            self._wait(verb, self.stuck_after)
            return reply
        if path.startswith("/v1/reports/") and path.endswith("/runs"):
            return self._requested(path.split("/")[3], seen.json)
        return problem(404, "not_found")

    def _listed(self, query: dict[str, list[str]]) -> Reply:
        with self._state:
            found = [
                run.told()
                for run in self.runs.values()
                if run.info["report"] in query["report"] and run.info["state"] in query["state"]
            ]
        return Reply(json={"runs": found, "next_cursor": None})

    def _wait(self, verb: str, where: set[str]) -> None:
        if verb in where:
            self.stuck.set()
            self._let_go.wait()

    def let_go(self) -> None:
        """Answer nobody who waits, and let nobody wait any more."""
        self.stuck_before.clear()
        self.stuck_after.clear()
        self.stuck.clear()

    def _requested(self, report: str, asked: dict[str, Any]) -> Reply:
        with self._state:
            for run in self.runs.values():
                if run.info["report"] == report and run.info["period"] == asked.get("period", ""):
                    return Reply(json=run.told())
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
            return Reply(json=run.told())

    def _on_run(self, run: FakeRun, verb: str, seen: Seen) -> Reply:
        body = seen.json if seen.body else {}
        number = body.get("part")
        at: FakeLease = run if number is None else run.parts[number - 1]
        if verb == "start":
            return self._start(run, body)
        if verb == "tokens":
            return self._tokens(body, at)
        if verb == "split" and run.parts:
            return Reply(json={"parts": run.parts_told()})
        finished = run.info["state"] == "succeeded" or (isinstance(at, FakePart) and at.done)
        if verb == "finish" and finished and at.holder == body["holder"]:
            return Reply(json=run.told(at))
        if verb == "release" and at.holder is None:
            return Reply(json=run.told(at))
        if at.holder != body["holder"] or run.info["state"] != "running" or finished:
            return problem(403, "access_denied")
        match verb:
            case "split":
                return self._split(run)
            case "release":
                at.released.append(body["reason"])
                at.holder = None
            case "seal":
                at.sealed = {name: body[name] for name in SEALED}
            case "finish":
                run.finish(at, body)
            case "fail":
                run.info |= {"state": "failed", "code": body["code"], "rule": body.get("reason")}
            case _:
                at.lease_until = datetime.now(UTC).timestamp() + self.lease_seconds
        return Reply(json=run.told(at))

    def _split(self, run: FakeRun) -> Reply:
        definition = definitions()[run.info["report"]]
        size = 0 if definition.split is None else definition.split.tokens
        cuts = [self._pages[at : at + size] for at in range(0, len(self._pages), size or 1)]
        if size and len(cuts) > 1:
            order = read_order(run.order.partition("\n\n")[0] + "\n")
            for number, tokens in enumerate(cuts, start=1):
                told = PartOrder(
                    order=order,
                    part=number,
                    parts=len(cuts),
                    after=cuts[number - 2][-1] if number > 1 else None,
                    until=tokens[-1] if number < len(cuts) else None,
                )
                run.parts.append(FakePart(self.sign(told.text()), number=number, tokens=tokens))
            run.holder = None
        return Reply(json={"parts": run.parts_told()})

    def _start(self, run: FakeRun, body: dict[str, Any]) -> Reply:
        known: list[FakeLease] = [run, *run.parts]
        at = next((each for each in known if each.order == body["order"]), None)
        if at is None:
            self.refused.append(body["order"])
            return problem(403, "access_denied")
        state = run.info["state"]
        waits = ("running", "approved") if run.info["needs_approval"] else ("requested", "running")
        if state not in waits or (isinstance(at, FakePart) and at.done):
            return Reply(json=run.told(at))
        if at is run and run.parts:
            return Reply(json=run.told(at))
        if not at.take(body["holder"], self.lease_seconds):
            return problem(422, "idempotency_conflict")
        run.info["state"] = "running"
        return Reply(json=run.told(at))

    def _tokens(self, body: dict[str, Any], of: FakeLease) -> Reply:
        at = int(body.get("cursor") or 0)
        row = {"created_at": "2026-01-01T00:00:00+00:00"}
        tokens = of.tokens if isinstance(of, FakePart) else self._pages
        page = [{"token": token, **row} for token in tokens[at : at + PAGE]]
        more = at + PAGE < len(tokens)
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
        self._let_go.set()
        super().__exit__(kind, error, traceback)


def altered(order: str) -> str:
    """The order with a higher cap, its signature as it was."""
    head, line, rest = order.split("\n", 2)
    content = json.loads(line)
    content.get("order", content)["row_cap"] += 1
    return f"{head}\n{canonical(content).decode()}\n{rest}"
