"""Database, containers, load balancers, secrets: as they run. PCI-DSS 2.2, 4.2, 8.3, 8.6."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from infra.checks.plan import Plan
from infra.checks.rules import Broken, rule

_PARAMETERS: Final = {
    "rds.force_ssl": ("1",),
    "log_error_verbosity": ("terse",),
    "log_min_duration_statement": ("-1",),
    "log_parameter_max_length": ("0",),
    "log_parameter_max_length_on_error": ("0",),
    "log_statement": ("none", "ddl"),
    "log_connections": ("1",),
    "log_disconnections": ("1",),
}
"""No value reaches a log: an error's detail names values, and so do logged parameters."""
_BACKUP_DAYS: Final = 35
_REPLICAS: Final = 2
_TLS: Final = ("ELBSecurityPolicy-TLS13-1-2-", "ELBSecurityPolicy-TLS13-1-3-")
_SECRET: Final = ("PASSWORD", "SECRET", "TOKEN", "PRIVATE_KEY")
_PASSWORD_IN_URL: Final = re.compile(r"://[^/@:\s]*:[^/@\s]+@")


@rule
def the_database_is_fenced(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 3.5.1.2, 8.3.2, 8.6.2
    wanted = {
        "storage_encrypted": "its disks are in clear",
        "iam_database_authentication_enabled": "its logins need passwords",
        "deletion_protection": "can be deleted by one call",
        "copy_tags_to_snapshot": "its snapshots cannot be told from others'",
        "manage_master_user_password": "its master password is in the state",
    }
    for each in plan.of("aws_rds_cluster", "aws_db_instance"):
        for name, what in wanted.items():
            if each.get(name) is not True:
                yield Broken(each, f"{what}; set {name} = true")
        if each.get("skip_final_snapshot"):
            yield Broken(each, "leaves nothing when it goes; set skip_final_snapshot = false")
        if not each.get("kms_key_id") and not each.unknown.get("kms_key_id"):
            yield Broken(each, "is encrypted with AWS's key; set kms_key_id")
        if each.get("backup_retention_period", 0) < _BACKUP_DAYS:
            yield Broken(each, f"keeps backups too briefly; {_BACKUP_DAYS} days are to be had")
        if "postgresql" not in each.get("enabled_cloudwatch_logs_exports", []):
            yield Broken(each, "its log stays on its disk; export postgresql")


@rule
def the_database_speaks_tls_and_logs_no_value(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 3.3.1, 4.2.1
    for each in plan.of("aws_rds_cluster_parameter_group", "aws_db_parameter_group"):
        found = {one["name"]: str(one["value"]) for one in each.get("parameter", [])}
        for name, values in _PARAMETERS.items():
            if found.get(name) not in values:
                yield Broken(each, f"has {name} = {found.get(name)}; set it to {values[0]}")
    for each in plan.of("aws_rds_cluster"):
        if not each.get("db_cluster_parameter_group_name"):
            yield Broken(each, "has AWS's parameters; set db_cluster_parameter_group_name")


@rule
def no_snapshot_is_shared(plan: Plan) -> Iterator[Broken]:
    for each in plan.of("aws_db_cluster_snapshot", "aws_db_snapshot"):
        if each.get("shared_accounts", []):
            yield Broken(each, "is shared with other accounts; remove shared_accounts")


@rule
def containers_are_confined(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 2.2.4, 2.2.6
    for each in plan.of("aws_ecs_task_definition"):
        text = each.get("container_definitions")
        if text is None:
            yield Broken(each, "its containers cannot be read before it is applied")
            continue
        for container in json.loads(text):
            for what in _loose(container):
                yield Broken(each, f"container {container.get('name')} {what}")


def _loose(container: Mapping[str, Any]) -> Iterator[str]:
    if container.get("readonlyRootFilesystem") is not True:
        yield "can write its root; set readonlyRootFilesystem = true"
    if str(container.get("user", "0")).partition(":")[0] in ("0", "root", ""):
        yield "runs as root; set user to a number above 999"
    if container.get("privileged"):
        yield "is privileged; set privileged = false"
    dropped = container.get("linuxParameters", {}).get("capabilities", {}).get("drop", [])
    if "ALL" not in dropped:
        yield "keeps capabilities; drop ALL"
    if "@sha256:" not in container.get("image", ""):
        yield "runs whatever its tag comes to name; pin the image by digest"
    if not container.get("logConfiguration"):
        yield "logs nowhere; set logConfiguration"
    for variable in container.get("environment", []):
        name, value = variable["name"], str(variable.get("value", ""))
        if name.endswith(_SECRET) or _PASSWORD_IN_URL.search(value):
            yield f"has a secret in clear, in {name}; hand it over under secrets"


@rule
def the_service_is_there_and_out_of_reach(plan: Plan) -> Iterator[Broken]:
    for each in plan.of("aws_ecs_service"):
        if each.get("enable_execute_command"):
            yield Broken(each, "lets people in by a shell; set enable_execute_command = false")
        breaker = each.block("deployment_circuit_breaker")
        if not (breaker.get("enable") and breaker.get("rollback")):
            yield Broken(each, "stays with a deployment that fails; set the circuit breaker")
        if each.get("desired_count", 0) < _REPLICAS:
            yield Broken(each, f"goes with one task; set desired_count to {_REPLICAS} at least")
        if each.get("deployment_minimum_healthy_percent", 0) < 100:
            yield Broken(each, "is down while it is deployed; set the minimum to 100 percent")


@rule
def balancers_speak_tls(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 4.2.1
    for each in plan.of("aws_lb_listener"):
        protocol = each.get("protocol")
        if protocol == "TCP" and _passes_on(plan, each.address):
            continue  # bytes of TLS, to the balancer where it ends
        if protocol not in ("HTTPS", "TLS"):
            yield Broken(each, f"speaks {protocol} in clear; use HTTPS")
        elif not str(each.get("ssl_policy", "")).startswith(_TLS):
            yield Broken(each, f"takes old TLS ({each.get('ssl_policy')}); use TLS13-1-2")
    for each in plan.of("aws_lb"):
        if each.get("enable_deletion_protection") is not True:
            yield Broken(each, "can be deleted by one call; set enable_deletion_protection = true")
        application = each.get("load_balancer_type", "application") == "application"
        if application and each.get("drop_invalid_header_fields") is not True:
            yield Broken(each, "passes on malformed headers; set drop_invalid_header_fields")


def _passes_on(plan: Plan, address: str) -> bool:
    for listener in plan.of("aws_lb_listener"):
        if listener.address == address:
            actions = listener.expressions.get("default_action", [{}])
            references = [
                reference
                for action in actions
                for reference in action.get("target_group_arn", {}).get("references", [])
            ]
            groups = [
                group
                for group in plan.of("aws_lb_target_group")
                if group.module == listener.module
                and f"aws_lb_target_group.{group.name}" in references
            ]
            return bool(groups) and all(group.get("target_type") == "alb" for group in groups)
    return False


@rule
def images_are_fixed_and_scanned(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 6.3.1, 11.5.2
    for each in plan.of("aws_ecr_repository"):
        if each.get("image_tag_mutability") != "IMMUTABLE":
            yield Broken(each, 'its tags can be moved; set image_tag_mutability = "IMMUTABLE"')
        if each.block("image_scanning_configuration").get("scan_on_push") is not True:
            yield Broken(each, "is not scanned; set scan_on_push = true")
        if each.get("force_delete"):
            yield Broken(each, "goes with its images; set force_delete = false")


@rule
def secrets_and_messages_have_keys_of_their_own(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 8.6.2
    keys = {
        "aws_secretsmanager_secret": "kms_key_id",
        "aws_sns_topic": "kms_master_key_id",
        "aws_sqs_queue": "kms_master_key_id",
    }
    for kind, name in keys.items():
        for each in plan.of(kind):
            if not each.get(name) and not each.unknown.get(name):
                yield Broken(each, f"is not encrypted with a key of the vault's; set {name}")
    for each in plan.of("aws_secretsmanager_secret_version"):
        yield Broken(each, "puts a secret into the state; write it by hand, or rotate it by AWS")
    for each in plan.of("aws_ssm_parameter"):
        if str(each.get("name", "")).upper().replace("-", "_").endswith(_SECRET):
            yield Broken(each, "is a secret in a parameter; keep it in Secrets Manager")


@rule
def a_vault_has_all_its_parts(plan: Plan) -> Iterator[Broken]:
    parts = (
        "aws_appautoscaling_target", "aws_cloudtrail", "aws_cloudwatch_metric_alarm",
        "aws_ecs_service", "aws_flow_log", "aws_kms_key", "aws_lb_listener", "aws_rds_cluster",
        "aws_rds_cluster_parameter_group", "aws_route53_resolver_firewall_rule_group_association",
        "aws_s3_bucket_object_lock_configuration", "aws_vpc_endpoint",
    )  # fmt: skip
    for kind in parts:
        if not plan.of(kind):
            yield Broken(kind, "there is none; what isolates the vault is not whole")
