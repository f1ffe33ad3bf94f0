"""The table of flows that the network test reads is what Terraform plans, rule by rule."""

from typing import Any, Final

from tests.infrastructure.network.flows import CLIENTS, S3, declared

_RULES: Final = {
    "aws_vpc_security_group_egress_rule": "egress",
    "aws_vpc_security_group_ingress_rule": "ingress",
}


def test_the_plan_has_the_declared_flows_and_no_other(production_plan: dict[str, Any]) -> None:
    """PCI-DSS 1.2.5. Within the account a flow is a rule at either end; a client's end is not
    ours, and S3 has no group."""
    wanted: set[tuple[str, str, int, int, str]] = set()
    for name, flow in declared().flows.items():
        rule = (name, flow.port, flow.port, flow.protocol)
        if flow.source != CLIENTS:
            wanted.add(("egress", *rule))
        if flow.destination != S3:
            wanted.add(("ingress", *rule))
    planned: set[tuple[str, str, int, int, str]] = set()
    for change in production_plan["resource_changes"]:
        rule = change["change"]["after"]
        if change["type"] not in _RULES:
            assert "security_group_rule" not in change["type"], change["address"]
            continue
        name = rule["description"]
        if rule.get("cidr_ipv4"):
            name = f"{CLIENTS}_to_{name.rpartition('_to_')[2]}"
        planned.add(
            (
                *(_RULES[change["type"]], name),
                *(rule["from_port"], rule["to_port"], rule["ip_protocol"]),
            )
        )
    assert planned == wanted
