"""A small HTTP/1.1 load generator: prepared requests, kept connections, one process.

It does as little as it can, since it shares the machine with what it measures: requests
are bytes made beforehand, of an answer only status and length are read.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial


@dataclass
class Load:
    """What a run showed: latencies in seconds, statuses other than 200 with counts."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    unexpected: dict[int, int] = field(default_factory=dict)
    answers: list[bytes] = field(default_factory=list, repr=False)


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """The latencies that half and 99 % stayed within, in milliseconds."""
    ordered = sorted(seconds)
    half, most = (ordered[min(len(ordered) - 1, int(s * len(ordered)))] for s in (0.5, 0.99))
    return half * 1000, most * 1000


def request(path: str, key: str, body: bytes, port: int) -> bytes:
    """The bytes of one POST."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def get(path: str, key: str, port: int) -> bytes:
    """The bytes of one GET."""
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n\r\n"
    return head.encode()


class _Caller(asyncio.Protocol):
    """One connection that sends its next request when the last is answered."""

    def __init__(self, requests: "list[bytes]", load: Load, keep: bool, done: asyncio.Future[None]):
        self._requests = requests
        self._load = load
        self._keep = keep
        self._done = done
        self._buffer = bytearray()
        self._missing = -1
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        if not self._requests:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
            return
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests.pop())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._missing < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            at = self._buffer.find(b"content-length: ") + 16
            length = int(self._buffer[at : self._buffer.find(b"\r\n", at)])
            self._missing = end + 4 + length
        if len(self._buffer) < self._missing:
            return
        load = self._load
        load.latencies.append(time.perf_counter() - self._sent_at)
        status = int(self._buffer[9:12])
        if status != 200:
            load.unexpected[status] = load.unexpected.get(status, 0) + 1
        if self._keep:
            load.answers.append(bytes(self._buffer))
        self._buffer.clear()
        self._missing = -1
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed a connection"))


async def _drive(port: int, requests: list[bytes], callers: int, keep: bool) -> Load:
    loop = asyncio.get_running_loop()
    load = Load()
    left = requests[::-1]
    ends = [loop.create_future() for _ in range(callers)]
    started = time.perf_counter()
    for end in ends:
        await loop.create_connection(partial(_Caller, left, load, keep, end), "127.0.0.1", port)
    await asyncio.gather(*ends)
    load.seconds = time.perf_counter() - started
    return load


def drive(port: int, requests: Sequence[bytes], callers: int, *, keep: bool = False) -> Load:
    """Send all requests from ``callers`` connections at once; ``keep`` keeps answers."""
    import uvloop

    return uvloop.run(_drive(port, list(requests), callers, keep))
