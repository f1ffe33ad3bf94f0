"""Must show: from zero, everything that moto plays; a second apply changes nothing."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boto3.session import Session
from moto.server import ThreadedMotoServer

from reporting_jobs.definitions import definitions
from tests.infrastructure.applied import GAPS, MISSING, Applied, by_address, changed, managed
from tests.infrastructure.terraform import copied
from vault_service.domain.catalog import Domain
from vault_service.domain.errors import ConfigurationError
from vault_service.production import refuse_unsafe
from vault_service.settings import load

ACCOUNT = "111122223333"
AUDIT_ACCOUNT = "444455556666"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def applied(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Applied:
    applied = Applied(copied(tmp_path_factory.mktemp("applied")), endpoint)
    applied.apply()
    return applied


@pytest.fixture(scope="module")
def second(applied: Applied) -> tuple[bool, dict[str, Any]]:
    return applied.plan_again()


def client(endpoint: str, service: str, account: str) -> Any:
    credentials = (
        Session("test", "test", region_name="eu-west-1")
        .client("sts", endpoint_url=endpoint)
        .assume_role(RoleArn=f"arn:aws:iam::{account}:role/terraform", RoleSessionName="test")
    )
    session = Session(
        credentials["Credentials"]["AccessKeyId"],
        credentials["Credentials"]["SecretAccessKey"],
        credentials["Credentials"]["SessionToken"],
        region_name="eu-west-1",
    )
    return session.client(service, endpoint_url=endpoint)


def test_everything_that_moto_plays_is_made(applied: Applied) -> None:
    wanted = {each["address"]: each["type"] for each in managed(applied.first_plan)}
    played = {address for address, kind in wanted.items() if kind not in MISSING}
    assert played == set(applied.state())
    # Nothing is on the list of gaps that is not planned at all.
    assert set(wanted.values()) >= MISSING


def test_a_second_apply_changes_nothing(second: tuple[bool, dict[str, Any]]) -> None:
    again, plan = second
    assert not again, changed(plan)


def test_a_changed_network_is_a_changed_rule_and_nothing_else(applied: Applied) -> None:
    again, plan = applied.plan_again(
        "-refresh=false", '-var=client_networks={"core":"10.9.0.0/16"}'
    )
    assert again
    assert changed(plan) == {
        'module.vault.module.network.aws_vpc_security_group_ingress_rule.client["core"]'
    }


@pytest.mark.parametrize(
    ("module", "resource", "attribute"),
    [
        (module, resource, attribute)
        for module, resources in GAPS["forgotten"].items()
        for resource, attributes in resources.items()
        for attribute in attributes
    ],
)
def test_what_moto_is_said_to_forget_it_forgets(
    applied: Applied,
    second: tuple[bool, dict[str, Any]],
    module: str,
    resource: str,
    attribute: str,
) -> None:
    told = by_address(second[1]["prior_state"])
    planned = {
        each["address"]: each["change"]["after"].get(attribute)
        for each in managed(applied.first_plan)
        if each["address"].startswith(f"module.vault.module.{module}.{resource}")
    }
    assert planned
    assert any(told[address]["values"][attribute] != value for address, value in planned.items())


def test_checkpoints_are_locked_in_the_audit_account(applied: Applied, endpoint: str) -> None:
    s3 = client(endpoint, "s3", AUDIT_ACCOUNT)
    for kind in ("checkpoints", "trail"):
        bucket = f"strongroom-test-{kind}-{AUDIT_ACCOUNT}"
        lock = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
        assert lock["ObjectLockEnabled"] == "Enabled"
        retention = lock["Rule"]["DefaultRetention"]
        assert (retention["Mode"], retention["Days"]) == ("COMPLIANCE", 1)
    here = {each["Name"] for each in client(endpoint, "s3", ACCOUNT).list_buckets()["Buckets"]}
    assert here == {f"strongroom-test-reports-{ACCOUNT}"}


def test_serverless_finds_its_parameters(applied: Applied, endpoint: str) -> None:
    ssm = client(endpoint, "ssm", ACCOUNT)
    pages = ssm.get_paginator("get_parameters_by_path").paginate(
        Path="/strongroom/test/reports", Recursive=True
    )
    found = {
        each["Name"].removeprefix("/strongroom/test/reports/"): each["Value"]
        for page in pages
        for each in page["Parameters"]
    }
    here = f"arn:aws:iam::{ACCOUNT}:role"
    reports = [name.replace("_", "-") for name in definitions()]
    roles = {f"roles/{name}": f"{here}/report-{name}" for name in reports}
    roles["roles/queue-worker"] = f"{here}/strongroom-reports-queue-worker-test"
    assert {name: arn for name, arn in found.items() if name.startswith("roles/")} == roles
    assert set(found) - set(roles) == {
        "alarm-topic-arn",
        "audience",
        "bucket",
        "log-key",
        "recipient-key-arn",
        "security-group",
        "subnet-a",
        "subnet-b",
        "vault-url",
    }


def environment(applied: Applied, family: str, certificate: Path) -> dict[str, str]:
    """What a task's container of the same name is given, as production gives it."""
    task = applied.state()[f"module.vault.module.service.aws_ecs_task_definition.{family}"]
    (container,) = [
        each
        for each in json.loads(task["values"]["container_definitions"])
        if each["name"] == family
    ]
    assert "secrets" not in container
    given = {each["name"]: each["value"] for each in container["environment"]}
    bundle = "/etc/strongroom/rds-global-bundle.pem"
    return {name: value.replace(bundle, str(certificate)) for name, value in given.items()} | {
        "STRONGROOM_ENV": "prod"
    }


