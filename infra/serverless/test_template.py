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
ROLES: Final = {
    name: f"arn:aws:iam::123456789012:role/{role}"  # moto's own account
    for name, role in [
        *((name, f"report-{name.replace('_', '-')}") for name in definitions()),
        ("queue_worker", "strongroom-reports-queue-worker-dev"),
    ]
}
TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
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
    for arn in ROLES.values():
        osls.client("iam").create_role(
            RoleName=arn.rpartition("/")[2], AssumeRolePolicyDocument=json.dumps(TRUST)
        )
    roles = {f"roles/{name.replace('_', '-')}": arn for name, arn in ROLES.items()}
    for name, value in (PARAMETERS | roles).items():
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


def test_a_function_has_its_own_role_and_the_stack_makes_none(resources: dict[str, Any]) -> None:
    functions = of_type(resources, "AWS::Lambda::Function")
    assert {name: functions[f"{camel(name)}LambdaFunction"]["Role"] for name in ROLES} == ROLES
    assert not [each for each in resources.values() if each["Type"].startswith("AWS::IAM::")]


def test_what_cannot_be_made_now_goes_to_the_queue(resources: dict[str, Any]) -> None:
    for name, function in of_type(resources, "AWS::Lambda::Function").items():
        url = function["Environment"]["Variables"]["STRONGROOM_REPORT_QUEUE_URL"]
        assert url == {"Ref": "ReportQueue"}, name


def test_schedules_are_those_of_the_definitions(resources: dict[str, Any]) -> None:
    rules = of_type(resources, "AWS::Events::Rule")
    assert {
        name.partition("EventsRule")[0]: rule["ScheduleExpression"] for name, rule in rules.items()
    } == {
        camel(name): definition.schedule
        for name, definition in definitions().items()
        if definition.schedule is not None
    }


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
