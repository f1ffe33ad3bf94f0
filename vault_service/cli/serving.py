"""The server processes beneath ``strongroom dev`` and ``serve``.

The one module of this package that needs the server's packages when it is imported.
"""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from vault_service.adapters.telemetry.logs import configure_logging
from vault_service.adapters.telemetry.workers import share_metrics
from vault_service.cli.protocol import BoundedProtocol
from vault_service.domain.errors import ConfigurationError
from vault_service.memory import forbid_core_dumps

_DRAIN_SECONDS: Final = 30
_HUNG_SECONDS: Final = 60
_PROBE_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.1
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # nosec B104


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen, in how many processes, and behind what. ``port`` 0 takes a free
    one; ``proxies`` are the addresses whose ``X-Forwarded-For`` is believed."""

    host: str
    port: int
    workers: int = 1
    certificate: Path | None = None
    key: Path | None = None
    proxies: str = ""


def bind(address: Address) -> socket.socket:
    """The socket to serve on; :class:`ConfigurationError` where the address is taken."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else "no such port"
        raise ConfigurationError(
            f"The service cannot listen on {address.host} port {address.port} ({reason});"
            " choose another port or stop what uses it."
        ) from None
    listener.set_inheritable(True)
    return listener


@contextlib.contextmanager
def shared_metrics(workers: int) -> Iterator[None]:
    """Lets several workers count together until the block ends. To be entered before
    anything imports ``prometheus_client``."""
    if workers == 1:
        yield
        return
    memory = Path("/dev/shm")  # nosec B108 - the folder beneath is fresh and private
    folder = share_metrics(memory if os.access(memory, os.W_OK) else None)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(address: Address, listener: socket.socket) -> None:
    """Serve until told to stop (SIGTERM, SIGINT), requests in flight are answered. Prints
    the URL on standard output when the service is ready.

    :class:`ConfigurationError` where the service could not start.
    """
    config = _Config(
        "vault_service.asgi:create",
        factory=True,
        host=address.host,
        port=address.port,
        workers=address.workers,
        loop="uvloop",
        http=BoundedProtocol,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=bool(address.proxies),
        forwarded_allow_ips=address.proxies or None,
        ssl_certfile=address.certificate,
        ssl_keyfile=address.key,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        timeout_worker_healthcheck=_HUNG_SECONDS,
        log_config=None,
    )
    stopped = threading.Event()
    port = listener.getsockname()[1]
    announcer = threading.Thread(target=_announce, args=(address, port, stopped), daemon=True)
    announcer.start()
    try:
        started = _serve(config, listener)
    finally:
        stopped.set()
        listener.close()
    announcer.join()
    if not started:
        raise ConfigurationError("The service could not start; the log above says why.")


def _serve(config: "_Config", listener: socket.socket) -> bool:
    """Whether the service had started when it ended."""
    if config.workers > 1:
        workers = Multiprocess(config, [listener])
        workers.run()
        return all(worker.exitcode != STARTUP_FAILURE for worker in workers.processes)
    server = uvicorn.Server(config)
    # uvicorn raises the signal that ended it once more when it is done.
    signal.signal(signal.SIGTERM, _stop)
    with contextlib.suppress(KeyboardInterrupt, _Stopped):
        server.run([listener])
    return server.started


class _Stopped(BaseException):
    """The service was told to stop."""


def _stop(_signal: int, _frame: object) -> None:
    raise _Stopped


class _Config(uvicorn.Config):
    """Prepares every process that serves, also those that the supervisor starts."""

    def configure_logging(self) -> None:
        """Log as the service does, and leave no core dump behind."""
        configure_logging()
        forbid_core_dumps()


def _announce(address: Address, port: int, stopped: threading.Event) -> None:
    """Print the URL once the service answers that it is ready."""
    host = _ANYWHERE.get(address.host, address.host)
    while not stopped.is_set():
        if _ready(host, port, encrypted=address.certificate is not None):
            scheme = "http" if address.certificate is None else "https"
            shown = f"[{host}]" if ":" in host else host
            with contextlib.suppress(OSError, ValueError):
                print(f"Strongroom is ready at {scheme}://{shown}:{port}", flush=True)
            return
        stopped.wait(_PAUSE_SECONDS)


def _ready(host: str, port: int, *, encrypted: bool) -> bool:
    connection: Any = http.client.HTTPConnection(host, port, timeout=_PROBE_SECONDS)
    try:
        if encrypted:
            # A worker listens only after it has started; its certificate is not for us.
            connection.connect()
            return True
        connection.request("GET", "/readyz")
        return bool(connection.getresponse().status == http.client.OK)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
