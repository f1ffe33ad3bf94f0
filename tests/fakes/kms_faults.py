"""An AWS KMS that fails on demand, and is otherwise as strict as the real one.

    with KmsFaultProxy() as kms:
        arn = kms.create_key()
        ...                      # point boto3 at kms.endpoint_url
        kms.mode = Mode.HANG     # from now on, until changed
        kms.disable(arn)         # state of one key, obeyed in every mode

Signing keys are made with ``create_signing_key()``.

It is an HTTP server in front of moto. Subprocesses are pointed at it with
``environment()``. Each connection carries one request, so a change of ``mode`` holds for
the very next one.
"""

import base64
import json
import os
import threading
from collections import Counter
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fakes.strict_kms import StrictKms, refusal

_CRYPTOGRAPHIC = frozenset({"Encrypt", "Decrypt", "GenerateDataKey", "GetPublicKey", "Sign"})


class Mode(StrEnum):
    """How the service behaves. Faults concern what is done with keys, not to them."""

    OK = "ok"
    REFUSE = "refuse"  # nothing listens on the port
    HANG = "hang"  # accepts, reads, never answers
    DRIP = "drip"  # answers a byte at a time, so that no read ever times out
    DROP = "drop"  # closes the connection without an answer
    THROTTLE = "throttle"
    ACCESS_DENIED = "access_denied"
    DISABLED = "disabled"
    PENDING_DELETION = "pending_deletion"
    SERVER_ERROR = "server_error"  # HTTP 500, KMSInternalException
    GARBAGE = "garbage"  # HTTP 200 with a body that is not JSON
    WRONG_PLAINTEXT = "wrong_plaintext"  # another 32 bytes than were wrapped
    SHORT_PLAINTEXT = "short_plaintext"  # 16 of the 32 bytes
    WRONG_KEY = "wrong_key"  # right plaintext, said to be from another key
    WRONG_SIGNATURE = "wrong_signature"  # a signature of something else
    NO_SIGNATURE = "no_signature"  # of no bytes that could be one
    WRONG_CURVE = "wrong_curve"  # a P-384 public key, said to be P-256
    TRUNCATED_BLOB = "truncated_blob"  # ciphertext cut short on its way in and out


WRAPPING_FAULTS = [
    mode
    for mode in Mode
    if mode not in (Mode.OK, Mode.WRONG_SIGNATURE, Mode.NO_SIGNATURE, Mode.WRONG_CURVE)
]
"""Those that somebody who wraps and unwraps can meet."""

_REFUSALS = {
    Mode.THROTTLE: (400, "ThrottlingException"),
    Mode.ACCESS_DENIED: (400, "AccessDeniedException"),
    Mode.DISABLED: (400, "DisabledException"),
    Mode.PENDING_DELETION: (400, "KMSInvalidStateException"),
    Mode.SERVER_ERROR: (500, "KMSInternalException"),
}


class KmsFaultProxy(StrictKms):
    """The service; a context manager. ``calls`` counts operations by name, and
    ``plaintexts`` holds every plaintext key it gave out, in base64, for canary tests."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.plaintexts: list[str] = []
        self._mode = Mode.OK
        self._changed = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self._moto.start()
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
        self._moto.stop()

    @property
    def endpoint_url(self) -> str:
        """What boto3 calls ``endpoint_url``; stays the same through every mode."""
        return f"http://127.0.0.1:{self._port}"

    def environment(self) -> dict[str, str]:
        """The environment variables that point boto3 in another process here."""
        return {
            "AWS_ENDPOINT_URL_KMS": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
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

    def answer(self, operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """The answer in the present mode; ``None``: close without one."""
        self.calls[operation] += 1
        mode = self._mode
        if operation not in _CRYPTOGRAPHIC:
            return self.forward(operation, body)
        if mode is Mode.HANG:
            self._changed.wait()
            return None
        if mode in (Mode.REFUSE, Mode.DROP):
            return None
        if mode in _REFUSALS:
            return refusal(*_REFUSALS[mode])
        barred = self._barred(body)
        if barred is not None:
            return barred
        if mode is Mode.TRUNCATED_BLOB and "CiphertextBlob" in body:
            body = {**body, "CiphertextBlob": _cut(body["CiphertextBlob"])}
        if mode is Mode.WRONG_SIGNATURE and "Message" in body:
            body = {**body, "Message": base64.b64encode(os.urandom(32)).decode()}
        if operation == "Sign" and mode is Mode.OK:
            return self._signed(body)
        status, answer = self.forward(operation, body)
        answer = _distorted(mode, answer)
        if "Plaintext" in answer:
            self.plaintexts.append(answer["Plaintext"])
        return status, answer

    def pause(self, seconds: float) -> bool:
        """Wait while the mode stays the same; whether it did."""
        return not self._changed.wait(seconds)

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
    proxy: KmsFaultProxy

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        answer = self.proxy.answer(operation, body)
        if answer is None:
            return
        status, content = answer
        mode = self.proxy.mode
        raw = b"<html>not json" if mode is Mode.GARBAGE else json.dumps(content).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            while mode is Mode.DRIP and raw and self.proxy.pause(0.3):
                self.wfile.write(raw[:1])
                raw = raw[1:]
            self.wfile.write(raw)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client had stopped waiting

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: requests hold plaintext keys."""


def _cut(blob: str) -> str:
    return base64.b64encode(base64.b64decode(blob)[:-7]).decode()


def _p384_public_key() -> bytes:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _distorted(mode: Mode, answer: dict[str, Any]) -> dict[str, Any]:
    match mode:
        case Mode.WRONG_PLAINTEXT if "Plaintext" in answer:
            return {**answer, "Plaintext": base64.b64encode(os.urandom(32)).decode()}
        case Mode.SHORT_PLAINTEXT if "Plaintext" in answer:
            short = base64.b64decode(answer["Plaintext"])[:16]
            return {**answer, "Plaintext": base64.b64encode(short).decode()}
        case Mode.WRONG_KEY if "KeyId" in answer:
            last = "1" if answer["KeyId"].endswith("0") else "0"
            return {**answer, "KeyId": answer["KeyId"][:-1] + last}
        case Mode.NO_SIGNATURE if "Signature" in answer:
            return {**answer, "Signature": base64.b64encode(b"\x30\x06").decode()}
        case Mode.WRONG_CURVE if "PublicKey" in answer:
            return {**answer, "PublicKey": base64.b64encode(_p384_public_key()).decode()}
        case Mode.TRUNCATED_BLOB if "CiphertextBlob" in answer:
            return {**answer, "CiphertextBlob": _cut(answer["CiphertextBlob"])}
    return answer
