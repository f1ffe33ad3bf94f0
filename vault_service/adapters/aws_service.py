"""Clients of AWS services: short timeouts, threads of their own, constant explanations.

A service that is slow is treated as one that is away: whatever it does, a caller waits no
longer than its deadline. boto3's clients may be shared between threads; sessions may not,
so each client has one of its own. Importing boto3 takes seconds: that happens at the
first call, on a worker thread.

Credentials come from the environment, files, a container's endpoint or a web identity,
never from the metadata address of the host (169.254.169.254): whatever runs there gets them
from it, and a request that a vault can be talked into is the usual way to steal them.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from vault_service.domain.errors import VaultError

PASSING: Final = 5
"""Seconds after which to ask again where the service is likely to be back."""
LASTING: Final = 30
"""The same where somebody has to act first."""
_SETUP_DEADLINE: Final = 20.0
_HOST_CREDENTIALS: Final = "iam-role"
"""What botocore calls the provider that asks the metadata address."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a service gave nothing: constant text, and seconds to wait."""

    detail: str
    retry_after: int


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds: for a connection, for bytes of an answer, and for all
    ``attempts`` together with what comes of them."""

    connect: float
    read: float
    attempts: int
    deadline: float


class AwsService:
    """One client of the service that boto3 calls ``service`` and messages call ``title``.

    ``refusals`` explains the service's error codes; ``error`` makes what is raised of a
    reason. Region, endpoint and credentials are boto3's own settings unless given.
    """

    def __init__(
        self,
        service: str,
        title: str,
        *,
        refusals: Mapping[str, Reason],
        error: Callable[[Reason], VaultError],
        patience: Patience,
        threads: int,
        region: str | None = None,
        endpoint_url: str | None = None,
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        self._service = service
        self._title = title
        self._refusals = refusals
        self._error = error
        self._patience = patience
        self._threads = threads
        self._region = region
        self._endpoint_url = endpoint_url
        self._prepare = prepare
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix=service)
        self._setup = threading.Lock()
        self._client: Any = None

    async def run(self, step: Callable[[Any], _T]) -> _T:
        """What ``step`` makes with the client, on a worker thread; "does not answer in
        time" where that takes longer than the deadline. What ``step`` raises is left as it
        is: see :meth:`translated`."""
        loop = asyncio.get_running_loop()
        try:
            if self._client is None:
                # It is not the service that is slow then.
                setup = loop.run_in_executor(self._workers, self._connected)
                await asyncio.wait_for(setup, _SETUP_DEADLINE)
            call = loop.run_in_executor(self._workers, step, self._client)
            return await asyncio.wait_for(call, self._patience.deadline)
        except TimeoutError:
            raise self._error(self._slow()) from None

    def submit(self, step: Callable[[Any], _T]) -> "Future[_T]":
        """The same begun and not waited for, from anywhere; it has no deadline, only the
        client's own timeouts."""
        return self._workers.submit(lambda: step(self._connected()))

    def translated(self, error: Exception) -> VaultError:
        """What to raise in place of boto3's ``error``, whose text may quote anything."""
        from botocore import exceptions as boto

        match error:
            case boto.ClientError():
                code = error.response.get("Error", {}).get("Code", "")
                return self._error(self._refusals.get(code) or self._failed())
            case boto.ConnectTimeoutError() | boto.ReadTimeoutError():
                return self._error(self._slow())
            case boto.HTTPClientError() | boto.ConnectionError():
                return self._error(Reason(f"{self._title} cannot be reached.", PASSING))
            case boto.NoCredentialsError() | boto.CredentialRetrievalError():
                return self._error(Reason("There are no AWS credentials.", LASTING))
            case _:
                return self._error(self._failed())

    def failed(self) -> VaultError:
        """What to raise where the service gave an answer without what was asked for."""
        return self._error(self._failed())

    def close(self) -> None:
        """Let the worker threads end; calls under way end by their own timeouts."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _connected(self) -> Any:
        with self._setup:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Any:
        import botocore.session
        from boto3.session import Session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        quiet_logs()
        self._prepare()
        config = Config(
            connect_timeout=self._patience.connect,
            read_timeout=self._patience.read,
            retries={"mode": "standard", "total_max_attempts": self._patience.attempts},
            max_pool_connections=self._threads,
            defaults_mode="legacy",  # "auto" would ask the host for its region
        )
        try:
            session = botocore.session.get_session()
            session.get_component("credential_provider").remove(_HOST_CREDENTIALS)
            return Session(botocore_session=session).client(
                self._service,
                region_name=self._region,
                endpoint_url=self._endpoint_url,
                config=config,
            )
        except (BotoCoreError, ValueError):
            raise self._error(
                Reason(f"The AWS settings do not allow a client of {self._title}.", LASTING)
            ) from None

    def _slow(self) -> Reason:
        return Reason(f"{self._title} does not answer in time.", PASSING)

    def _failed(self) -> Reason:
        return Reason(f"{self._title} failed.", PASSING)


def quiet_logs() -> None:
    """Keep boto3's own log lines at warnings and above, whatever the level of the root
    logger: at debug level botocore logs whole answers, plaintext keys included."""
    for name in ("boto3", "botocore", "urllib3"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))
