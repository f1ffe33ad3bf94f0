"""``strongroom policy explain``: who may do what, which policy decides, why another did not."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from vault_service.cli.policy import app

POLICIES = Path(__file__).parents[2] / "policies"
VALUE = ("--action", "detokenize", "--data-class", "pan")


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["explain", "--policies", str(POLICIES), *arguments])


def explained(*arguments: str) -> dict[str, Any]:
    result = explain(*VALUE, *arguments, "--json")
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_explain_names_the_deciding_policy_with_its_place() -> None:
    answer = explained(
        "--principal", "chargeback-service", "--form", "plain", "--purpose", "chargeback"
    )
    line = (POLICIES / "reveal.cedar").read_text().split("\n").index('@id("disputes-reveal-pan")')
    assert answer["decision"] == "allow"
    assert answer["form"] == "plain"
    assert answer["sources"] == [
        {"id": "disputes-reveal-pan", "file": "reveal.cedar", "line": line + 1}
    ]


def test_explain_asks_for_the_masked_form_by_default() -> None:
    answer = explained("--principal", "checkout", "--purpose", "fraud_review")
    assert (answer["decision"], answer["form"]) == ("allow", "masked")


def test_explain_takes_tags_counts_and_budget() -> None:
    question = [
        "--principal",
        "chargeback-service",
        "--purpose",
        "chargeback",
        "--tag",
        "region=eu",
    ]
    assert explained(*question, "--item-count", "5", "--budget-left", "5")["decision"] == "allow"
    refused = explained(*question, "--item-count", "6", "--budget-left", "5")
    assert refused["policies"] == ["reveal-stays-within-budget"]


def test_explain_says_when_nothing_permits_it() -> None:
    result = explain(*VALUE, "--principal", "payout-service", "--purpose", "payout")
    assert result.exit_code == 0
    told = result.stdout.splitlines()
    assert told[:3] == ["deny", "  because no policy permits it", "other policies on it:"]
    line = (POLICIES / "reveal.cedar").read_text().split("\n").index('@id("payouts-reveal-iban")')
    place = f"payouts-reveal-iban (reveal.cedar:{line + 1})"
    assert f'  permit {place}: when 1, part 3 is false: (resource.data_class) == "iban"' in told


def test_explain_says_of_each_candidate_why_it_did_not_decide() -> None:
    answer = explained(
        "--principal", "support-agent", "--form", "plain", "--purpose", "customer_support"
    )
    assert answer["policies"] == ["people-see-restricted-values-masked"]
    by_id = {candidate["id"]: candidate for candidate in answer["candidates"]}
    assert by_id["support-reveals-masked"] == {
        "id": "support-reveals-masked",
        "file": "reveal.cedar",
        "line": by_id["support-reveals-masked"]["line"],
        "effect": "permit",
        "unmatched": [],
        "condition": "when",
        "clause": 1,
        "part": 4,
        "text": '(context.form) == "masked"',
    }
    assert "loader-tokenizes-all" not in by_id


@pytest.mark.parametrize(
    "arguments",
    [
        ["--principal", "nobody"],
        ["--principal", "crm", "--purpose", "fun"],
        ["--principal", "crm", "--form", "year"],
        ["--principal", "crm", "--tag", "region"],
    ],
)
def test_explain_refuses_what_the_files_do_not_know(arguments: list[str]) -> None:
    assert explain(*VALUE, *arguments).exit_code == 2


def decided(principal: str, action: str, *more: str) -> tuple[bool, list[str]]:
    """Whether it is allowed, and the policies that decide."""
    asked = ("--principal", principal, "--action", action, *more)
    result = explain(*asked, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    return answer["decision"] == "allow", [source["id"] for source in answer["sources"]]


def test_explain_says_who_may_run_and_approve_a_report() -> None:
    report = ("--report", "chargeback_file")
    assert decided("compliance-officer", "run_report", *report)[0]
    assert decided("checkout", "run_report", *report) == (False, [])
    asked = (*report, "--requester", "compliance-officer")
    assert decided("compliance-lead", "approve_report", *asked) == (
        True,
        ["compliance-lead-approves-reports"],
    )
    allowed, policies = decided(
        "compliance-lead", "approve_report", *report, "--requester", "compliance-lead"
    )
    assert (allowed, policies) == (False, ["nobody-approves-their-own-run"])
    # A schedule wakes the job of its own report, and of no other.
    assert decided("job:audit_seal", "run_report", "--report", "audit_seal")[0]
    assert not decided("job:audit_seal", "run_report", "--report", "access_review")[0]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--action", "run_report"), "name a --report"),
        (("--action", "read_audit", "--report", "audit_seal"), "name a --report"),
        (("--action", "run_report", "--report", "nothing"), "no such report"),
    ],
)
def test_explain_asks_after_reports_that_there_are(more: tuple[str, ...], text: str) -> None:
    result = explain("--principal", "auditor", *more)
    assert result.exit_code == 2
    assert text in result.output
