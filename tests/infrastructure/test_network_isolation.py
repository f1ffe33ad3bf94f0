"""The isolated account as hosts on one machine: what passes between them, and what does not.

Each group of ``infra/terraform``'s network is a host with a network namespace of its own, and a
router lets through what its security groups name, no more. The hosts run the real service with
its database and AWS behind endpoints; outside are a core service, a warehouse, an attacker, and
a stand-in for the internet with a DNS server and the metadata address. PCI-DSS 1.3.1, 1.3.2,
1.4.1, 1.4.4.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import pytest

from tests.infrastructure.network.caller import CARD
from tests.infrastructure.network.flows import (
    CLIENTS,
    S3,
    Flow,
    declared,
    rules_elsewhere,
)
from tests.infrastructure.network.router import METADATA
from tests.infrastructure.network.topology import DNS, Topology, topology
from tests.infrastructure.network.vault import Vault, vault

DECLARED: Final = declared()
OUTSIDE: Final = (CLIENTS, "warehouse", "attacker", "internet")
# Those that are declared, and some that an attacker would try.
PORTS: Final[Mapping[str, Sequence[int]]] = {
    "tcp": sorted({flow.port for flow in DECLARED.flows.values()} | {22, 53, 80, 2049, 3389}),
    "udp": [53, 123, 443],
    "icmp": [0],
}
WAYS_OUT: Final = (
    ("tcp", DNS, 443),
    ("tcp", DNS, 53),
    ("udp", DNS, 53),
    ("udp", DNS, 443),
    ("icmp", DNS, 0),
)


@pytest.fixture(scope="module")
def network() -> Iterator[Topology]:
    with topology([*DECLARED.groups, S3], OUTSIDE) as hosts:
        hosts.declare(DECLARED.flows.values())
        yield hosts


@pytest.fixture(scope="module")
def running(network: Topology, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with vault(network, tmp_path_factory.mktemp("vault")) as service:
        # What is not taken by the service and those around it, listens for intruders.
        for host in network.hosts.values():
            for protocol in ("tcp", "udp"):
                host.ask("listen", protocol=protocol, ports=PORTS[protocol])
        yield service


def among_outsiders() -> set[Flow]:
    return {
        Flow(source, destination, protocol, port)
        for source in OUTSIDE
        for destination in OUTSIDE
        if source != destination
        for protocol, ports in PORTS.items()
        for port in ports
    }


def test_terraform_lets_through_what_its_table_names_alone() -> None:
    """PCI-DSS 1.2.5: no rule of a security group beside the table that this test reads."""
    assert list(rules_elsewhere()) == []


def test_each_door_is_for_those_who_need_it() -> None:
    """PCI-DSS 1.4.4, 7.2.5: whatever the table says, no job reaches the database, nobody
    reaches a task but through the balancer, and the database calls nobody."""
    flows = set(DECLARED.flows.values())
    assert {f.source for f in flows if f.destination == "database"} == {"service", "operations"}
    assert {f.source for f in flows if f.destination == "service"} == {"balancer"}
    assert {f.destination for f in flows if f.source == CLIENTS} == {"entrance"}
    assert not {f for f in flows if f.source in ("database", "endpoints", S3)}
    assert {f.destination for f in flows} <= {*DECLARED.groups, S3}


def test_a_core_service_is_served_through_the_declared_flows(running: Vault) -> None:
    answer = running.call()
    assert answer["token"].startswith("tok_pan_")
    assert answer["masked"] == "411111******1111"
    assert answer["plain"] == CARD
    # Keys were made and checkpoints kept beyond the endpoints.
    assert "key_unavailable" not in running.log
    listed = running.command("doctor", "--json")
    assert listed.returncode == 0, listed.stdout


def test_only_the_declared_flows_pass(running: Vault, network: Topology) -> None:
    """Every pair of hosts, every port, with real connections."""
    wanted = {*DECLARED.flows.values(), *among_outsiders()}
    assert network.reached(PORTS) == wanted


@pytest.mark.parametrize("source", ["service", "jobs", "operations", "database", "balancer"])
def test_there_is_no_way_out(running: Vault, network: Topology, source: str) -> None:
    """By TCP, UDP, names or ICMP: the same that the attacker's own host can reach."""
    assert not any(network.hosts[source].ask("probe", attempts=WAYS_OUT))
    assert all(network.hosts["attacker"].ask("probe", attempts=WAYS_OUT))


def test_nobody_comes_in_by_another_door(running: Vault, network: Topology) -> None:
    """The warehouse and the attacker reach no host of the account, the entrance included."""
    passed = network.reached(PORTS)
    inside = set(network.inside)
    assert {
        f for f in passed if f.source in ("warehouse", "attacker") and f.destination in inside
    } == set()
    assert {f.destination for f in passed if f.source == CLIENTS and f.destination in inside} == {
        "entrance"
    }


@pytest.mark.parametrize(
    "opened",
    [
        Flow("service", "internet", "tcp", 443),
        Flow("attacker", "database", "tcp", 5432),
        Flow("warehouse", "service", "udp", 53),
    ],
)
def test_a_flow_that_is_opened_is_seen(running: Vault, network: Topology, opened: Flow) -> None:
    """The matrix is not blind: one rule more, and it shows."""
    before = network.reached(PORTS)
    try:
        network.declare([*DECLARED.flows.values(), opened])
        assert network.reached(PORTS) == before | {opened}
    finally:
        network.declare(DECLARED.flows.values())


def test_a_flow_that_is_missing_is_seen(running: Vault, network: Topology) -> None:
    gone = DECLARED.flows["service_to_database"]
    before = network.reached(PORTS)
    try:
        network.declare([flow for flow in DECLARED.flows.values() if flow != gone])
        assert network.reached(PORTS) == before - {gone}
    finally:
        network.declare(DECLARED.flows.values())


def test_the_metadata_address_is_never_contacted(running: Vault, network: Topology) -> None:
    """Not in the run so far, and not where credentials are missing. No security group
    keeps a host from that address, so the service itself must."""
    bare = running.command("doctor", "--json", credentials=False)
    assert bare.returncode == 1, bare.stdout
    assert "no AWS credentials" in bare.stdout
    assert network.router.ask("metadata_packets") == 0
    # It would have been seen.
    assert network.hosts["service"].ask("probe", attempts=[("tcp", METADATA, 80)]) == [True]
    assert network.router.ask("metadata_packets") > 0
