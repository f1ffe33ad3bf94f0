"""How requests get to the vault: blocking, or with asyncio."""

import asyncio
import platform
import ssl
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import httpx2

from vault_service import __version__
from vault_service.client.endpoint import Endpoint
from vault_service.client.errors import ClientClosed, UnexpectedAnswer, Unreachable
from vault_service.client.exchange import Answer, Call, Lost, Steps, refusal

T = TypeVar("T")

USER_AGENT: Final = f"strongroom-client/{__version__} (python {platform.python_version()})"
_CONNECT_SECONDS: Final = 5.0
# Shorter than the 5 s after which common servers close an idle connection, so that a
# connection is rarely taken up in the moment the other side drops it.
_LIMITS: Final = httpx2.Limits(
    max_connections=100, max_keepalive_connections=100, keepalive_expiry=4.0
)


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
