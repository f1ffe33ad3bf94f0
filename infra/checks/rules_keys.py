"""Keys: who may use them, who may manage them, and that nothing destroys them by accident.

PCI-DSS 3.6 and 3.7.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from infra.checks.plan import Plan, Policy, Resource
from infra.checks.rules import Broken, rule

VAULT_DOMAINS: Final = ("pci", "pii")
OPENER: Final = "-service"
"""What the name of the one role ends with that opens data keys."""
_DAYS: Final = 30
_USE: Final = (
    "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:Sign", "kms:CreateGrant",
)  # fmt: skip
_MANAGE: Final = ("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:UpdateAlias")
_DESTROY: Final = ("kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:DeleteImportedKeyMaterial")


def vault_keys(plan: Plan) -> list[Resource]:
    """The keys that wrap data keys: of card data and of personal data."""
    return [
        each
        for each in plan.of("aws_kms_key")
        if each.index in VAULT_DOMAINS
        or str((each.get("tags") or {}).get("Name", "")).endswith(
            tuple(f"-{domain}" for domain in VAULT_DOMAINS)
        )
    ]


def key_policies(plan: Plan) -> Mapping[str, Policy]:
    """Policies of keys, by the key's address."""
    found: dict[str, Policy] = {}
    for policy in plan.policies:
        if policy.resource.type == "aws_kms_key":
            found[policy.resource.address] = policy
        elif policy.resource.type == "aws_kms_key_policy":
            for each in plan.related(policy.resource, "key_id"):
                found[each.address] = policy
    return found


@rule
def keys_have_policies(plan: Plan) -> Iterator[Broken]:
    policies = key_policies(plan)
    for each in plan.of("aws_kms_key"):
        if each.address not in policies:
            yield Broken(each, "has AWS's own policy, which lets the account's roles do all")
        if each.get("bypass_policy_lockout_safety_check"):
            yield Broken(each, "may lock everybody out; drop bypass_policy_lockout_safety_check")


@rule
def deletion_waits_30_days(plan: Plan) -> Iterator[Broken]:
    for each in plan.of("aws_kms_key", "aws_kms_external_key", "aws_kms_replica_key"):
        if each.get("deletion_window_in_days") != _DAYS:
            yield Broken(each, f"is gone too soon; set deletion_window_in_days = {_DAYS}")


@rule
def keys_rotate(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 3.7.4. KMS rotates symmetric keys alone.
    for each in plan.of("aws_kms_key"):
        symmetric = each.get("customer_master_key_spec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT"
        if symmetric and each.get("enable_key_rotation") is not True:
            yield Broken(each, "does not rotate; set enable_key_rotation = true")


@rule
def the_log_is_signed_with_p256(plan: Plan) -> Iterator[Broken]:
    if not vault_keys(plan):
        return
    signing = [
        each
        for each in plan.of("aws_kms_key")
        if each.get("key_usage") == "SIGN_VERIFY"
        and each.get("customer_master_key_spec") == "ECC_NIST_P256"
    ]
    if not signing:
        yield Broken("aws_kms_key", "none signs the log; add one: SIGN_VERIFY, ECC_NIST_P256")


@rule
def who_manages_a_key_cannot_use_it(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 3.6.1.1, 7.2.2: separation of duties.
    for address, policy in key_policies(plan).items():
        managers: set[str] = set()
        users: set[str] = set()
        for statement in policy.statements or ():
            names = {name for _, name in statement.principals}
            if statement.allows and any(map(statement.covers, _MANAGE)):
                managers |= names
            if statement.allows and any(map(statement.covers, _USE)):
                users |= names
        for name in sorted(managers & users):
            yield Broken(address, f"{name} manages and uses it; give one of the two to another")


@rule
def only_break_glass_destroys_a_key(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 3.7.5
    for address, policy in key_policies(plan).items():
        statements = policy.statements or ()
        for each in statements:
            for action in _DESTROY:
                for _, name in each.principals if each.allows and each.covers(action) else ():
                    if not name.endswith("break-glass"):
                        yield Broken(address, f"{name} may {action}; leave it to break-glass", each)
        fences = [
            each
            for each in statements
            if not each.allows
            and ("AWS", "*") in each.principals
            and each.covers(_DESTROY[0])
            and all(
                condition.test == "ArnNotEquals"
                and condition.variable == "aws:PrincipalArn"
                and all(value.endswith("break-glass") for value in condition.values)
                for condition in each.conditions
            )
        ]
        if not fences:
            yield Broken(
                address,
                "another policy could let somebody destroy it; deny kms:ScheduleKeyDeletion to"
                " all but break-glass",
            )


@rule
def vault_keys_open_for_the_service_alone(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 3.6.1.3: as few custodians as can be.
    policies = key_policies(plan)
    for key in vault_keys(plan):
        policy = policies.get(key.address)
        for each in (policy.statements or ()) if policy else ():
            if not each.allows or not any(map(each.covers, _USE)):
                continue
            for _, name in each.principals:
                if not name.endswith(OPENER):
                    yield Broken(
                        key,
                        f"{name} may use it (kms:Decrypt and its like); only the role *{OPENER}"
                        " may: jobs and people go through /v1/detokenize",
                        each,
                    )
            variables = [condition.variable for condition in each.conditions]
            for wanted in ("kms:EncryptionContext", "aws:SourceVpce", "aws:PrincipalOrgID"):
                if not any(variable.startswith(wanted) for variable in variables):
                    yield Broken(key, f"is used without a condition on {wanted}; add it", each)


@rule
def an_account_uses_a_key_through_services_alone(plan: Plan) -> Iterator[Broken]:
    for address, policy in key_policies(plan).items():
        for each in policy.statements or ():
            roots = [name for _, name in each.principals if name.endswith(":root")]
            if each.allows and roots and not each.condition("kms:ViaService"):
                yield Broken(
                    address,
                    f"hands its rights to all of {roots[0]}; name roles, or add kms:ViaService",
                    each,
                )
