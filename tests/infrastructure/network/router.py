"""The router between hosts: a program in a network namespace of its own.

It joins hosts by veth pairs and lets declared connections through with nf_tables, as a
security group does: by state, so that answers pass and nothing else comes back. What is not
declared is refused with an answer, so that no test needs to wait for silence. It counts every
packet to the metadata address, wherever it comes from and before any rule decides.
"""

import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.nfnetlink.nftsocket import Cmp, Meta, Regs
from pyroute2.nftables.expressions import genex, ipv4addr, verdict
from pyroute2.nftables.main import NFTables

from tests.infrastructure.network.agent import answer

METADATA: Final = "169.254.169.254"
_IPV4: Final = 2
_DROP, _ACCEPT = 0, 1
_ESTABLISHED_OR_RELATED: Final = 2 | 4
_STATE: Final = 0
_TRANSPORT_HEADER: Final = 2
_UNREACHABLE, _RESET = 0, 1
_ADMINISTRATIVELY_PROHIBITED: Final = 13
_BEFORE_THE_RULES: Final = -300
_TABLE: Final = "flows"

Expression = list[dict[str, Any]]


def link(name: str, pid: int, gateway: str) -> None:
    """A cable to the namespace of process ``pid``, ``eth0`` there, with ``gateway`` on this
    side."""
    with IPRoute() as routes:
        routes.link("add", ifname=name, kind="veth", peer={"ifname": "eth0", "net_ns_pid": pid})
        (index,) = routes.link_lookup(ifname=name)
        routes.addr("add", index=index, address=gateway, prefixlen=24)
        routes.link("set", index=index, state="up")


def route(address: str, via: str) -> None:
    """Have the host at ``via`` answer for ``address`` as well."""
    with IPRoute() as routes:
        routes.route("add", dst=f"{address}/32", gateway=via)


def start() -> None:
    """Pass packets on, at first to nobody; refusals are never held back for being many."""
    for setting, value in (("ip_forward", "1"), ("icmp_ratemask", "0")):
        Path(f"/proc/sys/net/ipv4/{setting}").write_text(value)
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    with NFTables(nfgen_family=_IPV4) as tables:
        tables.table("add", name=_TABLE)
        tables.chain(
            "add", table=_TABLE, name="seen", hook="prerouting", priority=_BEFORE_THE_RULES
        )
        tables.rule(
            "add", table=_TABLE, chain="seen", expressions=(ipv4addr(dst=METADATA), _counter())
        )
        tables.chain("add", table=_TABLE, name="forward", hook="forward", policy=_DROP)


def allow(rules: Sequence[tuple[str, str, str | None, int | None]]) -> None:
    """Let these through and refuse all else, in place of what was allowed before: from
    address, to address, protocol and port; every protocol where these two are ``None``."""
    with NFTables(nfgen_family=_IPV4) as tables:

        def add(*expressions: Expression) -> None:
            tables.rule("add", table=_TABLE, chain="forward", expressions=expressions)

        for old in list(tables.get_rules()):
            if old.get_attr("NFTA_RULE_CHAIN") == "forward":
                handle = old.get_attr("NFTA_RULE_HANDLE")
                tables.rule("del", table=_TABLE, chain="forward", handle=handle)
        add(_answers(), verdict(_ACCEPT))
        for source, destination, protocol, port in rules:
            narrowed = [] if protocol is None or port is None else _port(protocol, port)
            add(ipv4addr(src=source, dst=destination), narrowed, verdict(_ACCEPT))
        add(_protocol("tcp"), [genex("reject", {"type": _RESET, "icmp_code": 0})])
        prohibited = {"type": _UNREACHABLE, "icmp_code": _ADMINISTRATIVELY_PROHIBITED}
        add([genex("reject", prohibited)])


def metadata_packets() -> int:
    """How many packets went to the metadata address since :func:`start`."""
    with NFTables(nfgen_family=_IPV4) as tables:
        (rule,) = (r for r in tables.get_rules() if r.get_attr("NFTA_RULE_CHAIN") == "seen")
        for expression in rule.get_attr("NFTA_RULE_EXPRESSIONS"):
            if expression.get_attr("NFTA_EXPR_NAME") == "counter":
                packets: int = expression.get_attr("NFTA_EXPR_DATA").get_attr(
                    "NFTA_COUNTER_PACKETS"
                )
                return packets
    raise AssertionError("the counter of the metadata address is gone")


def _counter() -> Expression:
    return [genex("counter", {"bytes": 0, "packets": 0})]


def _answers() -> Expression:
    mask = struct.pack("=I", _ESTABLISHED_OR_RELATED)
    return [
        genex("ct", {"dreg": Regs.NFT_REG_1, "key": _STATE}),
        genex(
            "bitwise",
            {
                "sreg": Regs.NFT_REG_1,
                "dreg": Regs.NFT_REG_1,
                "len": 4,
                "mask": _data(mask),
                "xor": _data(bytes(4)),
            },
        ),
        _compare(Cmp.NFT_CMP_NEQ, bytes(4)),
    ]


def _protocol(name: str) -> Expression:
    number = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}[name]
    return [
        genex("meta", {"key": Meta.NFT_META_L4PROTO, "dreg": Regs.NFT_REG_1}),
        _compare(Cmp.NFT_CMP_EQ, bytes([number])),
    ]


def _port(protocol: str, port: int) -> Expression:
    where = {"dreg": Regs.NFT_REG_1, "base": _TRANSPORT_HEADER, "offset": 2, "len": 2}
    return [
        *_protocol(protocol),
        genex("payload", where),
        _compare(Cmp.NFT_CMP_EQ, struct.pack("!H", port)),
    ]


def _compare(operator: Cmp, value: bytes) -> dict[str, Any]:
    expression: dict[str, Any] = genex(
        "cmp", {"sreg": Regs.NFT_REG_1, "op": operator, "data": _data(value)}
    )
    return expression


def _data(value: bytes) -> dict[str, Any]:
    return {"attrs": [("NFTA_DATA_VALUE", value)]}


if __name__ == "__main__":
    answer({each.__name__: each for each in (link, route, start, allow, metadata_packets)})
