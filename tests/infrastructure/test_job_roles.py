"""What each report job may do, read from the production root's plan."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from infra.checks.plan import Plan, Resource
from infra.checks.policies import Condition, Statement
from reporting_jobs.definitions import definitions

IDENTITY: Final = "module.vault.module.identity"
JOBS: Final = (*definitions(), "queue_worker")
POLICIES: Final = Path(__file__).parents[2] / "policies" / "principals.yml"
NETWORK: Final = {
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
}
OF_ANY_JOB: Final = NETWORK | {
    "kms:GenerateDataKey",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "s3:AbortMultipartUpload",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:PutObject",
    "s3:PutObjectRetention",
}
OF_A_REPORT: Final = {"sqs:SendMessage"}
OF_THE_WORKER: Final = {
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
    "sts:AssumeRole",
}


def address(kind: str, job: str) -> str:
    name = "queue_worker" if job == "queue_worker" else f'report["{job}"]'
    return f"{IDENTITY}.{kind}.{name}"


def statements(plan: dict[str, Any], job: str) -> Sequence[Statement]:
    """Every statement of a job's policy."""
    wanted = address("aws_iam_role_policy", job)
    (policy,) = [each for each in Plan(plan).policies if each.resource.address == wanted]
    assert policy.statements
    return policy.statements


def role(plan: dict[str, Any], job: str) -> Resource:
    """A job's role."""
    wanted = address("aws_iam_role", job)
    (found,) = [each for each in Plan(plan).of("aws_iam_role") if each.address == wanted]
    return found


@pytest.mark.parametrize("job", JOBS)
def test_a_job_may_do_what_it_does_and_nothing_else(
    production_plan: dict[str, Any], job: str
) -> None:
    found = statements(production_plan, job)
    rest = OF_THE_WORKER if job == "queue_worker" else OF_A_REPORT
    assert {action for each in found for action in each.actions} == OF_ANY_JOB | rest
    for each in found:
        assert each.allows
        if set(each.actions) != NETWORK:
            assert "*" not in each.resources
        if each.actions == ("kms:GenerateDataKey",):
            assert each.conditions == (
                Condition(
                    "StringEquals",
                    "kms:EncryptionContext:purpose",
                    ("strongroom/report-output",),
                ),
            )
        place = "*" if job == "queue_worker" else job
        if each.actions == ("s3:ListBucket",):
            assert each.conditions == (
                Condition("StringLike", "s3:prefix", (f"outputs/{place}/*",)),
            )
        if "s3:PutObject" in each.actions:
            assert [resource.partition("/outputs/")[2] for resource in each.resources] == [
                f"{place}/*"
            ]


@pytest.mark.parametrize("job", definitions())
def test_the_policies_know_a_jobs_role(production_plan: dict[str, Any], job: str) -> None:
    found = role(production_plan, job)
    assert f"role/{found.get('name')}" in POLICIES.read_text()
    assert found.get("max_session_duration") == 3600


@pytest.mark.parametrize("job", JOBS)
def test_no_job_goes_beyond_the_boundary(production_plan: dict[str, Any], job: str) -> None:
    boundary = role(production_plan, job).get("permissions_boundary")
    assert boundary.endswith(":policy/strongroom-prod-boundary")
