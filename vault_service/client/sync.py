"""The blocking client."""

import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
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
from vault_service.client.transport import BlockingTransport

T = TypeVar("T")


class Client:
    """Talks to one vault; safe to share between threads, to be closed after use.

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
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        place = endpoint(
            url, token, timeout=timeout, tls=ssl_context, allow_insecure=allow_insecure
        )
        self._transport = BlockingTransport(place, concurrency, transport)
        self._retry = retry or Retry()
        self._batch_size = calls.checked_batch_size(batch_size)

    @property
    def retry(self) -> Retry:
        """The bounds of the retries of every call."""
        return self._retry

    @property
    def batch_size(self) -> int:
        """The most items that a request gets."""
        return self._batch_size

    def tokenize(
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
            self.tokenize_items(items, mode=mode, idempotency_key=idempotency_key)
        )

    def tokenize_items(
        self,
        items: Sequence[TokenizeItem],
        *,
        mode: Mode = "partial",
        idempotency_key: str | None = None,
    ) -> BatchResult[TokenizedItem]:
        """Store values of any classes; failed items are in the result, not raised."""
        key = operations.new_key() if idempotency_key is None else idempotency_key
        plan = calls.plan_tokenize(items, mode, key, self._retry, self._batch_size)
        return plan.finish(self._transport.run_all(plan.steps))

    def detokenize(
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
        return calls.outcomes(self.detokenize_items(items, purpose=purpose, case=case))

    def detokenize_items(
        self, items: Sequence[DetokenizeItem], *, purpose: str, case: str | None = None
    ) -> BatchResult[DetokenizedItem]:
        """Resolve tokens in any forms; failed items are in the result, not raised."""
        plan = calls.plan_detokenize(items, purpose, case, self._retry, self._batch_size)
        return plan.finish(self._transport.run_all(plan.steps))

    def lookup(self, data_class: str, value: str) -> str | None:
        """The token of a value that is stored already, else ``None``."""
        return self._transport.run(operations.lookup(data_class, value, self._retry))

    def describe(self, token: str) -> TokenDescription:
        """What is stored beside the value; refused with ``not_found`` if nothing is."""
        return self._transport.run(operations.describe(token, self._retry))

    def delete(self, token: str) -> None:
        """Delete the token and its value; refused with ``not_found`` if unknown."""
        self._transport.run(operations.delete(token, self._retry))

    def catalog(self) -> CatalogInfo:
        """The data classes and purposes that the vault knows."""
        return self._transport.run(operations.catalog(self._retry))

    def whoami(self) -> PrincipalInfo:
        """Who the vault thinks the caller is."""
        return self._transport.run(operations.whoami(self._retry))

    def explain(
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
        return self._transport.run(operations.explain(question, self._retry))

    def audit_events(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Audit events that match, page by page as they are asked for. Filters:
        ``principal, action, outcome, data_class, token, subject, purpose, from_, to,
        limit`` (events a page, at most 1000)."""
        query = calls.audit_query(filters)
        while True:
            page = self._transport.run(operations.audit_page(query, self._retry))
            yield from page.events
            if not page.next_cursor:
                return
            query["cursor"] = page.next_cursor

    def receipt(self, event_id: str) -> str:
        """The proof that an event (of ``event_ids``) is in the log: it holds the event and
        verifies alone, with ``strongroom audit verify``. Waits some seconds where it is new."""
        return self._transport.run(operations.receipt(event_id, self._retry))

    def audit_checkpoint(self) -> str:
        """The log's newest signed checkpoint. Keep it: it shows later that the log was
        neither rolled back nor rewritten."""
        return self._transport.run(operations.checkpoint(self._retry))

    def audit_key(self) -> str:
        """The key that the log's checkpoints are verified with; compare it by another way."""
        return self._transport.run(operations.verifier_key(self._retry))

    def run(self, steps: Steps[T]) -> T:
        """What steps of this package return, run on this thread; raises what they raise."""
        return self._transport.run(steps)

    def run_all(self, many: Sequence[Steps[T]]) -> list[T]:
        """Run steps of this package (``arrow``, ``operations``) side by side; their
        results in order. The first failure is raised and stops the rest."""
        return self._transport.run_all(many)

    def stream(self, path: str, accept: str) -> Iterator[bytes]:
        """What ``GET`` of ``path`` answers, piece by piece as it comes, in the media type
        ``accept``. ``Unreachable`` where it breaks off; it is not tried again."""
        return self._transport.stream(path, accept)

    def submit(self, steps: Steps[T]) -> "Future[T]":
        """Run steps of ``client.operations`` on one of the client's own threads."""
        return self._transport.submit(steps)

    def close(self) -> None:
        """Wait for running requests and close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
