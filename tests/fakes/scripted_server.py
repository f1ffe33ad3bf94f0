"""A local HTTP server that answers as it is told to.

It gives the client real sockets to fail on. ``faults`` are used up first, one a
request; what comes after them is the ``handler``'s.
"""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """An answer to give; ``drop`` closes the connection without one."""

    status: int = 200
    json: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    content: bytes | None = None
    drop: bool = False

    @property
    def body(self) -> bytes:
        if self.content is not None:
            return self.content
        return b"" if self.json is None else json.dumps(self.json).encode()


DROP = Reply(drop=True)


def problem(
    status: int,
    code: str,
    *,
    retry_after: int | None = None,
    items: list[dict[str, Any]] | None = None,
    detail: str = "A constant sentence.",
) -> Reply:
    """An RFC 9457 problem document as the contract has it."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": "req-1",
    }
    if items is not None:
        body["items"] = items
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Reply(status, body, headers, "application/problem+json")


Handler = Callable[[Seen], Reply]


class ScriptedServer:
    """Runs on a free port of the loopback interface while its ``with`` block does."""

    def __init__(self, handler: Handler, faults: Iterable[Reply | Handler] = ()) -> None:
        self.seen: list[Seen] = []
        self.faults = deque(faults)
        self.handler = handler
        self.running = 0
        self.most_running = 0
        self._lock = threading.Lock()
        outer = self

        class Serve(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                seen = Seen(
                    self.command,
                    self.path,
                    {k.lower(): v for k, v in self.headers.items()},
                    self.rfile.read(length),
                )
                reply = outer._answer(seen)
                if reply.drop:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.status != 204:
                    self.send_header("Content-Type", reply.media_type)
                    self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if reply.status != 204:
                    self.wfile.write(reply.body)

            do_GET = do_POST = do_DELETE = _serve

            def log_message(self, format: str, *args: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                return  # a client that hangs up is part of the play

        self._server = Server(("127.0.0.1", 0), Serve)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _answer(self, seen: Seen) -> Reply:
        with self._lock:
            self.seen.append(seen)
            fault = self.faults.popleft() if self.faults else None
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            if isinstance(fault, Reply):
                return fault
            return (fault or self.handler)(seen)
        finally:
            with self._lock:
                self.running -= 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
