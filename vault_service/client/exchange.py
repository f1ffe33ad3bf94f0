"""One request and its retries, without any I/O.

The client's logic is written once, as generators that yield a :class:`Call` and
receive an :class:`Answer` (or :class:`Lost`, where none came). ``transport.py`` drives
them, blocking or with asyncio; nothing else differs between the two clients.
"""

import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

import msgspec

from vault_service.client.errors import (
    RequestRefused,
    StrongroomError,
    UnexpectedAnswer,
    Unreachable,
)
from vault_service.domain.errors import RETRYABLE, Code, FieldError

T = TypeVar("T")

_RETRYABLE_STATUSES: Final = frozenset({429, 502, 503, 504})
_PROBLEM: Final = "application/problem+json"  # RFC 9457 3


@dataclass(frozen=True, slots=True)
class Call:
    """A request to make, ``delay`` seconds from now, waiting ``timeout`` seconds for
    each part of the answer (``None``: the client's own limit)."""

    method: str
    path: str
    content: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``headers`` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer came, for a ``reason`` that holds nothing of the request. With
    ``retryable`` false, the same would happen again."""

    reason: str
    retryable: bool = True


Steps = Generator[Call, Answer | Lost, T]


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how long to try.

    At most ``attempts`` requests for one batch, none started later than ``deadline``
    seconds after the first. Pauses have full jitter: random between 0 and ``first``
    doubled with every try, at most ``longest`` seconds; a ``Retry-After`` is added to
    it, and one that reaches past the deadline ends the tries at once.
    """

    attempts: int = 6
    deadline: float = 60.0
    first: float = 0.1
    longest: float = 5.0
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[float, float], float] = random.uniform


class Tries:
    """The tries left for one batch, over all its requests."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._ends_at = retry.clock() + retry.deadline
        self.made = 0

    def remaining(self) -> float:
        """Seconds until the deadline."""
        return self._ends_at - self._retry.clock()

    def pause(self, retry_after: float | None = None) -> float | None:
        """Seconds to wait before the next try, ``None`` where there is none left."""
        retry = self._retry
        if self.made >= retry.attempts:
            return None
        ceiling = min(retry.longest, retry.first * 2.0 ** max(0, self.made - 1))
        wait = (retry_after or 0.0) + retry.jitter(0.0, ceiling)
        return wait if wait < self.remaining() else None


class _Problem(msgspec.Struct, frozen=True):
    code: str
    detail: str = ""
    request_id: str | None = None
    errors: list[FieldError] = []


def decode(content: bytes, type: type[T]) -> T | None:
    """JSON as ``type``; ``None`` where it is not that."""
    try:
        return msgspec.json.decode(content, type=type)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _problem(answer: Answer) -> _Problem | None:
    return decode(answer.content, _Problem) if answer.media_type == _PROBLEM else None


def retry_after(answer: Answer) -> float | None:
    """Seconds that the service asks to wait (RFC 9110 10.2.3), if it does."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def refusal(answer: Answer) -> StrongroomError:
    """The error that an answer without a result stands for."""
    problem = _problem(answer)
    if problem is None:
        return UnexpectedAnswer(answer.status, answer.headers.get("x-request-id"))
    return RequestRefused(
        problem.code,
        problem.detail,
        status=answer.status,
        request_id=problem.request_id,
        errors=tuple(problem.errors),
        retry_after=retry_after(answer),
    )


def _worth_repeating(answer: Answer) -> bool:
    if answer.status < 400:
        return False
    problem = _problem(answer)
    code = problem.code if problem else None
    if code == Code.BUDGET_EXCEEDED:
        # Budgets refill over hours: only where the service says how soon.
        return "retry-after" in answer.headers
    if answer.status == 409:
        # Another try under the same key still runs; a 422 is a different body.
        return code == Code.IDEMPOTENCY_CONFLICT
    return answer.status in _RETRYABLE_STATUSES or code in RETRYABLE


def exchange(call: Call, tries: Tries) -> Steps[Answer]:
    """Make ``call`` until an answer comes that repeating would not better, or the
    tries run out; then the last answer counts. Raises :class:`Unreachable` where the
    last try had none. The call must be safe to repeat."""
    delay = call.delay
    while True:
        # The pause counts towards the deadline, but every try gets a second at least.
        limit = max(1.0, tries.remaining() - delay)
        outcome = yield replace(call, delay=delay, timeout=limit)
        tries.made += 1
        if isinstance(outcome, Answer):
            if not _worth_repeating(outcome):
                return outcome
            pause = tries.pause(retry_after(outcome))
            if pause is None:
                return outcome
        else:
            pause = tries.pause() if outcome.retryable else None
            if pause is None:
                raise Unreachable(outcome.reason, tries.made)
        delay = pause
