"""What a call of the client may raise.

No message here holds a value or a credential: a refusal carries the service's code
and constant text, a failure to reach the service carries the kind of failure only.
None of these errors has the HTTP library's own error (which holds the request and
its headers) as its cause or context.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vault_service.domain.errors import FieldError


class StrongroomError(Exception):
    """Base of everything the client raises on purpose."""


class ClientMisconfigured(StrongroomError):
    """Address or credential are missing or unsafe; the message says how to mend it."""


class ClientClosed(StrongroomError):
    """The client was closed before the call was done."""

    def __init__(self) -> None:
        super().__init__("the client is closed")


class Unreachable(StrongroomError):
    """No usable answer after ``attempts`` tries.

    ``reason`` is the kind of the last failure, e.g. ``ConnectError``. Whether the
    service acted on the request is not known; repeating it is safe.
    """

    def __init__(self, reason: str, attempts: int) -> None:
        super().__init__(f"no answer from the vault after {attempts} tries ({reason})")
        self.reason = reason
        self.attempts = attempts


class UnexpectedAnswer(StrongroomError):
    """An answer that the contract does not know: a proxy's page, or another service."""

    def __init__(self, status: int, request_id: str | None = None) -> None:
        super().__init__(f"the answer is not one of a Strongroom vault (status {status})")
        self.status = status
        self.request_id = request_id


class RequestRefused(StrongroomError):
    """The service answered with a problem document (RFC 9457).

    ``code`` is one of :class:`vault_service.domain.errors.Code`; ``errors`` name the
    fields and rules that were broken; ``retry_after`` is in seconds. ``status`` is 0
    where all items of a part of the work had this error, each by itself.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int,
        request_id: str | None = None,
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        named = "".join(f"; {error.field}: {error.detail}" for error in errors[:3])
        super().__init__(f"{code}: {detail}{named} (request {request_id or 'unknown'})")
        self.code = code
        self.detail = detail
        self.status = status
        self.request_id = request_id
        self.errors = errors
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class ItemFailure:
    """Why one item failed. ``index`` is its position in the call, from 0."""

    index: int
    reference: str | None
    code: str
    detail: str
    retryable: bool


class BatchError(StrongroomError):
    """Some (or all) items of a call failed.

    ``failures`` says which and why; ``results`` holds, in order, what the call would
    have returned, with ``None`` for the failed items. ``code`` is the most frequent
    code, ``request_ids`` name the requests in which items failed.
    """

    def __init__(
        self,
        failures: Sequence[ItemFailure],
        results: Sequence[str | None],
        request_ids: Sequence[str] = (),
    ) -> None:
        counts = Counter(failure.code for failure in failures).most_common()
        listed = ", ".join(f"{code} ({count})" for code, count in counts)
        super().__init__(
            f"{len(failures)} of {len(results)} items failed: {listed}; first at index "
            f"{failures[0].index}: {failures[0].detail} "
            f"(request {', '.join(request_ids[:3]) or 'unknown'})"
        )
        self.failures = tuple(failures)
        self._results = list(results)
        self.code = counts[0][0]
        self.request_ids = tuple(request_ids)

    @property
    def results(self) -> list[str | None]:
        """What succeeded, in order; after a detokenize call these are plain values."""
        return self._results
