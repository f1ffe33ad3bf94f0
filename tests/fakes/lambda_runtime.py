"""A small Lambda: the Runtime API, and a process of ``awslambdaric`` that asks it for events.

    with LambdaRuntime("reporting_jobs.handlers.audit_seal", environment) as function:
        result = function.invoke({"source": "aws.events", …})

As in Lambda, a process that ends is started anew for the next event.
"""

import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 120.0
_VERSION = "/2018-06-01/runtime"


class FunctionFailed(Exception):
    """The handler raised; ``kind`` is the exception's class, ``text`` its message."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


class FunctionDied(Exception):
    """The process ended before it answered."""


@dataclass
class _Invocation:
    id: str
    event: bytes
    seconds: float
    answer: Future[Any] = field(default_factory=Future)


class LambdaRuntime:
    """Runs ``handler`` (module.function) with ``environment`` on events, one at a time."""

    def __init__(self, handler: str, environment: Mapping[str, str], log: Path) -> None:
        self.handler = handler
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.init_seconds = 0.0
        self._environment = dict(environment)
        self._numbers = itertools.count(1)
        self._waiting: queue.Queue[_Invocation] = queue.Queue()
        self._running: dict[str, _Invocation] = {}
        self._asked = threading.Event()
        outer = self

        class Api(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._asked.set()
                invocation = outer._waiting.get()
                outer._running[invocation.id] = invocation
                deadline = int((time.time() + invocation.seconds) * 1000)
                try:
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(invocation.event)))
                    self.send_header("Lambda-Runtime-Aws-Request-Id", invocation.id)
                    self.send_header("Lambda-Runtime-Deadline-Ms", str(deadline))
                    self.send_header(
                        "Lambda-Runtime-Invoked-Function-Arn",
                        "arn:aws:lambda:eu-west-1:111122223333:function:report",
                    )
                    self.end_headers()
                    self.wfile.write(invocation.event)
                except OSError:  # who asked was killed meanwhile: the next one gets it
                    del outer._running[invocation.id]
                    outer._waiting.put(invocation)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = self.path.removeprefix(_VERSION).strip("/").split("/")
                if parts[0] == "invocation":
                    outer._answered(parts[1], parts[2], json.loads(body))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                return  # a process that was killed hangs up

        self._server = Server(("127.0.0.1", 0), Api)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def invoke(self, event: object, *, seconds: float = 900.0) -> Any:
        """What the handler returns for ``event``, with ``seconds`` until its time-out. Raises
        :class:`FunctionFailed` for what it raises, :class:`FunctionDied` where it dies."""
        return self.send(event, seconds=seconds).result(WAIT_SECONDS)

    def send(self, event: object, *, seconds: float = 900.0) -> "Future[Any]":
        """The same, to be waited for."""
        invocation = _Invocation(
            f"event-{next(self._numbers)}", json.dumps(event).encode(), seconds
        )
        if self.process is None or self.process.poll() is not None:
            self.start()
        self._waiting.put(invocation)
        return invocation.answer

    def start(self) -> None:
        """Start a process and wait until it asks for an event."""
        self._asked.clear()
        began = time.monotonic()
        host, port = self._server.server_address[:2]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "awslambdaric", self.handler],
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(ROOT),
                    "LAMBDA_TASK_ROOT": str(ROOT),
                    "AWS_LAMBDA_RUNTIME_API": f"{host!s}:{port}",
                    **self._environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not self._asked.wait(0.01):
            assert self.process.poll() is None, self.log.read_text()[-4000:]
        self.init_seconds = time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL, as when Lambda's time is out."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for invocation in list(self._running.values()):
            del self._running[invocation.id]
            invocation.answer.set_exception(FunctionDied())

    def _answered(self, id: str, kind: str, body: Any) -> None:
        invocation = self._running.pop(id)
        if kind == "response":
            invocation.answer.set_result(body)
        else:
            failed = FunctionFailed(body["errorType"], body["errorMessage"])
            invocation.answer.set_exception(failed)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
