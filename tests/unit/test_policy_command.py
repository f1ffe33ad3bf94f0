"""``strongroom policy``: what check finds, and what test compares."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

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


def test_the_command_module_needs_no_server_package() -> None:
    # The base install has the command line but neither Cedar nor the server.
    code = (
        "import sys, vault_service.cli.policy\n"
        "names = {'cedarpy', 'fastapi', 'sqlalchemy', 'psycopg', 'boto3'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(names)) or 0)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
