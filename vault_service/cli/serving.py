"""The server processes beneath ``strongroom dev`` and ``serve``.

The one module of this package that needs the server's packages when it is imported.
"""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from vault_service.adapters.telemetry.logs import configure_logging
from vault_service.adapters.telemetry.workers import share_metrics
from vault_service.cli.protocol import BoundedProtocol
from vault_service.domain.errors import ConfigurationError
from vault_service.healthcheck import ANYWHERE, healthy
from vault_service.memory import forbid_core_dumps

_IN_FLIGHT_SECONDS: Final = 30
_KEEP_ALIVE_SECONDS: Final = 75
"""Longer than balancers keep an idle connection (60 s, commonly): who closes it first must be
the one who would send the next request on it."""
_HUNG_SECONDS: Final = 60
_PROBE_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.1


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
    """Serve until told to stop: SIGTERM drains first (:mod:`vault_service.draining`), SIGINT
    does not; requests in flight are answered for half a minute either way. Prints the URL on
    standard output when the service is ready.

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
        ssl_context_factory=tls_context if address.certificate else None,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_IN_FLIGHT_SECONDS,
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
        workers = _Supervisor(config, [listener])
        workers.run()
        return all(worker.exitcode != STARTUP_FAILURE for worker in workers.processes)
    server = uvicorn.Server(config)
    # uvicorn raises the signal that ended it once more when it is done.
    signal.signal(signal.SIGTERM, _stop)
    with contextlib.suppress(KeyboardInterrupt, _Stopped):
        server.run([listener])
    return server.started


def tls_context(_config: uvicorn.Config, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """What clients are spoken to with: TLS 1.2 or newer (PCI-DSS 4.2.1)."""
    context = make()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _Supervisor(Multiprocess):
    """Starts the workers, and ends them together."""

    def join_all(self) -> None:
        """Wait until all have ended; a further SIGTERM is passed on, and ends their drain."""
        self.signal_queue.clear()
        while running := [worker for worker in self.processes if worker.process.is_alive()]:
            if self.signal_queue:
                self.signal_queue.clear()
                for worker in running:
                    worker.process.terminate()
            running[0].process.join(_PAUSE_SECONDS)


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
    host = ANYWHERE.get(address.host, address.host)
    while not stopped.is_set():
        encrypted = address.certificate is not None
        if healthy(port, host, "/readyz", encrypted=encrypted, seconds=_PROBE_SECONDS):
            scheme = "http" if address.certificate is None else "https"
            shown = f"[{host}]" if ":" in host else host
            with contextlib.suppress(OSError, ValueError):
                print(f"Strongroom is ready at {scheme}://{shown}:{port}", flush=True)
            return
        stopped.wait(_PAUSE_SECONDS)
