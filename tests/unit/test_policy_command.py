"""``strongroom policy``: what check finds, what test compares, what explain says."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from vault_service.adapters.policy_check import validate
from vault_service.adapters.policy_files import load_bundle
from vault_service.cli.policy import app

POLICIES = Path(__file__).parents[2] / "policies"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(POLICIES, tmp_path / "policies"))


def run(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=env)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def findings(directory: Path) -> list[tuple[str, str, str]]:
    return [(f.file, f.rule, f.detail) for f in validate(load_bundle(directory, None))]


def test_check_finds_the_sample_policies_sound() -> None:
    result = run("check", POLICIES, "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 0
    assert answer["findings"] == []
    assert answer["hash"] == load_bundle(POLICIES, None).hash
    assert answer["data_classes"] == 12


def test_check_names_who_is_left_out_in_prod() -> None:
    result = run("check", POLICIES, "--environment", "prod")
    assert result.exit_code == 0
    assert "left out in prod: load-tester" in result.stdout
    assert "left out" not in run("check", POLICIES, "--environment", "test").stdout


def test_the_directory_comes_from_the_environment(directory: Path) -> None:
    (directory / "principals.yml").write_text("principals: 1\n")
    result = run("check", env={"STRONGROOM_POLICY_DIR": str(directory)})
    assert result.exit_code == 1
    assert "principals.yml: principals: not a list" in result.stdout


@pytest.mark.parametrize(
    ("old", "new", "detail"),
    [
        ('== "disputes"', '== "dispute"', "'dispute' is no value of the principal tag duty"),
        ('Tag("duty")', 'Tag("dutty")', "'dutty' is no principal tag"),
        ('== "chargeback"', '== "charge-back"', "'charge-back' is no purpose"),
        ('== "masked"', '== "mask"', "'mask' is no form"),
        ('data_class == "iban"', 'data_class == "ibann"', "'ibann' is no data class"),
        (
            'resource.data_class == "iban"',
            'resource.class_tags.contains("ppi")',
            "'ppi' is no class tag",
        ),
        (
            "permit (principal, action ==",
            'permit (principal == Principal::"nobody", action ==',
            "'nobody' is no principal",
        ),
        ("context.form ==", "context.shape ==", "`shape`"),
    ],
)
def test_check_finds_names_that_do_not_exist(
    directory: Path, old: str, new: str, detail: str
) -> None:
    for name in ("reveal.cedar", "intake.cedar"):
        text = (directory / name).read_text()
        (directory / name).write_text(text.replace(old, new))
    found = findings(directory)
    assert found
    assert all(file in ("reveal.cedar", "intake.cedar") for file, _, _ in found)
    assert any(detail in text for _, _, text in found), found
    assert run("check", directory).exit_code == 1


def test_check_finds_cases_that_expect_a_policy_that_is_gone(directory: Path) -> None:
    (directory / "oversight.cedar").unlink()
    rules = {(file, rule) for file, rule, _ in findings(directory)}
    assert rules == {("cases/oversight.yml", "cases"), ("cases/guardrails.yml", "cases")}


@pytest.mark.parametrize(
    ("old", "new", "detail"),
    [
        ("principal: auditor", "principal: audit", "unknown value 'audit'"),
        ("expect: allow", "expect: maybe", "unknown value 'maybe'; use one of allow, deny"),
        ("    by:", "    how: so\n    by:", "how: unknown key"),
        ("action: run_report", "action: run", "unknown value 'run'"),
        (
            "compliance-officer approves none",
            "compliance-officer runs reports",
            "given twice",
        ),
        ("form: masked", "form: year", "form: unknown value 'year'"),
        ("purpose: operations", "purpose: fun", "purpose: unknown value 'fun'"),
    ],
)
def test_check_and_test_refuse_a_wrong_case(
    directory: Path, old: str, new: str, detail: str
) -> None:
    change(directory / "cases" / "oversight.yml", old, new)
    ((_, rule, text),) = findings(directory)
    assert rule == "cases"
    assert "cases/oversight.yml: cases[" in text
    assert detail in text
    assert run("test", directory).exit_code == 2


def test_test_passes_on_the_sample_policies() -> None:
    result = run("test", POLICIES)
    assert result.exit_code == 0
    assert result.stdout.endswith(" cases, 0 differ\n")


def test_test_names_the_case_that_differs(directory: Path) -> None:
    change(directory / "reveal.cedar", 'context.purpose == "payout"', "true")
    result = run("test", directory, "--json")
    (failed,) = json.loads(result.stdout)["failed"]
    assert result.exit_code == 1
    assert failed["name"] == "payout-service sees no IBAN for another purpose"
    assert failed["expected"]["decision"] == "deny"
    assert failed["actual"] == {
        "decision": "allow",
        "policies": ["payouts-reveal-iban"],
        "errors": [],
    }
    assert (
        "expected deny by no policy; got allow by payouts-reveal-iban"
        in run("test", directory).stdout
    )


def test_no_case_is_no_success_and_untested_policies_are_named(directory: Path) -> None:
    shutil.rmtree(directory / "cases")
    result = run("test", directory)
    assert result.exit_code == 1
    assert "There is no case." in result.stdout
    assert "no case is decided by the policy disputes-reveal-pan" in result.stdout


@pytest.mark.parametrize("command", ["check", "test"])
def test_a_missing_directory_is_a_usage_error(tmp_path: Path, command: str) -> None:
    assert run(command, tmp_path / "nowhere").exit_code == 2


ASK: list[str | Path] = [
    "explain",
    "--policies",
    POLICIES,
    "--action",
    "detokenize",
    "--data-class",
    "pan",
]


def explained(*arguments: str | Path) -> dict[str, Any]:
    result = run(*ASK, *arguments, "--json")
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
    result = run(*ASK, "--principal", "payout-service", "--purpose", "payout")
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
    assert run(*ASK, *arguments).exit_code == 2


def test_the_command_module_needs_no_server_package() -> None:
    # The base install has the command line but neither Cedar nor the server.
    code = (
        "import sys, vault_service.cli.policy\n"
        "names = {'cedarpy', 'fastapi', 'sqlalchemy', 'psycopg', 'boto3'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(names)) or 0)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def decided(principal: str, action: str, *more: str) -> tuple[bool, list[str]]:
    """Whether it is allowed, and the policies that decide."""
    asked = ("--principal", principal, "--action", action, *more)
    result = run("explain", *asked, "--policies", POLICIES, "--json")
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
    result = run("explain", "--principal", "auditor", *more, "--policies", POLICIES)
    assert result.exit_code == 2
    assert text in result.output
