"""Tokens that nobody has a reason to ask for call people when somebody does (PCI-DSS 11.5.1)."""

import json
from typing import Any

import pytest

from tests.serving import Serve, Server
from tests.synthetic import cards


@pytest.fixture(scope="module")
def vault(serve_module: Serve) -> Server:
    return serve_module()


def rung(vault: Server) -> list[dict[str, Any]]:
    """The log lines that the alarm looks for."""
    lines = (json.loads(line) for line in vault.stderr.read_text().splitlines())
    return [line for line in lines if line["event"] == "honeytoken_touched"]


def test_who_asks_for_a_honeytoken_is_told_of(vault: Server) -> None:
    loader = vault.caller("load-tester")
    honey, plain = cards(2, seed=31)
    [bait] = loader.tokenize("pan", [honey], tags={"honeytoken": "crm export"})
    [token] = loader.tokenize("pan", [plain])
    assert loader.detokenize([token], "data_quality").status_code == 200
    assert not rung(vault), "planting it is nobody's alarm, nor is any other token"
    asked = [
        loader.detokenize([token, bait], "data_quality"),
        vault.caller("support-agent").detokenize([bait], "customer_support"),
        loader.get(f"/v1/tokens/{bait}"),
    ]
    assert [answer.status_code for answer in asked] == [200, 403, 200]
    told = rung(vault)
    assert [(line["action"], line["principal"], line["tokens"]) for line in told] == [
        ("detokenize", "load-tester", 1),
        ("detokenize", "support-agent", 1),
        ("describe_token", "load-tester", 1),
    ]
    recorded = {event["id"] for event in vault.caller("auditor").events(token=bait)}
    assert {line["event_id"] for line in told} < recorded
    text = json.dumps(told)
    assert honey not in text
    assert bait not in text
    assert "crm export" not in text


def test_a_reveal_that_its_budget_refuses_is_told_of_once(serve: Serve) -> None:
    """Of the subjects' budget the commit alone knows: the event is changed then."""
    vault = serve()
    loader = vault.caller("load-tester")
    honey, *values = cards(501, seed=32)
    [bait] = loader.tokenize("pan", [honey], tags={"honeytoken": "crm export"}, subject="cus_bait")
    items = [
        {"data_class": "pan", "value": value, "subject": f"cus_{number}"}
        for number, value in enumerate(values)
    ]
    made = loader.post("/v1/tokenize", {"items": items}).json()["items"]
    tokens = [bait, *(item["token"] for item in made)]
    answer = vault.caller("chargeback-service").detokenize(tokens, "chargeback")
    assert (answer.status_code, answer.json()["code"]) == (429, "budget_exceeded")
    [event] = vault.caller("auditor").events(token=bait, action="detokenize")
    assert event["outcome"] == "denied"
    assert {group["code"] for group in event["groups"]} == {"budget_exceeded"}
    [told] = rung(vault)
    assert told["event_id"] == event["id"]
