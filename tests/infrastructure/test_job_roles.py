"""What each report job may do, read from the production root's plan."""

from pathlib import Path
from typing import Any, Final

import pytest

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


def statements(plan: dict[str, Any], job: str) -> list[dict[str, Any]]:
    """Every statement of a job's policy, as far as the plan knows it."""
    own = "queue_worker" if job == "queue_worker" else f'report["{job}"]'
    wanted = {
        f"{IDENTITY}.data.aws_iam_policy_document.{own}",
        f'{IDENTITY}.data.aws_iam_policy_document.job["{job}"]',
    }
    documents = [each for each in plan["resource_changes"] if each["address"] in wanted]
    assert {each["address"] for each in documents} == wanted
    return [each for document in documents for each in document["change"]["after"]["statement"]]


def role(plan: dict[str, Any], job: str) -> dict[str, Any]:
    """A job's role."""
    name = "queue_worker" if job == "queue_worker" else f'report["{job}"]'
    (found,) = [
        each
        for each in plan["resource_changes"]
        if each["address"] == f"{IDENTITY}.aws_iam_role.{name}"
    ]
    after: dict[str, Any] = found["change"]["after"]
    return after


@pytest.mark.parametrize("job", JOBS)
def test_a_job_may_do_what_it_does_and_nothing_else(
    production_plan: dict[str, Any], job: str
) -> None:
    found = statements(production_plan, job)
    rest = OF_THE_WORKER if job == "queue_worker" else OF_A_REPORT
    assert {action for each in found for action in each["actions"]} == OF_ANY_JOB | rest
    for each in found:
        if set(each["actions"]) != NETWORK:
            assert "*" not in (each["resources"] or [])
        if each["actions"] == ["kms:GenerateDataKey"]:
            assert [(c["variable"], c["values"]) for c in each["condition"]] == [
                ("kms:EncryptionContext:purpose", ["strongroom/report-output"])
            ]
        if each["actions"] == ["s3:ListBucket"]:
            place = "*" if job == "queue_worker" else job
            assert [(c["variable"], c["values"]) for c in each["condition"]] == [
                ("s3:prefix", [f"outputs/{place}/*"])
            ]
        if "s3:PutObject" in each["actions"]:
            place = "*" if job == "queue_worker" else job
            assert [resource.partition("/outputs/")[2] for resource in each["resources"]] == [
                f"{place}/*"
            ]


@pytest.mark.parametrize("job", definitions())
def test_the_policies_know_a_jobs_role(production_plan: dict[str, Any], job: str) -> None:
    found = role(production_plan, job)
    assert f"role/{found['name']}" in POLICIES.read_text()
    assert found["max_session_duration"] == 3600


@pytest.mark.parametrize("job", JOBS)
def test_no_job_goes_beyond_the_boundary(production_plan: dict[str, Any], job: str) -> None:
    boundary = role(production_plan, job)["permissions_boundary"]
    assert boundary.endswith(":policy/strongroom-prod-boundary")
