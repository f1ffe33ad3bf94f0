"""``/v1/policy/explain``: the decision that a request would get, and no value."""

from typing import Any

import pytest

from tests.serving import ROOT, Server

FIELDS = {
    "allowed",
    "decision",
    "policies",
    "errors",
    "sources",
    "candidates",
    "form",
    "budget_left",
    "policy_hash",
    "request_id",
}


@pytest.mark.parametrize(
    ("principal", "question", "decision", "policies", "form"),
    [
        (
            "crm",
            {"action": "tokenize", "data_class": "email"},
            "allow",
            ["capture-tokenizes-its-clearance"],
            None,
        ),
        ("crm", {"action": "tokenize", "data_class": "pan"}, "deny", [], None),
        (
            "crm",
            {"action": "detokenize", "data_class": "email", "purpose": "operations"},
            "allow",
            ["capture-reveals-masked"],
            "masked",
        ),
        (
            "support-agent",
            {
                "action": "detokenize",
                "data_class": "pan",
                "purpose": "customer_support",
                "form": "plain",
            },
            "deny",
            ["people-see-restricted-values-masked"],
            None,
        ),
        (
            "warehouse-loader",
            {"action": "lookup", "data_class": "pan"},
            "deny",
            ["loader-reveals-nothing"],
            None,
        ),
        ("auditor", {"action": "read_audit"}, "allow", ["auditors-read-the-log"], None),
    ],
)
def test_decisions(
    server: Server,
    principal: str,
    question: dict[str, Any],
    decision: str,
    policies: list[str],
    form: str | None,
) -> None:
    answer = server.caller(principal).post("/v1/policy/explain", question)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == FIELDS
    assert body["decision"] == decision
    assert body["allowed"] is (decision == "allow")
    assert body["policies"] == policies
    assert body["form"] == form
    assert body["errors"] == []


def line_of(file: str, policy: str) -> int:
    lines = (ROOT / "policies" / file).read_text().split("\n")
    return lines.index(f'@id("{policy}")') + 1


def test_the_deciding_policy_with_its_place_and_why_no_other_decided(server: Server) -> None:
    question = {
        "action": "detokenize",
        "data_class": "pan",
        "purpose": "customer_support",
        "form": "plain",
    }
    answer = server.caller("support-agent").post("/v1/policy/explain", question).json()
    forbid = "people-see-restricted-values-masked"
    assert answer["sources"] == [
        {"id": forbid, "file": "guardrails.cedar", "line": line_of("guardrails.cedar", forbid)}
    ]
    by_id = {candidate["id"]: candidate for candidate in answer["candidates"]}
    assert forbid not in by_id
    assert by_id["support-reveals-masked"] == {
        "id": "support-reveals-masked",
        "file": "reveal.cedar",
        "line": line_of("reveal.cedar", "support-reveals-masked"),
        "effect": "permit",
        "condition": "when",
        "clause": 1,
        "part": 4,
    }
    assert by_id["reveal-names-form-and-purpose"]["condition"] == "unless"
    # Of other actions there is nothing to say.
    assert not {"loader-tokenizes-all", "auditors-read-the-log"} & set(by_id)


def test_a_permit_that_is_outweighed_has_nothing_against_it(server: Server) -> None:
    question = {
        "action": "detokenize",
        "data_class": "iban",
        "purpose": "payout",
        "form": "plain",
        "item_count": 10_000,
    }
    answer = server.caller("payout-service").post("/v1/policy/explain", question).json()
    assert answer["policies"] == ["reveal-stays-within-budget"]
    (permit,) = [each for each in answer["candidates"] if each["id"] == "payouts-reveal-iban"]
    assert set(permit) == {"id", "file", "line", "effect"}


@pytest.mark.parametrize("field", ["principal", "tenant", "at", "budget_left", "principal_tags"])
def test_nobody_asks_for_another(server: Server, field: str) -> None:
    question = {"action": "read_audit", field: "auditor"}
    answer = server.caller("checkout").post("/v1/policy/explain", question)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["rule"] == "unknown_field"


def test_conditions_are_told_by_place_alone(server: Server) -> None:
    # Their text would tell the tags and names of others.
    question = {"action": "detokenize", "data_class": "pan", "purpose": "chargeback"}
    answer = server.caller("crm").post("/v1/policy/explain", question)
    assert answer.json()["candidates"]
    assert "getTag" not in answer.text
    assert '"merchant"' not in answer.text


def test_the_budget_that_is_left(server: Server) -> None:
    question = {
        "action": "detokenize",
        "data_class": "iban",
        "purpose": "payout",
        "form": "plain",
        "item_count": 3,
    }
    service = server.caller("payout-service")
    left = service.post("/v1/policy/explain", question).json()["budget_left"]
    assert 0 < left <= 5000
    asked = service.post("/v1/policy/explain", {**question, "item_count": left + 1}).json()
    assert asked["decision"] == "deny"
    assert asked["policies"] == ["reveal-stays-within-budget"]
    assert service.post("/v1/policy/explain", question).json()["budget_left"] == left


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({}, "action"),
        ({"action": "steal"}, "action"),
        ({"action": "tokenize"}, "data_class"),
        ({"action": "read_audit", "data_class": "pan"}, "data_class"),
        ({"action": "tokenize", "data_class": "pan", "item_count": 0}, "item_count"),
        ({"action": "tokenize", "data_class": "pan", "item_count": 10001}, "item_count"),
        ({"action": "detokenize", "data_class": "pan", "purpose": "x"}, "purpose"),
        (
            {"action": "detokenize", "data_class": "pan", "purpose": "payout", "form": "year"},
            "form",
        ),
        ({"action": "tokenize", "data_class": "pan", "tags": {"a": 1}}, "tags[...]"),
    ],
)
def test_unusable_questions_name_the_field(
    server: Server, question: dict[str, Any], field: str
) -> None:
    answer = server.caller("checkout").post("/v1/policy/explain", question)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field
