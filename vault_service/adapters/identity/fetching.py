"""One bounded HTTP GET: no redirects, no decompression, a limit on time and on size."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2

from vault_service.domain.errors import KeyUnavailable


@dataclass(frozen=True, slots=True)
class Fetched:
    """A complete answer: its status and its body as sent."""

    status: int
    body: bytes = field(repr=False)


class ProviderUnavailable(KeyUnavailable):
    """The identity provider gave no usable answer; says nothing about the credential."""

    def __init__(self) -> None:
        super().__init__("The identity provider cannot be reached now; try again later.")


class Fetcher:
    """Fetches with a connection pool of its own. ``close`` it at the end.

    ``seconds`` bounds the whole exchange, ``size`` the body in bytes.
    """

    def __init__(self, *, seconds: float, size: int) -> None:
        self._seconds = seconds
        self._size = size
        self._client = httpx2.AsyncClient(
            timeout=seconds,
            follow_redirects=False,
            limits=httpx2.Limits(max_connections=32, max_keepalive_connections=4),
        )

    async def get(self, url: str, headers: Mapping[str, str]) -> Fetched:
        """The answer; ``ProviderUnavailable`` where there is none, it is late, too
        large, or compressed against our wish (which could hide its size)."""
        request_headers = {**headers, "accept-encoding": "identity"}
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream("GET", url, headers=request_headers) as response,
            ):
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise ProviderUnavailable
                body = bytearray()
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > self._size:
                        raise ProviderUnavailable
                return Fetched(response.status_code, bytes(body))
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError):
            # `from None`: the error's text holds the URL, and with it a signature.
            raise ProviderUnavailable from None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
