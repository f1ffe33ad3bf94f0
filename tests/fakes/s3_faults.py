"""An S3 that fails on demand, and is otherwise as strict as the real one.

    with S3FaultProxy() as s3:
        bucket = s3.create_bucket()
        ...                      # point boto3 at s3.endpoint_url
        s3.mode = Mode.HANG      # from now on, until changed

It is an HTTP server in front of moto. moto takes a body whatever its checksum says, and
S3 does not: the proxy looks first. ``client`` goes to moto directly, as an administrator
who sees no faults. Each connection carries one request, so a change of ``mode`` holds for
the very next one.
"""

import base64
import hashlib
import itertools
import os
import threading
from collections import Counter
from enum import StrEnum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

_REGION = "eu-west-1"
_NOT_FORWARDED = frozenset({"connection", "content-length", "expect", "host", "transfer-encoding"})
_buckets = itertools.count(1)


class Mode(StrEnum):
    """How the service behaves."""

    OK = "ok"
    REFUSE = "refuse"  # nothing listens on the port
    HANG = "hang"  # accepts, reads, never answers
    DRIP = "drip"  # answers a byte at a time, so that no read ever times out
    DROP = "drop"  # closes the connection without an answer
    LOSE_ANSWER = "lose_answer"  # does what it is asked once, then closes without an answer
    ACCESS_DENIED = "access_denied"
    SLOW_DOWN = "slow_down"
    SERVER_ERROR = "server_error"
    IN_PROGRESS = "in_progress"  # another conditional write of the key is under way
    EXPIRED_TOKEN = "expired_token"
    OTHER_REGION = "other_region"
    GARBAGE = "garbage"  # HTTP 200 with a body that is not XML
    PAGE = "page"  # HTTP 200 with a page of a gateway, which is XML
    EMPTY = "empty"  # HTTP 200 without a body


_REFUSALS = {
    Mode.ACCESS_DENIED: (403, "AccessDenied"),
    Mode.SLOW_DOWN: (503, "SlowDown"),
    Mode.SERVER_ERROR: (500, "InternalError"),
    Mode.IN_PROGRESS: (409, "ConditionalRequestConflict"),
    Mode.EXPIRED_TOKEN: (400, "ExpiredToken"),
    Mode.OTHER_REGION: (301, "PermanentRedirect"),
}
_Answer = tuple[int, dict[str, str], bytes]


class S3FaultProxy:
    """The service; a context manager. ``calls`` counts requests by HTTP method."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        self.calls: Counter[str] = Counter()
        self.client: Any = None
        self._mode = Mode.OK
        self._changed = threading.Event()
        self._moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    def __enter__(self) -> Self:
        from boto3.session import Session

        self._moto.start()
        host, port = self._moto.get_host_and_port()
        self.client = Session("testing", "testing", region_name=_REGION).client(
            "s3", endpoint_url=f"http://{host}:{port}"
        )
        self._listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._changed.set()
        self._close()
        self.client.close()
        self._moto.stop()

    @property
    def endpoint_url(self) -> str:
        """What boto3 calls ``endpoint_url``; stays the same through every mode."""
        return f"http://127.0.0.1:{self._port}"

    def environment(self) -> dict[str, str]:
        """The environment variables that point boto3 here."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": _REGION,
        }

    @property
    def mode(self) -> Mode:
        """How the service behaves now; setting it frees whatever hangs."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        changed, self._changed = self._changed, threading.Event()
        changed.set()
        if mode is Mode.REFUSE:
            self._close()
        elif self._server is None:
            self._listen()

    def create_bucket(self, *, locked: bool = True) -> str:
        """A new bucket, with Object Lock where ``locked``; its name."""
        name = f"anchors-{os.getpid()}-{next(_buckets)}"
        self.client.create_bucket(
            Bucket=name,
            ObjectLockEnabledForBucket=locked,
            CreateBucketConfiguration={"LocationConstraint": _REGION},
        )
        return name

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> _Answer | None:
        """The answer in the present mode; ``None``: close without one."""
        self.calls[method] += 1
        mode = self._mode
        if mode is Mode.HANG:
            self._changed.wait()
            return None
        if mode in (Mode.REFUSE, Mode.DROP):
            return None
        if mode in _REFUSALS:
            return _refusal(*_REFUSALS[mode])
        if mode is Mode.GARBAGE:
            return 200, {}, b"<html>not what was asked for"
        if mode is Mode.PAGE:
            return 200, {}, b"<html><body>Please sign in.</body></html>"
        if mode is Mode.EMPTY:
            return 200, {}, b""
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        if headers.get("x-amz-checksum-sha256", digest) != digest:
            return _refusal(400, "BadDigest")
        answer = self._forward(method, path, headers, body)
        if mode is Mode.LOSE_ANSWER and method == "PUT":
            self._mode = Mode.OK
            return None
        return answer

    def pause(self, seconds: float) -> bool:
        """Wait while the mode stays the same; whether it did."""
        return not self._changed.wait(seconds)

    def _forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> _Answer:
        host, port = self._moto.get_host_and_port()
        connection = HTTPConnection(host, port, timeout=10)
        try:
            kept = {k: v for k, v in headers.items() if k.lower() not in _NOT_FORWARDED}
            connection.request(method, path, body, kept)
            response = connection.getresponse()
            content = response.read()
            answered = {k: v for k, v in response.getheaders() if k.lower() not in _NOT_FORWARDED}
            return response.status, answered, content
        finally:
            connection.close()

    def _listen(self) -> None:
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", self._port), handler)
        self._port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def _close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    proxy: S3FaultProxy
    protocol_version = "HTTP/1.1"  # botocore waits for "100 Continue"

    def _serve(self) -> None:
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.proxy.answer(self.command, self.path, headers, body)
        if answer is None:
            return
        status, answered, content = answer
        fields = {**answered, "Content-Length": str(len(content)), "Connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        raw = f"HTTP/1.1 {status} \r\n{head}\r\n".encode() + content
        try:
            while self.proxy.mode is Mode.DRIP and raw and self.proxy.pause(0.3):
                self.wfile.write(raw[:1])
                raw = raw[1:]
            self.wfile.write(raw)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client had stopped waiting

    do_GET = do_PUT = _serve

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _refusal(status: int, code: str) -> _Answer:
    body = f"<Error><Code>{code}</Code><Message>made up by the fault proxy</Message></Error>"
    return status, {"Content-Type": "application/xml"}, body.encode()