def test_the_service_starts_on_what_its_task_is_given(applied: Applied, tmp_path: Path) -> None:
    certificate = tmp_path / "bundle.pem"
    certificate.touch()
    given = environment(applied, "service", certificate)
    settings = load(given)
    refuse_unsafe(settings)
    assert settings.database_password_from == settings.sealer_database_password_from == "iam"
    assert settings.audit_anchor == f"s3://strongroom-test-checkpoints-{AUDIT_ACCOUNT}/checkpoints"
    assert settings.kms_key_arns[Domain.PCI] != settings.kms_key_arns[Domain.PII]
    load(environment(applied, "operations", certificate), database_alone=True)
    # One without its encryption is refused: the check above is not idle.
    given["STRONGROOM_DATABASE_URL"] = given["STRONGROOM_DATABASE_URL"].replace("-full", "-ca")
    with pytest.raises(ConfigurationError, match="database-tls"):
        load(given)


def test_logins_are_those_that_the_script_makes(applied: Applied) -> None:
    script = (Path(__file__).parents[2] / "infra" / "sql" / "roles.sql").read_text()
    policies = [
        json.loads(each["values"]["policy"])
        for each in applied.state().values()
        if each["type"] == "aws_iam_role_policy"
    ]
    logins = {
        resource.rpartition("/")[2]
        for policy in policies
        for statement in policy["Statement"]
        if "rds-db:connect" in statement["Action"]
        for resource in (
            [statement["Resource"]]
            if isinstance(statement["Resource"], str)
            else statement["Resource"]
        )
    }
    assert logins == set(re.findall(r"CREATE ROLE (\w+) LOGIN", script))


def test_nothing_is_left_when_it_is_taken_away(applied: Applied, endpoint: str) -> None:
    applied.destroy()
    assert applied.state() == {}
    assert client(endpoint, "s3", AUDIT_ACCOUNT).list_buckets()["Buckets"] == []
    keys = client(endpoint, "kms", ACCOUNT)
    states = [
        keys.describe_key(KeyId=each["KeyId"])["KeyMetadata"]["KeyState"]
        for each in keys.list_keys()["Keys"]
    ]
    assert set(states) == {"PendingDeletion"}
