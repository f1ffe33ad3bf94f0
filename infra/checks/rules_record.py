"""What is recorded is kept, whole, where nobody can change it, and somebody looks.

PCI-DSS 10.2 to 10.7.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from infra.checks.plan import Plan, Resource
from infra.checks.rules import Broken, rule

_DAYS: Final = 365
_ALARMS: Final = {
    "key state changes": ("ScheduleKeyDeletion",),
    "a trail that is stopped": ("StopLogging",),
    "break-glass": ("break-glass",),
    "decrypts beyond what is usual": ("Decrypt",),
    "an unsealed tail of the log": ("unsealed",),
    "failed logins": ("authentication", "login"),
    "honeytokens": ("honeytoken",),
}
"""What must raise an alarm, and words of which one is in its metric or filter."""


@rule
def buckets_lock_in_compliance_mode(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 10.3.2, 10.5.1
    locks = _beside(plan, "aws_s3_bucket_object_lock_configuration")
    for bucket in plan.of("aws_s3_bucket"):
        retention = [
            each
            for lock in locks.get(bucket.address, [])
            for rule_ in lock.get("rule", [])
            for each in rule_.get("default_retention") or []
        ]
        if bucket.get("object_lock_enabled") is not True:
            yield Broken(bucket, "has no Object Lock; set object_lock_enabled = true")
        elif [each.get("mode") for each in retention] != ["COMPLIANCE"]:
            yield Broken(
                bucket,
                "its objects can be deleted; add aws_s3_bucket_object_lock_configuration with"
                " Object Lock in COMPLIANCE mode",
            )
        if bucket.get("force_destroy"):
            yield Broken(bucket, "goes with all it keeps; set force_destroy = false")


@rule
def buckets_are_private(plan: Plan) -> Iterator[Broken]:
    blocks = _beside(plan, "aws_s3_bucket_public_access_block")
    wanted = (
        "block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets",
    )  # fmt: skip
    for bucket in plan.of("aws_s3_bucket"):
        found = blocks.get(bucket.address, [])
        if not found or not all(each.get(name) is True for each in found for name in wanted):
            yield Broken(bucket, "can be made public; block all four kinds of public access")


@rule
def buckets_keep_every_version(plan: Plan) -> Iterator[Broken]:
    versions = _beside(plan, "aws_s3_bucket_versioning")
    for bucket in plan.of("aws_s3_bucket"):
        states = [
            each.block("versioning_configuration").get("status")
            for each in versions.get(bucket.address, [])
        ]
        if states != ["Enabled"]:
            yield Broken(bucket, "forgets what is overwritten; enable versioning")


@rule
def buckets_are_encrypted_and_reached_over_tls(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 3.5.1, 4.2.1
    encryption = _beside(plan, "aws_s3_bucket_server_side_encryption_configuration")
    refusing = {
        each.address
        for policy in plan.policies
        if policy.resource.type == "aws_s3_bucket_policy"
        and any(
            not statement.allows
            and any(c.values == ("false",) for c in statement.condition("aws:SecureTransport"))
            for statement in policy.statements or ()
        )
        for each in _buckets_of(plan, policy.resource)
    }
    for bucket in plan.of("aws_s3_bucket"):
        if bucket.address not in encryption:
            yield Broken(bucket, "has no encryption of its own; add a configuration of it")
        if bucket.address not in refusing:
            yield Broken(bucket, "answers without TLS; deny where aws:SecureTransport is false")


@rule
def trails_are_whole(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 10.2.1, 10.3.4
    wanted = {
        "enable_log_file_validation": "cannot be verified",
        "is_multi_region_trail": "leaves other regions out",
        "include_global_service_events": "leaves IAM and STS out",
        "enable_logging": "records nothing",
    }
    for trail in plan.of("aws_cloudtrail"):
        for name, what in wanted.items():
            if trail.get(name) is not True:
                yield Broken(trail, f"{what}; set {name} = true")
        if not trail.get("kms_key_id") and not trail.unknown.get("kms_key_id"):
            yield Broken(trail, "is not encrypted with a key of the vault's; set kms_key_id")
        selectors = str(trail.get("advanced_event_selector", trail.get("event_selector", "")))
        if "AWS::S3::Object" not in selectors:
            yield Broken(trail, "has no data events; select those of the buckets' objects")


@rule
def logs_are_kept_a_year_and_encrypted(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 10.5.1
    for each in plan.of("aws_cloudwatch_log_group"):
        days = each.get("retention_in_days", 0)
        if days and days < _DAYS:
            yield Broken(each, f"forgets after {days} days; keep {_DAYS} at least")
        if not days:
            yield Broken(each, f"keeps for ever what may hold names; say how long, from {_DAYS}")
        if not each.get("kms_key_id") and not each.unknown.get("kms_key_id"):
            yield Broken(each, "is not encrypted with a key of the vault's; set kms_key_id")


@rule
def alarms_reach_somebody(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 10.7.2
    for each in plan.of("aws_cloudwatch_metric_alarm"):
        told = each.get("alarm_actions", []) or each.unknown.get("alarm_actions")
        if not told or each.get("actions_enabled") is False:
            yield Broken(each, "tells nobody; set alarm_actions")
    for topic in plan.of("aws_sns_topic"):
        if not plan.of("aws_sns_topic_subscription"):
            yield Broken(topic, "nobody listens; add a subscription")


@rule
def every_filter_has_its_alarm(plan: Plan) -> Iterator[Broken]:
    watched = {
        name
        for alarm in plan.of("aws_cloudwatch_metric_alarm")
        for name in (
            alarm.get("metric_name"),
            *(
                metric.get("metric_name")
                for query in alarm.get("metric_query", [])
                for metric in query.get("metric") or []
            ),
        )
    }
    for each in plan.of("aws_cloudwatch_log_metric_filter"):
        if each.block("metric_transformation").get("name") not in watched:
            yield Broken(each, "counts what nobody is told of; add an alarm on its metric")


@rule
def what_must_not_happen_raises_an_alarm(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 10.4.1, 10.7.2, 11.5.1
    if not plan.of("aws_cloudtrail"):
        return
    watched = " ".join(
        f"{each.get('pattern', '')} {each.get('name', '')} {each.get('metric_name', '')}"
        for each in plan.of("aws_cloudwatch_log_metric_filter", "aws_cloudwatch_metric_alarm")
    )
    for what, words in _ALARMS.items():
        if not any(word.lower() in watched.lower() for word in words):
            yield Broken("aws_cloudwatch_metric_alarm", f"none for {what}; add one")


def _beside(plan: Plan, kind: str) -> Mapping[str, list[Resource]]:
    """What of a type is configured for each bucket, by the bucket's address."""
    found: dict[str, list[Resource]] = {}
    for each in plan.of(kind):
        for bucket in _buckets_of(plan, each):
            found.setdefault(bucket.address, []).append(each)
    return found


def _buckets_of(plan: Plan, resource: Resource) -> list[Resource]:
    """The buckets that a resource names, or refers to, through others of its kind too."""
    buckets = plan.of("aws_s3_bucket")
    name = resource.get("bucket")
    if name:
        return [each for each in buckets if each.get("bucket") == name]
    found: list[Resource] = []
    for each in plan.related(resource, "bucket"):
        found += [each] if each.type == "aws_s3_bucket" else _buckets_of(plan, each)
    return found
