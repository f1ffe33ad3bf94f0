"""``/v1/policy/explain``: the decision that a request would get, and no value."""

from typing import Any

import pytest

from tests.serving import Server

FIELDS = {
    "allowed",
    "decision",
    "policies",
    "errors",
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
