"""Roles: nobody may do more than their work needs, and jobs open nothing. PCI-DSS 7.2."""

from collections.abc import Iterator
from typing import Final

from infra.checks.plan import Plan, Policy, Resource
from infra.checks.policies import UNKNOWN
from infra.checks.rules import Broken, rule
from infra.checks.rules_keys import OPENER, vault_keys

_IDENTITY: Final = ("aws_iam_role_policy", "aws_iam_policy", "aws_iam_user_policy")
_OPENING: Final = (
    "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:CreateGrant", "rds-db:connect",
    "secretsmanager:GetSecretValue",
)  # fmt: skip
_WITHOUT_RESOURCE: Final = frozenset({
    "cloudtrail:describetrails", "cloudtrail:lookupevents",
    "ec2:createnetworkinterface", "ec2:deletenetworkinterface",
    "ec2:describenetworkinterfaces", "ec2:describesubnets", "ecr:getauthorizationtoken",
    "kms:listaliases", "kms:listkeys", "logs:describeloggroups", "logs:getqueryresults",
})  # fmt: skip
"""Actions for which AWS knows no resource, by the Service Authorization Reference."""
_TRUSTED: Final = frozenset({
    "cloudtrail.amazonaws.com", "ecs-tasks.amazonaws.com", "lambda.amazonaws.com",
    "monitoring.rds.amazonaws.com", "vpc-flow-logs.amazonaws.com",
})  # fmt: skip


@rule
def policies_are_known(plan: Plan) -> Iterator[Broken]:
    for policy in plan.policies:
        if policy.statements is None:
            yield Broken(
                policy.resource,
                f"its {policy.attribute} cannot be read before it is applied; refer to an"
                " aws_iam_policy_document of the same module, directly",
            )


@rule
def no_wildcard_action(plan: Plan) -> Iterator[Broken]:
    for policy in plan.policies:
        for each in policy.statements or ():
            for action in each.actions if each.allows else ():
                if "*" in action or "?" in action:
                    yield Broken(policy.resource, f"allows {action}; name each action", each)
            if each.allows and (each.not_actions or each.not_resources or each.not_principals):
                yield Broken(policy.resource, "allows all but what it names; name what may", each)


@rule
def no_wildcard_principal(plan: Plan) -> Iterator[Broken]:
    for policy in plan.policies:
        endpoint = policy.resource.type.startswith("aws_vpc_endpoint")
        for each in policy.statements or ():
            # An endpoint's policy is a filter: it must name "*" and narrow it by condition.
            narrowed = endpoint and (
                each.condition("aws:PrincipalOrgID") or each.condition("aws:PrincipalAccount")
            )
            if not each.allows or narrowed:
                continue
            for kind, name in each.principals:
                if name == "*" or (kind == "AWS" and "*" in name):
                    yield Broken(policy.resource, "allows everybody; name the principals", each)
                elif name == UNKNOWN:
                    yield Broken(
                        policy.resource,
                        "its principals cannot be read before it is applied; make their ARNs of"
                        " names",
                        each,
                    )
    for service in plan.of("aws_vpc_endpoint_service"):
        if any("*" in name for name in service.get("allowed_principals", [])):
            yield Broken(service, "lets everybody connect; name the accounts")
        if service.get("acceptance_required") is not True:
            yield Broken(service, "takes connections unseen; set acceptance_required = true")


@rule
def no_wildcard_resource(plan: Plan) -> Iterator[Broken]:
    boundaries = {
        each.address
        for role in plan.of("aws_iam_role")
        for each in plan.of("aws_iam_policy")
        if str(role.get("permissions_boundary", "")).endswith(f"/{each.get('name')}")
    }
    for policy in _of_identities(plan):
        if policy.resource.address in boundaries:  # a boundary grants nothing by itself
            continue
        for each in policy.statements or ():
            scoped = {action.lower() for action in each.actions} - _WITHOUT_RESOURCE
            if each.allows and "*" in each.resources and scoped:
                names = ", ".join(sorted(scoped))
                yield Broken(policy.resource, f"allows {names} on everything; name it", each)


@rule
def jobs_open_nothing(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 7.2.5: what a job reads, it asks the vault for.
    jobs = {role.get("name") for role in plan.of("aws_iam_role") if _is_job(plan, role)}
    for policy in _of_identities(plan):
        if not jobs & set(_roles(plan, policy)):
            continue
        for each in policy.statements or ():
            for action in _OPENING:
                if each.allows and each.covers(action):
                    yield Broken(
                        policy.resource,
                        f"a report job may {action}; take it away: jobs go through /v1/detokenize",
                        each,
                    )


@rule
def no_other_role_opens_vault_keys(plan: Plan) -> Iterator[Broken]:
    keys = {each.get("arn", UNKNOWN) for each in vault_keys(plan)} | {"*", UNKNOWN}
    for policy in _of_identities(plan):
        roles = _roles(plan, policy)
        if not roles or all(name.endswith(OPENER) for name in roles):
            continue
        for each in policy.statements or ():
            if each.allows and each.covers("kms:Decrypt") and _reaches(each.resources, keys):
                yield Broken(
                    policy.resource,
                    f"{', '.join(roles)} may kms:Decrypt with a vault key; only the role"
                    f" *{OPENER} may",
                    each,
                )


@rule
def every_role_has_a_boundary(plan: Plan) -> Iterator[Broken]:
    for each in plan.of("aws_iam_role"):
        if not each.get("permissions_boundary") and not each.unknown.get("permissions_boundary"):
            yield Broken(each, "has no permission boundary; set permissions_boundary")


@rule
def roles_trust_named_services(plan: Plan) -> Iterator[Broken]:
    for policy in plan.policies:
        if policy.attribute != "assume_role_policy":
            continue
        for each in policy.statements or ():
            for kind, name in each.principals if each.allows else ():
                if kind == "Service" and name not in _TRUSTED:
                    yield Broken(policy.resource, f"trusts {name}, which runs nothing here", each)
                if kind == "AWS" and name.endswith(":root"):
                    yield Broken(policy.resource, f"trusts all of {name}; name its role", each)


@rule
def no_user_and_no_access_key(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 8.2.2, 8.6.1
    for each in plan.of("aws_iam_user", "aws_iam_access_key", "aws_iam_group"):
        yield Broken(each, "is a standing credential; use a role")
    for each in plan.of("aws_iam_role_policy_attachment", "aws_iam_policy_attachment"):
        if ":aws:policy/" in str(each.get("policy_arn", "")):
            yield Broken(each, "AWS can change what this allows; write the policy out")


def _of_identities(plan: Plan) -> list[Policy]:
    return [each for each in plan.policies if each.resource.type in _IDENTITY]


def _roles(plan: Plan, policy: Policy) -> list[str]:
    """The names of the roles that a policy of an identity is on."""
    name = policy.resource.get("role")
    if name:
        return [str(name)]
    if policy.resource.type == "aws_iam_role_policy":
        return [str(each.get("name")) for each in plan.related(policy.resource, "role")]
    return [
        str(each.get("role"))
        for each in plan.of("aws_iam_role_policy_attachment")
        if policy.resource in plan.related(each, "policy_arn")
    ]


def _is_job(plan: Plan, role: Resource) -> bool:
    return any(
        "lambda.amazonaws.com" in statement.principals_of("Service")
        for policy in plan.policies
        if policy.resource.address == role.address and policy.attribute == "assume_role_policy"
        for statement in policy.statements or ()
    )


def _reaches(resources: tuple[str, ...], keys: set[str]) -> bool:
    return any(each in keys or each.endswith((":key/*", ":*")) for each in resources)
