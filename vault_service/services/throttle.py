"""Slows down failing callers: ten tries, then a wait that doubles (PCI-DSS 8.3.4).

Failures are counted by source in a sliding window that all workers share. A source that
is waiting is remembered here as well, so a flood costs no write per attempt. Nobody is
locked out: the wait refuses failing attempts and unverified network look-ups only, and
a right credential is taken from any source at any time.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from vault_service.domain.credentials import Throttle, source_key
from vault_service.domain.errors import VaultError
from vault_service.domain.ports import Clock

_REMEMBERED: Final = 10_000
"""Waiting sources kept in memory, so that many sources cannot fill it."""


@dataclass(frozen=True, slots=True)
class ThrottleLimits:
    """``attempts`` failures within ``window`` are free; then waits double from
    ``first_wait`` up to ``longest_wait``."""

    attempts: int = 10
    window: timedelta = timedelta(minutes=15)
    first_wait: timedelta = timedelta(seconds=30)
    longest_wait: timedelta = timedelta(minutes=15)

    def wait(self, failures: int) -> timedelta | None:
        """How long a source waits after that many failures; ``None``: not at all."""
        if failures <= self.attempts:
            return None
        doublings = min(failures - self.attempts - 1, 20)
        return min(self.first_wait * (1 << doublings), self.longest_wait)


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of a failed attempt: whether it was counted (one of a waiting source
    is not), and the seconds to wait, ``None`` where it may try again at once."""

    counted: bool
    retry_after: int | None


class AttemptLimiter:
    """Counts failed attempts and says who has to wait."""

    def __init__(
        self,
        throttle: Throttle,
        clock: Clock,
        limits: ThrottleLimits = ThrottleLimits(),
    ) -> None:
        self._throttle = throttle
        self._clock = clock
        self._limits = limits
        self._waiting: dict[str, datetime] = {}
        self._forgot_at = clock()

    async def failed(self, source: str) -> Counted:
        """Count a failed attempt of ``source`` (an address).

        Where the database is away the attempt stays a plain failure: it was refused
        already, and counting is all that is lost.
        """
        source = source_key(source)
        now = self._clock()
        left = self._left(source, now)
        if left is not None:
            return Counted(False, left)
        try:
            failures = await self._throttle.record(source, now, now - self._limits.window)
        except VaultError:
            return Counted(True, None)
        wait = self._limits.wait(failures.count)
        if wait is None:
            return Counted(True, None)
        return Counted(True, self._start_waiting(source, now, now + wait))

    async def must_wait(self, source: str) -> int | None:
        """Seconds that ``source`` still has to wait, by this worker's count or any
        other's; ``None`` where it need not."""
        source = source_key(source)
        now = self._clock()
        left = self._left(source, now)
        if left is not None:
            return left
        failures = await self._throttle.count(source, now - self._limits.window)
        wait = self._limits.wait(failures.count)
        if wait is None or failures.latest is None or failures.latest + wait <= now:
            return None
        return self._start_waiting(source, now, failures.latest + wait)

    async def forget(self) -> None:
        """Delete counts that no window reaches any more, once a window."""
        now = self._clock()
        if now - self._forgot_at >= self._limits.window:
            self._forgot_at = now
            await self._throttle.forget(now - self._limits.window)

    def _left(self, source: str, now: datetime) -> int | None:
        until = self._waiting.get(source)
        if until is None:
            return None
        if until <= now:
            del self._waiting[source]
            return None
        return math.ceil((until - now).total_seconds())

    def _start_waiting(self, source: str, now: datetime, until: datetime) -> int:
        self._waiting.pop(source, None)
        while len(self._waiting) >= _REMEMBERED:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[source] = until
        return math.ceil((until - now).total_seconds())
