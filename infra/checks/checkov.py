"""checkov over the Terraform, every suppression in checkov.yml with its reason."""

import json
from pathlib import Path
from typing import Any, Final

from infra.checks import exemptions
from infra.checks.commands import run, tool
from infra.checks.findings import CannotCheck, Finding, Outcome

SUPPRESSED: Final = Path(__file__).with_name("checkov.yml")


def check(source: Path) -> Outcome:
    """What checkov finds below ``source`` and ``checkov.yml`` does not suppress."""
    done = run(
        [
            *(tool("checkov"), "--directory", source, "--framework", "terraform"),
            *("--quiet", "--compact", "--output", "json", "--download-external-modules", "false"),
        ],
        environment={"BC_ROOT_DIR": "", "LOG_LEVEL": "ERROR"},
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise CannotCheck(f"checkov printed no report:\n{done.stdout}{done.stderr}") from None
    summary = report["summary"]
    if summary["parsing_errors"] or not summary["passed"]:
        raise CannotCheck(f"checkov could not read the Terraform: {summary}")
    found = [
        Finding(each["check_id"], each["resource"], f"{each['check_name']} ({each['file_path']})")
        for each in report["results"]["failed_checks"]
    ]
    found += [
        Finding(each["check_id"], each["resource"], "is skipped in the code; suppress it here")
        for each in report["results"].get("skipped_checks", [])
    ]
    left = exemptions.apply(found, exemptions.read(SUPPRESSED), SUPPRESSED.name)
    return Outcome(f"{summary['passed']} checks hold", left)
