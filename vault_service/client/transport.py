"""Where the vault is, and how requests get there.

This is the one place where the client reads the environment (``STRONGROOM_URL``,
``STRONGROOM_TOKEN``): it cannot use ``settings.py``, which belongs to the service.
"""

import asyncio
import ipaddress
import os
import platform
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import httpx2

from vault_service import __version__
from vault_service.client.credentials import Credentials
from vault_service.client.errors import (
    ClientClosed,
    ClientMisconfigured,
    UnexpectedAnswer,
    Unreachable,
)
from vault_service.client.exchange import Answer, Call, Lost, Steps, refusal

T = TypeVar("T")

USER_AGENT: Final = f"strongroom-client/{__version__} (python {platform.python_version()})"
_CONNECT_SECONDS: Final = 5.0
# Shorter than the 5 s after which common servers close an idle connection, so that a
# connection is rarely taken up in the moment the other side drops it.
_LIMITS: Final = httpx2.Limits(
    max_connections=100, max_keepalive_connections=100, keepalive_expiry=4.0
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The vault's address, the credential for it, and how the way there is secured."""

    url: str
    credentials: Credentials
    timeout: float = 30.0
    tls: ssl.SSLContext | bool = True

    @property
    def behind_proxy(self) -> bool:
        """Proxies named by the environment are for https alone: over http one would
        see the credential."""
        return self.url.startswith("https://")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def endpoint(
    url: str | None,
    token: "str | Callable[[], str] | Credentials | None",
    *,
    timeout: float,
    tls: ssl.SSLContext | None = None,
    allow_insecure: bool = False,
) -> Endpoint:
    """The endpoint for these arguments, with the environment for what is ``None``.

    Raises :class:`ClientMisconfigured` for a missing or unusable address, for a
    missing token, and for ``http://`` to another machine unless ``allow_insecure``.
    """
    address = (url or os.environ.get("STRONGROOM_URL", "")).strip()
    credential = token or os.environ.get("STRONGROOM_TOKEN", "").strip()
    if not address:
        raise ClientMisconfigured(
            "No vault address: set STRONGROOM_URL or pass url=… (`strongroom dev` prints its own)."
        )
    if not credential:
        raise ClientMisconfigured(
            "No credential: set STRONGROOM_TOKEN or pass token=… "
            "(`strongroom principal issue-key NAME` prints a key)."
        )
    try:
        parsed = httpx2.URL(address)
    except httpx2.InvalidURL:
        parsed = httpx2.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise ClientMisconfigured(
            "The vault address must look like https://vault.example:8200, without a user name."
        )
    if parsed.query or parsed.fragment:
        raise ClientMisconfigured("The vault address must have no query and no fragment.")
    # PCI-DSS 4.2.1: values and credentials travel encrypted over any network.
    if parsed.scheme == "http" and not allow_insecure and not _is_loopback(parsed.host):
        raise ClientMisconfigured(
            "The vault address is http:// on another machine, where values would travel in "
            "clear; use https://, or pass allow_insecure=True on a network you trust."
        )
    credentials = credential if isinstance(credential, Credentials) else Credentials(credential)
    return Endpoint(address.rstrip("/"), credentials, timeout, True if tls is None else tls)


def _request_headers(call: Call, token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", "user-agent": USER_AGENT, **call.headers}


def _timeout(call: Call, longest: float) -> httpx2.Timeout:
    seconds = longest if call.timeout is None else min(longest, call.timeout)
    return httpx2.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


def _answer(response: httpx2.Response) -> Answer:
    return Answer(response.status_code, dict(response.headers), response.content)


def _lost(error: httpx2.RequestError) -> Lost:
    """The failure by its kind alone: the error itself holds the request."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Lost("the server's certificate is not trusted", retryable=False)
        cause = cause.__cause__ or cause.__context__
    permanent = isinstance(error, httpx2.LocalProtocolError | httpx2.UnsupportedProtocol)
    return Lost(type(error).__name__, retryable=not permanent)


class BlockingTransport:
    """Drives steps on the calling thread, or several at once on a few threads."""

    def __init__(
        self,
        endpoint: Endpoint,
        concurrency: int,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._concurrency = concurrency
        self._closing = threading.Event()
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._http = httpx2.Client(
            base_url=endpoint.url,
            verify=endpoint.tls,
            trust_env=endpoint.behind_proxy,
            limits=_LIMITS,
            transport=transport,
        )

    def run(self, steps: Steps[T]) -> T:
        """What the steps return; raises what they raise."""
        try:
            call = next(steps)
            while True:
                # Waiting on the event, so that closing does not wait for a pause to end.
                if self._closing.wait(call.delay):
                    raise ClientClosed
                call = steps.send(self._send(call))
        except StopIteration as stop:
            result: T = stop.value
            return result

    def submit(self, steps: Steps[T]) -> "Future[T]":
        """Run the steps on one of the transport's threads."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._concurrency, "strongroom-client")
            return self._pool.submit(self.run, steps)

    def run_all(self, many: Sequence[Steps[T]]) -> list[T]:
        """The results in order. The first failure is raised and stops the rest."""
        if len(many) == 1:
            return [self.run(many[0])]
        futures = [self.submit(steps) for steps in many]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def _send(self, call: Call) -> Answer | Lost:
        credentials = self._endpoint.credentials
        token = credentials.current()
        outcome = self._attempt(call, token)
        if isinstance(outcome, Answer) and outcome.status == 401 and credentials.renew(token):
            outcome = self._attempt(call, credentials.current())
        return outcome

    def stream(self, path: str, accept: str) -> Iterator[bytes]:
        """The body of the answer to ``GET`` in pieces. Raises what the service refuses
        with, ``UnexpectedAnswer`` for another media type, and ``Unreachable`` where there
        is no answer, or it breaks off."""
        credentials = self._endpoint.credentials
        token = credentials.current()
        call = Call("GET", path, headers={"accept": f"{accept}, application/problem+json"})
        for last in (False, True):
            try:
                with self._http.stream(
                    call.method,
                    call.path,
                    headers=_request_headers(call, token),
                    timeout=_timeout(call, self._endpoint.timeout),
                ) as response:
                    if response.status_code == 401 and not last and credentials.renew(token):
                        token = credentials.current()
                        continue
                    if response.status_code != 200:
                        response.read()
                        raise refusal(_answer(response))
                    if response.headers.get("content-type", "").partition(";")[0] != accept:
                        raise UnexpectedAnswer(
                            response.status_code, response.headers.get("x-request-id")
                        )
                    yield from response.iter_raw()
                    return
            except httpx2.RequestError as error:
                raise Unreachable(_lost(error).reason, 1) from None

    def _attempt(self, call: Call, token: str) -> Answer | Lost:
        try:
            return _answer(
                self._http.request(
                    call.method,
                    call.path,
                    content=call.content or None,
                    headers=_request_headers(call, token),
                    timeout=_timeout(call, self._endpoint.timeout),
                )
            )
        except httpx2.RequestError as error:
            return _lost(error)

    def close(self) -> None:
        """Wait for requests under way, end pauses between tries, close the connections."""
        self._closing.set()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._http.close()


class AsyncTransport:
    """Drives steps with asyncio, a bounded number at once."""

    def __init__(
        self,
        endpoint: Endpoint,
        concurrency: int,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._concurrency = concurrency
        self._http = httpx2.AsyncClient(
            base_url=endpoint.url,
            verify=endpoint.tls,
            trust_env=endpoint.behind_proxy,
            limits=_LIMITS,
            transport=transport,
        )

    async def run(self, steps: Steps[T]) -> T:
        """What the steps return; raises what they raise."""
        try:
            call = next(steps)
            while True:
                if call.delay:
                    await asyncio.sleep(call.delay)
                call = steps.send(await self._send(call))
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def run_all(self, many: Sequence[Steps[T]]) -> list[T]:
        """The results in order. The first failure is raised and stops the rest."""
        free = asyncio.Semaphore(self._concurrency)

        async def one(steps: Steps[T]) -> T:
            async with free:
                return await self.run(steps)

        tasks = [asyncio.ensure_future(one(steps)) for steps in many]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _token(self) -> str:
        credentials = self._endpoint.credentials
        if credentials.cached() is None:
            # A source may ask a file or another service, so not on the event loop.
            return await asyncio.to_thread(credentials.current)
        return credentials.current()

    async def _send(self, call: Call) -> Answer | Lost:
        token = await self._token()
        outcome = await self._attempt(call, token)
        if (
            isinstance(outcome, Answer)
            and outcome.status == 401
            and self._endpoint.credentials.renew(token)
        ):
            outcome = await self._attempt(call, await self._token())
        return outcome

    async def _attempt(self, call: Call, token: str) -> Answer | Lost:
        try:
            return _answer(
                await self._http.request(
                    call.method,
                    call.path,
                    content=call.content or None,
                    headers=_request_headers(call, token),
                    timeout=_timeout(call, self._endpoint.timeout),
                )
            )
        except httpx2.RequestError as error:
            return _lost(error)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
