"""Hosts and the router between them, as a test handles them.

Each host is a process with a network namespace of its own. Nothing of it outlives the test:
the programs end with their standard input, and a namespace with its last process. Root is
needed, since only root may join namespaces.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.infrastructure.network.flows import Flow
from tests.infrastructure.network.router import METADATA

ROOT: Final = Path(__file__).parents[3]
DNS: Final = "203.0.113.53"
"""A server of the internet that attackers like to send data to."""
_PACKAGE: Final = "tests.infrastructure.network"


class Agent:
    """One of the programs ``host`` and ``router``, in a namespace of its own."""

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-m", f"{_PACKAGE}.{program}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # Before that, the process may still be in the namespace that it comes from.
        assert self._answer(program) == "ready"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def inside(self) -> list[str]:
        """What to put before a command line, so that it runs in this namespace."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--"]

    def ask(self, command: str, **arguments: Any) -> Any:
        """What the program's ``command`` returns."""
        assert self._process.stdin is not None
        request = {"command": command, "arguments": arguments}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer(command)

    def _answer(self, command: str) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"{command} failed; its error stands above"
        return json.loads(line)["result"]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


class Topology:
    """Hosts by name, each in a subnet of its own, and the router that joins them.

    ``inside`` are those of the isolated account; among the others, everything passes, since
    what lies outside is nobody's to filter. ``internet`` has the address of a DNS server and
    of the metadata service, which no security group filters.
    """

    def __init__(self, inside: Collection[str], outside: Collection[str]) -> None:
        if os.geteuid() != 0:
            raise PermissionError(
                "the network test makes network namespaces, which takes root: run"
                " `make infra-check` as root, in a container with CAP_NET_ADMIN and CAP_SYS_ADMIN"
            )
        self.inside = tuple(inside)
        self.outside = tuple(outside)
        self.router = Agent("router")
        self.hosts: dict[str, Agent] = {}
        self.addresses: dict[str, str] = {}

    def start(self) -> None:
        """Have the hosts and their cables; no packet passes yet."""
        self.router.ask("start")
        for number, name in enumerate((*self.inside, *self.outside), start=1):
            host = self.hosts[name] = Agent("host")
            self.addresses[name] = f"10.77.{number}.2"
            gateway = f"10.77.{number}.1"
            more = [DNS, METADATA] if name == "internet" else []
            self.router.ask("link", name=f"r{number}", pid=host.pid, gateway=gateway)
            host.ask("wire", address=self.addresses[name], gateway=gateway, more=more)
        for address in (DNS, METADATA):
            self.router.ask("route", address=address, via=self.addresses["internet"])

    def declare(self, flows: Collection[Flow]) -> None:
        """Let these flows through, and what passes between hosts outside; nothing else."""
        at = self.addresses
        rules: list[tuple[str, str, str | None, int | None]] = [
            (at[f.source], at[f.destination], f.protocol, f.port) for f in flows
        ]
        for source in self.outside:
            rules += [(at[source], at[other], None, None) for other in self.outside]
            rules.append((at[source], DNS, None, None))
        rules += [(address, METADATA, None, None) for address in at.values()]
        self.router.ask("allow", rules=rules)

    def reached(self, ports: Mapping[str, Sequence[int]]) -> set[Flow]:
        """Every flow that passes, of all pairs of hosts and these ports by protocol."""
        found: set[Flow] = set()
        for source, host in self.hosts.items():
            wanted = [
                Flow(source, destination, protocol, port)
                for destination in self.hosts
                if destination != source
                for protocol, numbers in ports.items()
                for port in numbers
            ]
            attempts = [(f.protocol, self.addresses[f.destination], f.port) for f in wanted]
            answers = host.ask("probe", attempts=attempts)
            found |= {flow for flow, passed in zip(wanted, answers, strict=True) if passed}
        return found

    def close(self) -> None:
        with contextlib.ExitStack() as closing:
            for agent in (self.router, *self.hosts.values()):
                closing.callback(agent.close)


@contextlib.contextmanager
def topology(inside: Collection[str], outside: Collection[str]) -> Iterator[Topology]:
    """Hosts that are joined until the block ends."""
    network = Topology(inside, outside)
    try:
        network.start()
        yield network
    finally:
        network.close()
