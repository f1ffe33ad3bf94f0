"""One host: a program that holds a network namespace of its own and acts in it.

Until the router has joined it, it has no way to anybody. It listens on ports, relays them,
tries connections as an attacker would, and plays the address at which Fargate gives a task its
credentials, which lies within the task's own namespace there too.
"""

import asyncio
import errno
import json
import os
import socket
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute

from tests.infrastructure.network.agent import answer

_PATIENCE: Final = 60.0
_REFUSED: Final = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})
_ECHO_REQUEST, _ECHO_REPLY, _UNREACHABLE = 8, 0, 3
_CREDENTIALS_HOST: Final = "169.254.170.2"

_loop = asyncio.new_event_loop()
_own: list[str] = []
_heard: list[str] = []


def wire(address: str, gateway: str, more: Sequence[str]) -> None:
    """Take the cable that the router has put in: this address and ``more`` that are this
    host's, and everything beyond by way of ``gateway``."""
    _own.extend((address, *more))
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    with IPRoute() as routes:
        (loopback,) = routes.link_lookup(ifname="lo")
        (cable,) = routes.link_lookup(ifname="eth0")
        routes.link("set", index=loopback, state="up")
        for own in (_CREDENTIALS_HOST, *more):
            routes.addr("add", index=loopback, address=own, prefixlen=32)
        routes.addr("add", index=cable, address=address, prefixlen=24)
        routes.link("set", index=cable, state="up")
        routes.route("add", dst="default", gateway=gateway)


def listen(protocol: str, ports: Sequence[int]) -> None:
    """Answer whoever reaches one of these ports, where nothing else has taken it."""
    for port in ports:
        start = _listen_tcp if protocol == "tcp" else _listen_udp
        asyncio.run_coroutine_threadsafe(start(port), _loop).result(_PATIENCE)


def relay(port: int, address: str, to_port: int) -> None:
    """Pass connections to ``port`` on to another place, byte by byte, as a balancer does."""

    async def passing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(address, to_port)
        await asyncio.gather(_pour(reader, there_writer), _pour(there_reader, writer))

    async def start() -> None:
        await asyncio.start_server(passing, "0.0.0.0", port)

    asyncio.run_coroutine_threadsafe(start(), _loop).result(_PATIENCE)


def give_credentials() -> str:
    """Play Fargate's credentials to this host alone; the URL to ask."""

    async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps(
            {
                "AccessKeyId": "test",
                "SecretAccessKey": "test",
                "Token": "test",
                "Expiration": "2099-01-01T00:00:00Z",
            }
        ).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async def start() -> None:
        await asyncio.start_server(give, _CREDENTIALS_HOST, 80)

    asyncio.run_coroutine_threadsafe(start(), _loop).result(_PATIENCE)
    return f"http://{_CREDENTIALS_HOST}/credentials"


def probe(attempts: Sequence[tuple[str, str, int]]) -> list[bool]:
    """Whether each of these was reached: protocol (``tcp``, ``udp``, ``icmp``), address, port.
    What is neither reached nor refused within a minute is a :class:`TimeoutError`."""
    return [_TRIES[protocol](address, port) for protocol, address, port in attempts]


def heard() -> list[str]:
    """Who reached a port of this host that only listens, and which."""
    return _heard


async def _listen_tcp(port: int) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _heard.append(f"{writer.get_extra_info('peername')[0]} tcp {port}")
        writer.close()

    try:
        await asyncio.start_server(take, "0.0.0.0", port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        _heard.append(f"{addr[0]} udp")
        self._transport.sendto(data, addr)


async def _listen_udp(port: int) -> None:
    # Bound to each address, so that an answer comes from the one that was asked.
    for address in _own:
        await _loop.create_datagram_endpoint(_Echo, local_addr=(address, port))


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


def _tcp(address: str, port: int) -> bool:
    with socket.socket() as attempt:
        attempt.settimeout(_PATIENCE)
        return _reached(lambda: attempt.connect((address, port)))


def _udp(address: str, port: int) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as attempt:
        attempt.settimeout(_PATIENCE)
        attempt.connect((address, port))

        def asked() -> None:
            attempt.send(b"anybody there?")
            attempt.recv(64)

        return _reached(asked)


def _icmp(address: str, _port: int) -> bool:
    with socket.socket(type=socket.SOCK_RAW, proto=socket.IPPROTO_ICMP) as attempt:
        attempt.settimeout(_PATIENCE)
        words = (_ECHO_REQUEST << 8, os.getpid() & 0x7FFF, 1)
        checksum = 0xFFFF - sum(words)  # RFC 1071; these never carry
        attempt.sendto(struct.pack("!4H", words[0], checksum, *words[1:]), (address, 0))
        while True:
            answered = attempt.recv(2048)
            kind = answered[(answered[0] & 15) * 4]
            if kind in (_ECHO_REPLY, _UNREACHABLE):
                return kind == _ECHO_REPLY


def _reached(step: Any) -> bool:
    try:
        step()
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return False
    return True


_TRIES: Final = {"tcp": _tcp, "udp": _udp, "icmp": _icmp}

if __name__ == "__main__":
    threading.Thread(target=_loop.run_forever, daemon=True).start()
    answer({e.__name__: e for e in (wire, listen, relay, give_credentials, probe, heard)})
