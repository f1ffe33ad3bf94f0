"""A balancer of connections: each new one goes to the next service that says it is ready.

    with Balancer([first.port, second.port]) as balancer:
        ...                         # callers connect to balancer.url
        balancer.wait_for([second.port])

It asks each service for ``/readyz`` ten times a second, by connections of their own. What it
has connected stays so until one side ends it, as at the balancers of the clouds: it looks at
no request. ``unserved`` counts connections that came while no service was ready.
"""

import asyncio
import contextlib
import http.client
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

_ASK_SECONDS: Final = 0.1
_PIECE: Final = 1 << 16


class Balancer:
    """A context manager: runs on a thread of its own while the block does."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.unserved = 0
        self.port = 0
        self._ports = ports
        self._ready: list[int] = []
        self._turn = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = threading.Condition()
        self._listening = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, ready: Sequence[int], seconds: float = 120.0) -> None:
        """Wait until the services on these ports, and no others, are sent connections."""
        with self._changed:
            assert self._changed.wait_for(lambda: sorted(self._ready) == sorted(ready), seconds)

    def _run(self) -> None:
        self._loop.run_until_complete(self._balance())
        self._loop.close()

    async def _balance(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        asking = asyncio.create_task(self._ask())
        self._listening.set()
        await self._ended.wait()
        asking.cancel()
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    async def _ask(self) -> None:
        while True:
            answers = await asyncio.gather(
                *(asyncio.to_thread(_is_ready, port) for port in self._ports)
            )
            with self._changed:
                self._ready = [p for p, ok in zip(self._ports, answers, strict=True) if ok]
                self._changed.notify_all()
            await asyncio.sleep(_ASK_SECONDS)

    async def _connected(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        if not self._ready:
            self.unserved += 1
            back.close()
            return
        self._turn += 1
        port = self._ready[self._turn % len(self._ready)]
        try:
            far, forth = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            back.close()
            return
        self._writers |= {back, forth}
        await asyncio.gather(_pass_on(near, forth), _pass_on(far, back))
        self._writers -= {back, forth}


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Hand on what comes until it ends, then the end, so that the other side sees it too."""
    with contextlib.suppress(ConnectionError):
        while piece := await source.read(_PIECE):
            sink.write(piece)
            await sink.drain()
    sink.close()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
