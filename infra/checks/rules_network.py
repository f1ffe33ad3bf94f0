"""The network has no way out, and no flow that is not named. PCI-DSS 1.2 to 1.4."""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any, Final

from infra.checks.plan import Plan, Resource
from infra.checks.rules import Broken, rule

_GATEWAYS: Final = (
    "aws_internet_gateway", "aws_egress_only_internet_gateway", "aws_nat_gateway",
    "aws_nat_instance", "aws_eip", "aws_vpn_gateway", "aws_vpn_connection", "aws_dx_gateway",
    "aws_customer_gateway",
    "aws_ec2_transit_gateway_vpc_attachment", "aws_vpc_peering_connection",
)  # fmt: skip
_RULES: Final = (
    "aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule",
    "aws_security_group_rule",
)  # fmt: skip
_GROUPS: Final = ("aws_security_group", "aws_default_security_group")
_ENDPOINTS: Final = ("kms", "s3", "sqs", "sts", "secretsmanager", "logs", "ecr.api", "ecr.dkr")


@rule
def no_gateway(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 1.4.1, 1.4.4
    for each in plan.of(*_GATEWAYS):
        yield Broken(each, f"{each.type} leads out of the vault's network; remove it")


@rule
def no_route_out(plan: Plan) -> Iterator[Broken]:
    for each in plan.of("aws_route"):
        yield Broken(each, "the vault needs no route beside those of its endpoints; remove it")
    for each in plan.of("aws_route_table", "aws_default_route_table"):
        for route in each.get("route", []):
            cidr = route.get("cidr_block") or route.get("ipv6_cidr_block") or "?"
            yield Broken(each, f"has a route to {cidr}; remove it: endpoints bring their own")


@rule
def no_public_subnet(plan: Plan) -> Iterator[Broken]:
    for each in plan.of("aws_subnet", "aws_default_subnet"):
        if each.get("map_public_ip_on_launch") or each.get("assign_ipv6_address_on_creation"):
            yield Broken(each, "gives out public addresses; set map_public_ip_on_launch = false")


@rule
def no_public_address(plan: Plan) -> Iterator[Broken]:
    for each in plan.of("aws_lb"):
        if each.get("internal") is not True:
            yield Broken(each, "faces the internet; set internal = true")
    for each in plan.of("aws_rds_cluster_instance", "aws_db_instance"):
        if each.get("publicly_accessible"):
            yield Broken(each, "has a public address; set publicly_accessible = false")
    for each in plan.of("aws_ecs_service"):
        if each.block("network_configuration").get("assign_public_ip") is not False:
            yield Broken(each, "its tasks get public addresses; set assign_public_ip = false")


@rule
def vpc_blocks_public_access(plan: Plan) -> Iterator[Broken]:
    modes = [
        each.get("internet_gateway_block_mode")
        for each in plan.of("aws_vpc_block_public_access_options")
    ]
    for each in plan.of("aws_vpc"):
        if modes != ["block-bidirectional"]:
            yield Broken(
                each,
                "nothing refuses a gateway that is attached later; add"
                " aws_vpc_block_public_access_options with block-bidirectional",
            )


@rule
def no_open_security_group(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 1.3.1, 1.3.2
    for each, flow in _flows(plan):
        for network in _networks(flow):
            if not _private(network):
                yield Broken(each, f"is open to {network}; name the group or the private network")
        if str(flow.get("ip_protocol", flow.get("protocol"))) in ("-1", "all"):
            yield Broken(each, "lets every protocol pass; name the protocol and its port")


@rule
def every_flow_has_a_name(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 1.2.5
    for each in plan.of(*_RULES):
        if not each.get("description"):
            yield Broken(each, "has no description; say which flow it is")
    for each in plan.of(*_GROUPS):
        if each.get("ingress", []) or each.get("egress", []):
            yield Broken(each, "has rules of its own; make each a resource with a description")


@rule
def default_group_is_closed(plan: Plan) -> Iterator[Broken]:
    vpcs = plan.of("aws_vpc")
    if vpcs and len(plan.of("aws_default_security_group")) < len(vpcs):
        yield Broken(vpcs[0], "its default group lets all pass; add aws_default_security_group")


@rule
def every_service_has_its_endpoint(plan: Plan) -> Iterator[Broken]:
    names = [str(each.get("service_name", "")) for each in plan.of("aws_vpc_endpoint")]
    for each in plan.of("aws_vpc"):
        for service in _ENDPOINTS:
            if not any(name.endswith(f".{service}") for name in names):
                yield Broken(each, f"has no endpoint of {service}; add aws_vpc_endpoint")


@rule
def endpoints_have_policies(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 7.2.1
    policies = {policy.resource.address: policy for policy in plan.policies}
    for each in plan.of("aws_vpc_endpoint"):
        policy = policies.get(each.address)
        if policy is None:
            yield Broken(each, "lets whoever reaches it do everything; give it a policy")
            continue
        for statement in policy.statements or ():
            if statement.allows and not (
                statement.condition("aws:PrincipalAccount")
                or statement.condition("aws:PrincipalOrgID")
            ):
                yield Broken(
                    each,
                    "serves other organizations; add a condition on aws:PrincipalOrgID",
                    statement,
                )
        if each.get("vpc_endpoint_type") == "Interface" and not each.get("private_dns_enabled"):
            yield Broken(each, "is not used by the SDKs; set private_dns_enabled = true")


@rule
def every_network_has_flow_logs(plan: Plan) -> Iterator[Broken]:
    # PCI-DSS 10.2.1
    logs = plan.of("aws_flow_log")
    for each in plan.of("aws_vpc"):
        if not logs:
            yield Broken(each, "has no flow log; add aws_flow_log")
    for each in logs:
        if each.get("traffic_type") != "ALL":
            yield Broken(each, 'leaves flows out; set traffic_type = "ALL"')


@rule
def dns_answers_for_named_hosts_alone(plan: Plan) -> Iterator[Broken]:
    rules = plan.of("aws_route53_resolver_firewall_rule")
    associations = plan.of("aws_route53_resolver_firewall_rule_group_association")
    for each in plan.of("aws_vpc"):
        if not rules or not associations:
            yield Broken(each, "data can leave in DNS queries; add a DNS firewall rule group")
    if not rules:
        return
    last = max(rules, key=lambda each: each.get("priority", 0))
    domains = {domain for each in plan.related(last, "firewall_domain_list_id")
               for domain in each.get("domains", [])}  # fmt: skip
    if last.get("action") != "BLOCK" or domains != {"*"}:
        yield Broken(last, "is the last rule and does not block every other name; have it block *")
    for each in plan.of("aws_route53_resolver_firewall_config"):
        if each.get("firewall_fail_open") != "DISABLED":
            yield Broken(each, 'answers without the firewall; set firewall_fail_open = "DISABLED"')


def _flows(plan: Plan) -> Iterator[tuple[Resource, Mapping[str, Any]]]:
    for each in plan.of(*_RULES):
        yield each, each.values
    for each in plan.of(*_GROUPS):
        for flow in [*each.get("ingress", []), *each.get("egress", [])]:
            yield each, flow


def _networks(flow: Mapping[str, Any]) -> list[str]:
    found = [flow.get("cidr_ipv4"), flow.get("cidr_ipv6")]
    found += [*(flow.get("cidr_blocks") or []), *(flow.get("ipv6_cidr_blocks") or [])]
    return [network for network in found if network]


def _private(text: str) -> bool:
    network = ipaddress.ip_network(text, strict=False)
    return network.prefixlen > 0 and network.is_private
