"""A real log replayed against a changed directory: exactly what was changed is found, with
counts that are known from what was sent alone."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result

from tests.calling import Caller
from tests.serving import ROOT, Serve, Server
from tests.synthetic import cards
from vault_service.cli.policy import app

EVENTS = 10_000
THREADS = 4
PART = EVENTS // THREADS + 1
Backtest = Callable[..., Result]
DISPUTES = '["disputes", "merchant"].contains(principal.getTag("duty"))'
# Support sees an e-mail address in full, and nothing else.
SUPPORT_PLAIN = """
@id("support-reveals-email")
permit (principal, action == Action::"detokenize", resource)
when {
  principal.hasTag("duty") &&
  principal.getTag("duty") == "support" &&
  resource.data_class == "email" &&
  context has form &&
  context.form == "plain" &&
  context has purpose &&
  context.purpose == "customer_support"
};
"""


@dataclass
class Sent:
    """What was sent: requests and items by who asked for what, and all requests."""

    requests: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    items: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    tokens: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    events: int = 0
    undecided: int = 0
    receipts: dict[tuple[str, str, str], set[str]] = field(default_factory=dict)

    def reveal(
        self, caller: Caller, who: str, tokens: list[str], purpose: str, form: str, **more: Any
    ) -> None:
        answer = caller.detokenize(tokens, purpose, form, **more)
        key = (who, form, purpose)
        self.events += 1
        self.requests[key] += 1
        self.items[key] += len(tokens)
        self.tokens[key] += len(set(tokens))
        self.receipts.setdefault(key, set()).add(answer.json()["receipt"]["event_id"])


@pytest.fixture(scope="module")
def log(serve_module: Serve) -> tuple[Server, Sent]:
    """A server with more than 10,000 mixed events, and what was sent to it."""
    server = serve_module(workers=2)
    sent = Sent()
    names = ("checkout", "crm", "chargeback-service", "support-agent", "payout-service")
    callers = {name: server.caller(name) for name in names}
    pans = callers["checkout"].tokenize("pan", cards(50, seed=3))
    emails = callers["crm"].tokenize("email", [f"person{n}@example.com" for n in range(40)])
    sent.events += 2
    for n in range(30):
        sent.reveal(
            callers["chargeback-service"],
            "chargeback-service",
            pans[n : n + 2] if n % 3 else [pans[n], pans[n], pans[n + 1]],
            "chargeback",
            "plain",
        )
    for n in range(25):
        support = (callers["support-agent"], "support-agent")
        sent.reveal(*support, emails[n : n + 1 + n % 4], "customer_support", "plain")
        sent.reveal(*support, emails[n : n + 3], "customer_support", "masked")
        # Neither directory allows these.
        sent.reveal(*support, emails[:1], "operations", "plain")
        sent.reveal(*support, pans[:1], "customer_support", "last4")
        sent.reveal(callers["payout-service"], "payout-service", emails[:2], "payout", "plain")
        sent.reveal(callers["checkout"], "checkout", pans[n : n + 5], "fraud_review", "masked")
    fill(server, sent)
    return server, sent


def fill(server: Server, sent: Sent) -> None:
    """Requests of every other kind, until there are enough events."""
    numbers = cards(200, seed=4)
    [token] = server.caller("checkout").tokenize("pan", numbers[:1])
    body = {"data_class": "pan", "value": numbers[0]}

    def ask(checkout: Caller, crm: Caller, number: int) -> httpx2.Response:
        kinds: tuple[Callable[[], httpx2.Response], ...] = (
            lambda: checkout.post("/v1/lookup", body),
            lambda: checkout.post("/v1/tokenize", {"items": [body]}),
            lambda: checkout.get(f"/v1/tokens/{token}"),
            lambda: crm.post("/v1/tokenize", {"items": [body]}),  # denied
            lambda: crm.post("/v1/lookup", {"data_class": "fax", "value": "1"}),
            lambda: checkout.detokenize(["tok_pan_none"], "payout"),
            lambda: checkout.post("/v1/detokenize", {"items": [{"token": token}]}),
        )
        return kinds[number % len(kinds)]()

    def part(number: int) -> int:
        checkout, crm = server.caller("checkout"), server.caller("crm")
        for each in range(PART):
            ask(checkout, crm, each)
        return PART

    with ThreadPoolExecutor(THREADS) as threads:
        sent.events += 1 + sum(threads.map(part, range(THREADS)))
    sent.undecided = THREADS * sum(n % 7 > 3 for n in range(PART))
    server.caller("auditor").get("/v1/audit/events", params={"limit": 1})
    sent.events += 1


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """The directory in which the chargeback service loses card numbers and support gains
    plain e-mail addresses."""
    directory = Path(shutil.copytree(ROOT / "policies", tmp_path / "policies"))
    reveal = directory / "reveal.cedar"
    text = reveal.read_text()
    assert DISPUTES in text
    without = text.replace(DISPUTES, 'principal.getTag("duty") == "merchant"')
    reveal.write_text(without + SUPPORT_PLAIN)
    return directory


@pytest.fixture
def run(log: tuple[Server, Sent], monkeypatch: pytest.MonkeyPatch) -> Backtest:
    for name, value in log[0].settings().items():
        if name.startswith("STRONGROOM_"):
            monkeypatch.setenv(name, value)

    def backtest(*arguments: str | Path) -> Result:
        return CliRunner().invoke(app, ["backtest", *map(str, arguments)])

    return backtest


def told(result: Result, code: int) -> dict[str, Any]:
    assert result.exit_code == code, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


VARYING = {"policies_then", "policies_now", "event_ids"}
CHARGEBACK = ("chargeback-service", "plain", "chargeback")
SUPPORT = ("support-agent", "plain", "customer_support")


def test_exactly_the_two_changes_are_reported(
    log: tuple[Server, Sent], run: Backtest, new: Path
) -> None:
    server, sent = log
    [[recorded]] = server.query("SELECT count(*) FROM strongroom.audit_events")
    answer = told(run(new, "--json"), 1)
    denied, allowed = answer["changes"]
    for change, key, effect, data_class in (
        (denied, CHARGEBACK, "newly_denied", "pan"),
        (allowed, SUPPORT, "newly_allowed", "email"),
    ):
        principal, form, purpose = key
        assert {name: change[name] for name in change if name not in VARYING} == {
            "effect": effect,
            "tenant": "main",
            "principal": principal,
            "action": "detokenize",
            "data_class": data_class,
            "form": form,
            "purpose": purpose,
            "events": sent.requests[key],
            "items": sent.items[key],
            "tokens": sent.tokens[key],
            "failing_now": [],
        }
        assert len(change["event_ids"]) == 5
        assert set(change["event_ids"]) <= sent.receipts[key]
    assert (denied["policies_then"], denied["policies_now"]) == (["disputes-reveal-pan"], [])
    assert (allowed["policies_then"], allowed["policies_now"]) == ([], ["support-reveals-email"])
    assert answer["events"] == recorded >= sent.events > EVENTS
    counted = ("replayed", "replayed_in_part", "not_replayed")
    assert sum(answer[name] for name in counted) == recorded
    # Three of seven requests of the rest came to no decision; nobody decides on keys.
    reasons = {each["reason"]: each["events"] for each in answer["unreplayed"]}
    assert reasons["no_decision"] == sent.undecided
    assert reasons["not_a_decision"] == recorded - sent.events


def test_the_same_directory_changes_nothing_and_reading_is_recorded(
    log: tuple[Server, Sent], run: Backtest
) -> None:
    server, sent = log
    readings = (
        "SELECT count(*) FROM strongroom.audit_events WHERE action = 'read_audit'"
        " AND starts_with(principal, 'operator:')"
        " AND position(%s in convert_from(body, 'UTF8')) > 0"
    )
    [[before]] = server.query(readings, '"view":"policy_backtest"')
    result = run(ROOT / "policies")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("Nothing changes.\n")
    [[after]] = server.query(readings, '"view":"policy_backtest"')
    # One in the log of each tenant, and in that of events of none: main, other, -.
    assert after - before == 3
    again = told(run(ROOT / "policies", "--json"), 0)
    [inputs] = [each for each in again["unreplayed"] if each["reason"] == "no_inputs"]
    assert inputs["events"] >= 3
    assert again["events"] > sent.events


def test_only_the_time_that_is_asked_for_is_replayed(
    log: tuple[Server, Sent], run: Backtest, new: Path
) -> None:
    before = told(run(new, "--json", "--to", "2026-01-01"), 1)  # its cases differ
    assert (before["events"], before["changes"]) == (0, [])
    assert told(run(new, "--json", "--from", "2026-01-01T00:00:00Z"), 1)["events"] > EVENTS


def test_a_log_that_is_away_is_no_success(
    run: Backtest, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRONGROOM_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    result = run(new)
    assert result.exit_code == 2
    assert "events:" not in result.stdout
