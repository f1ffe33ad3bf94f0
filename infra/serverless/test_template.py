"""What each function may do, read from the template that osls makes; and that it deploys.

Run by ``make infra-check``, after ``make package`` and ``npm ci``: these need Node.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import artefact
import pytest
from boto3.session import Session
from moto.server import ThreadedMotoServer

from reporting_jobs import handlers
from reporting_jobs.definitions import definitions

HERE: Final = Path(__file__).parent
RECIPIENT: Final = "arn:aws:kms:eu-west-1:111122223333:key/12345678-1234-1234-1234-123456789012"
PARAMETERS: Final = {
    "vault-url": "https://vault.example",
    "audience": "strongroom",
    "log-key": "vault.example+00000000+AA==",
    "bucket": "strongroom-reports",
    "recipient-key-arn": RECIPIENT,
    "alarm-topic-arn": "arn:aws:sns:eu-west-1:111122223333:alarms",
    "security-group": "sg-0123456789abcdef0",
    "subnet-a": "subnet-0123456789abcdef0",
    "subnet-b": "subnet-0123456789abcdef1",
}
NETWORK: Final = {
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
}
OF_ANY_JOB: Final = NETWORK | {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "s3:PutObject",
    "s3:PutObjectRetention",
    "s3:AbortMultipartUpload",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucket",
    "s3:GetObject",
    "kms:GenerateDataKey",
}
OF_THE_WORKER: Final = OF_ANY_JOB | {
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:SendMessage",
    "sts:AssumeRole",
}


class Osls:
    """Runs osls against AWS as moto plays it."""

    def __init__(self, url: str) -> None:
        self.environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-west-1",
            "SLS_TELEMETRY_DISABLED": "1",
        }
        self.session = Session("test", "test", region_name="eu-west-1")
        self.url = url

    def client(self, service: str) -> Any:
        return self.session.client(service, endpoint_url=self.url)

    def run(self, *arguments: str) -> None:
        done = subprocess.run(
            [HERE / "node_modules" / ".bin" / "osls", *arguments],
            cwd=HERE,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def osls() -> Iterator[Osls]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    osls = Osls(f"http://{host}:{port}")
    for name, value in PARAMETERS.items():
        osls.client("ssm").put_parameter(
            Name=f"/strongroom/dev/reports/{name}", Value=value, Type="String"
        )
    yield osls
    server.stop()


@pytest.fixture(scope="module")
def resources(osls: Osls) -> dict[str, Any]:
    osls.run("package", "--stage", "dev")
    template = json.loads(path().read_text())
    found: dict[str, Any] = template["Resources"]
    return found


def path() -> Path:
    return HERE / ".serverless" / "cloudformation-template-update-stack.json"


def of_type(resources: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in resources.items()
        if resource["Type"] == kind
    }


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def statements(role: dict[str, Any]) -> list[dict[str, Any]]:
    assert "ManagedPolicyArns" not in role
    return [each for policy in role["Policies"] for each in policy["PolicyDocument"]["Statement"]]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def actions(role: dict[str, Any]) -> set[str]:
    return {action for each in statements(role) for action in as_list(each["Action"])}


def test_there_is_a_function_for_each_report_and_one_for_the_queue(
    resources: dict[str, Any],
) -> None:
    functions = of_type(resources, "AWS::Lambda::Function")
    names = [*definitions(), "queue_worker"]
    assert {each["Handler"] for each in functions.values()} == {
        f"reporting_jobs.handlers.{name}" for name in names
    }
    assert all(callable(getattr(handlers, name)) for name in names)
    for function in functions.values():
        assert function["Architectures"] == ["arm64"]
        assert function["Runtime"] == f"python{artefact.PYTHON}"
        assert function["Timeout"] == 900
        assert function["ReservedConcurrentExecutions"] > 0
        assert function["VpcConfig"]["SecurityGroupIds"] == [PARAMETERS["security-group"]]
        assert "STRONGROOM_TOKEN" not in function["Environment"]["Variables"]


@pytest.mark.parametrize("name", [*definitions(), "queue_worker"])
def test_a_role_may_do_what_its_function_does_and_nothing_else(
    resources: dict[str, Any], name: str
) -> None:
    function = of_type(resources, "AWS::Lambda::Function")[f"{camel(name)}LambdaFunction"]
    assert function["Role"] == {"Fn::Sub": f"${{{camel(name)}Role.Arn}}"}
    role = of_type(resources, "AWS::IAM::Role")[f"{camel(name)}Role"]
    allowed = OF_THE_WORKER if name == "queue_worker" else OF_ANY_JOB | {"sqs:SendMessage"}
    assert actions(role) == allowed
    for each in statements(role):
        assert each["Effect"] == "Allow"
        if set(as_list(each["Action"])) != NETWORK:
            assert "*" not in as_list(each["Resource"])
        if each["Action"] == "kms:GenerateDataKey":
            assert each["Resource"] == RECIPIENT
            assert each["Condition"]["StringEquals"] == {
                "kms:EncryptionContext:purpose": "strongroom/report-output"
            }
        if "s3:PutObject" in as_list(each["Action"]):
            place = each["Resource"]["Fn::Sub"].partition("/outputs/")[2]
            assert place == ("*/*" if name == "queue_worker" else f"{name}/*")
        if each["Action"] == "s3:ListBucket":
            place = "*" if name == "queue_worker" else name
            assert each["Condition"] == {"StringLike": {"s3:prefix": f"outputs/{place}/*"}}


def test_reports_that_split_put_their_parts_on_the_queue_and_no_others(
    resources: dict[str, Any],
) -> None:
    queue = {"Fn::GetAtt": ["ReportQueue", "Arn"]}
    senders, told = set(), set()
    for name in [*definitions(), "queue_worker"]:
        role = of_type(resources, "AWS::IAM::Role")[f"{camel(name)}Role"]
        if any(
            "sqs:SendMessage" in as_list(each["Action"]) and queue in as_list(each["Resource"])
            for each in statements(role)
        ):
            senders.add(name)
        function = of_type(resources, "AWS::Lambda::Function")[f"{camel(name)}LambdaFunction"]
        url = function["Environment"]["Variables"].get("STRONGROOM_REPORT_QUEUE_URL")
        if url == {"Ref": "ReportQueue"}:
            told.add(name)
    split = {name for name, found in definitions().items() if found.split is not None}
    assert senders == told == split | {"queue_worker"}


def test_no_role_decrypts_deletes_or_is_taken_on_by_others(resources: dict[str, Any]) -> None:
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        assert not [
            action
            for action in actions(role)
            if action.endswith("*") or "Decrypt" in action or action.startswith("s3:Delete")
        ]
        trusted = role["AssumeRolePolicyDocument"]["Statement"]
        assert trusted[0]["Principal"] == {"Service": "lambda.amazonaws.com"}
        worker = {"AWS": {"Fn::GetAtt": ["QueueWorkerRole", "Arn"]}}
        rest = [] if name == "QueueWorkerRole" else [worker]
        assert [each["Principal"] for each in trusted[1:]] == rest


def test_schedules_are_those_of_the_definitions(resources: dict[str, Any]) -> None:
    rules = of_type(resources, "AWS::Events::Rule")
    assert {
        name.partition("EventsRule")[0]: rule["ScheduleExpression"] for name, rule in rules.items()
    } == {
        camel(name): definition.schedule
        for name, definition in definitions().items()
        if definition.schedule is not None
    }


def test_roles_are_those_that_the_policies_know(resources: dict[str, Any]) -> None:
    known = (HERE.parents[1] / "policies" / "principals.yml").read_text()
    for name in definitions():
        role = of_type(resources, "AWS::IAM::Role")[f"{camel(name)}Role"]["RoleName"]
        assert f"role/{role}" in known


def test_messages_are_redriven_and_watched(resources: dict[str, Any]) -> None:
    queues = of_type(resources, "AWS::SQS::Queue")
    assert queues["ReportQueue"]["VisibilityTimeout"] > 900
    redrive = queues["ReportQueue"]["RedrivePolicy"]
    assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": ["ReportDeadLetters", "Arn"]}
    (function,) = [
        each
        for each in of_type(resources, "AWS::Lambda::Function").values()
        if each["Handler"].endswith("queue_worker")
    ]
    receives = function["Environment"]["Variables"]["STRONGROOM_REPORT_RECEIVES"]
    assert str(redrive["maxReceiveCount"]) == receives
    (mapping,) = of_type(resources, "AWS::Lambda::EventSourceMapping").values()
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    alarms = of_type(resources, "AWS::CloudWatch::Alarm")
    assert len(alarms) == len(definitions()) + 3
    assert all(alarm["AlarmActions"] for alarm in alarms.values())
    for group in of_type(resources, "AWS::Logs::LogGroup").values():
        assert group["RetentionInDays"] == 400  # PCI-DSS 10.5.1


def test_the_template_has_no_finding(resources: dict[str, Any]) -> None:
    command = [str(Path(sys.executable).parent / "cfn-lint"), str(path())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning")  # what moto does not play
def test_it_deploys(osls: Osls) -> None:
    osls.run("deploy", "--stage", "dev")
    stack = osls.client("cloudformation").describe_stacks(StackName="strongroom-reports-dev")
    assert stack["Stacks"][0]["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    assert len(osls.client("lambda").list_functions()["Functions"]) == len(definitions()) + 1


def test_a_library_for_another_machine_is_found(tmp_path: Path) -> None:
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00"
    (tmp_path / "right.so").write_bytes(head + artefact.AARCH64.to_bytes(2, "little"))
    (tmp_path / "wrong.so").write_bytes(head + (62).to_bytes(2, "little"))
    (tmp_path / "mac.so").write_bytes(b"\xcf\xfa\xed\xfe" + bytes(20))
    assert {path.name for path in artefact.foreign(tmp_path)} == {"wrong.so", "mac.so"}
