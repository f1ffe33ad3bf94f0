"""The client for asyncio; the same calls as the blocking one, to be awaited."""

import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from vault_service.client import calls, operations
from vault_service.client.calls import Mode, Tags
from vault_service.client.credentials import Credentials
from vault_service.client.endpoint import endpoint
from vault_service.client.exchange import Retry, Steps
from vault_service.client.results import (
    BatchResult,
    CatalogInfo,
    DetokenizedItem,
    DetokenizeItem,
    Explanation,
    PrincipalInfo,
    TokenDescription,
    TokenizedItem,
    TokenizeItem,
)
from vault_service.client.transport import AsyncTransport

T = TypeVar("T")


class AsyncClient:
    """Talks to one vault; to be used in one event loop and closed after use.

    ``url`` and ``token`` come from ``STRONGROOM_URL`` and ``STRONGROOM_TOKEN`` where
    they are not given; ``token`` may be a function that returns a fresh one. A call
    with more than ``batch_size`` items becomes several requests, ``concurrency`` of
    them at once, with results in order. ``timeout`` is in seconds, for connecting
    (at most 5) and for each wait on the network; ``retry`` bounds all tries together.
    ``ssl_context`` replaces the platform's trust, ``transport`` the network (tests).

    Every method raises :class:`~vault_service.client.errors.RequestRefused` where the
    service refuses the request as a whole, ``Unreachable`` where no answer came, and
    ``UnexpectedAnswer`` where the answer is not a vault's. Those that return plain
    lists raise ``BatchError`` where any item failed.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | Callable[[], str] | Credentials | None = None,
        *,
        batch_size: int = 1000,
        concurrency: int = 4,
        timeout: float = 30.0,
        retry: Retry | None = None,
        ssl_context: ssl.SSLContext | None = None,
        allow_insecure: bool = False,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        place = endpoint(
            url, token, timeout=timeout, tls=ssl_context, allow_insecure=allow_insecure
        )
        self._transport = AsyncTransport(place, concurrency, transport)
        self._retry = retry or Retry()
        self._batch_size = calls.checked_batch_size(batch_size)

    @property
    def retry(self) -> Retry:
        """The bounds of the retries of every call."""
        return self._retry

    async def tokenize(
        self,
        data_class: str,
        values: Iterable[str],
        *,
        subjects: Iterable[str | None] | None = None,
        tags: Tags | Iterable[Tags | None] | None = None,
        references: Iterable[str | None] | None = None,
        expires_in: int | None = None,
        mode: Mode = "partial",
        idempotency_key: str | None = None,
    ) -> list[str]:
        """Store values of one class and return their tokens in order.

        ``subjects``, ``references`` and ``tags`` have an entry for each value (or
        ``tags`` one mapping for all); ``expires_in`` is in seconds. With your own
        ``idempotency_key`` the same call can be repeated within 24 hours, also by
        another process, and gives the same tokens.
        """
        items = calls.tokenize_items(data_class, values, subjects, tags, references, expires_in)
        return calls.outcomes(
            await self.tokenize_items(items, mode=mode, idempotency_key=idempotency_key)
        )

    async def tokenize_items(
        self,
        items: Sequence[TokenizeItem],
        *,
        mode: Mode = "partial",
        idempotency_key: str | None = None,
    ) -> BatchResult[TokenizedItem]:
        """Store values of any classes; failed items are in the result, not raised."""
        key = operations.new_key() if idempotency_key is None else idempotency_key
        plan = calls.plan_tokenize(items, mode, key, self._retry, self._batch_size)
        return plan.finish(await self._transport.run_all(plan.steps))

    async def detokenize(
        self,
        tokens: Iterable[str],
        *,
        purpose: str,
        form: str = "masked",
        case: str | None = None,
    ) -> list[str]:
        """The values of the tokens in order, in the form asked for. ``purpose`` is one
        of the catalog's; ``case`` names the matter, for the audit log."""
        items = calls.detokenize_items(tokens, form, None)
        return calls.outcomes(await self.detokenize_items(items, purpose=purpose, case=case))

    async def detokenize_items(
        self, items: Sequence[DetokenizeItem], *, purpose: str, case: str | None = None
    ) -> BatchResult[DetokenizedItem]:
        """Resolve tokens in any forms; failed items are in the result, not raised."""
        plan = calls.plan_detokenize(items, purpose, case, self._retry, self._batch_size)
        return plan.finish(await self._transport.run_all(plan.steps))

    async def lookup(self, data_class: str, value: str) -> str | None:
        """The token of a value that is stored already, else ``None``."""
        return await self._transport.run(operations.lookup(data_class, value, self._retry))

    async def describe(self, token: str) -> TokenDescription:
        """What is stored beside the value; refused with ``not_found`` if nothing is."""
        return await self._transport.run(operations.describe(token, self._retry))

    async def delete(self, token: str) -> None:
        """Delete the token and its value; refused with ``not_found`` if unknown."""
        await self._transport.run(operations.delete(token, self._retry))

    async def catalog(self) -> CatalogInfo:
        """The data classes and purposes that the vault knows."""
        return await self._transport.run(operations.catalog(self._retry))

    async def whoami(self) -> PrincipalInfo:
        """Who the vault thinks the caller is."""
        return await self._transport.run(operations.whoami(self._retry))

    async def explain(
        self,
        action: str,
        data_class: str | None = None,
        *,
        purpose: str | None = None,
        form: str | None = None,
        tags: Tags | None = None,
        item_count: int | None = None,
    ) -> Explanation:
        """How the policies would decide on the caller's own request; reveals nothing."""
        question = calls.question(action, data_class, purpose, form, tags, item_count)
        return await self._transport.run(operations.explain(question, self._retry))

    async def audit_events(self, **filters: Any) -> AsyncIterator[dict[str, Any]]:
        """Audit events that match, page by page as they are asked for. Filters:
        ``principal, action, outcome, data_class, token, subject, purpose, from_, to,
        limit`` (events a page, at most 1000)."""
        query = calls.audit_query(filters)
        while True:
            page = await self._transport.run(operations.audit_page(query, self._retry))
            for event in page.events:
                yield event
            if not page.next_cursor:
                return
            query["cursor"] = page.next_cursor

    async def receipt(self, event_id: str) -> str:
        """The proof that an event (of ``event_ids``) is in the log: it holds the event and
        verifies alone, with ``strongroom audit verify``. Waits some seconds where it is new."""
        return await self._transport.run(operations.receipt(event_id, self._retry))

    async def audit_checkpoint(self) -> str:
        """The log's newest signed checkpoint. Keep it: it shows later that the log was
        neither rolled back nor rewritten."""
        return await self._transport.run(operations.checkpoint(self._retry))

    async def audit_key(self) -> str:
        """The key that the log's checkpoints are verified with; compare it by another way."""
        return await self._transport.run(operations.verifier_key(self._retry))

    async def run(self, steps: Steps[T]) -> T:
        """What steps of this package return; raises what they raise."""
        return await self._transport.run(steps)

    async def run_all(self, many: Sequence[Steps[T]]) -> list[T]:
        """Run steps of this package (``arrow``, ``operations``) side by side; their
        results in order. The first failure is raised and stops the rest."""
        return await self._transport.run_all(many)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
