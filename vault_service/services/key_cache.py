"""Where plaintext keys live: in memory, for a bounded time, in a bounded number.

An entry is served until its expiry and never after it. Python cannot overwrite the
memory of an object it frees, so the only defence against a later memory dump is to
hold few keys for a short time: expired entries are dropped by a timer, not only when
somebody asks for them (PCI-DSS 3.6.1, 3.7.1).
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from vault_service.domain.errors import VaultError

MAX_TTL: Final = 300.0
"""Seconds that a plaintext key may stay in memory at the most."""
FAIL_FAST: Final = 1.0
"""Seconds for which a failed load is answered with the same failure."""
_MIN_SWEEP: Final = 0.05

Monotonic = Callable[[], float]
"""Seconds on a clock that never goes back; ``time.monotonic`` outside tests."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class KeyCache(Generic[K, V]):
    """Values by key, each until its own expiry; one load at a time for each key.

    ``ttl`` (at most 300 s) is counted from before the load, and the loader may ask for
    less. Beyond ``max_entries`` the entry that was loaded first goes. A failed load is
    not cached, but for ``fail_fast`` seconds others get the same failure at once, so
    that callers do not queue up behind a service that is away.
    """

    def __init__(
        self,
        *,
        ttl: float,
        max_entries: int,
        monotonic: Monotonic,
        fail_fast: float = FAIL_FAST,
    ) -> None:
        if not 0 < ttl <= MAX_TTL or max_entries < 1 or not 0 <= fail_fast <= FAIL_FAST:
            raise ValueError("a key cache is bounded: 300 s, one entry or more, 1 s fail-fast")
        self._ttl = ttl
        self._max_entries = max_entries
        self._monotonic = monotonic
        self._fail_fast = fail_fast
        self._entries: dict[K, tuple[float, V]] = {}
        self._failures: dict[K, tuple[float, VaultError]] = {}
        self._loads: dict[K, asyncio.Task[V]] = {}
        self._generation = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value, or ``None`` where there is none that has not expired."""
        entry = self._entries.get(key)
        if entry is None or self._monotonic() >= entry[0]:
            return None
        return entry[1]

    async def load(self, key: K, loader: Callable[[], Awaitable[tuple[V, float]]]) -> V:
        """The cached value, or the one that ``loader`` gives with its longest life in
        seconds. Raises what the loader raises."""
        found = self.get(key)
        if found is not None:
            return found
        failure = self._failures.get(key)
        if failure is not None:
            if self._monotonic() < failure[0]:
                raise _bare(failure[1])
            del self._failures[key]
        task = self._loads.get(key)
        if task is None:
            task = asyncio.create_task(self._load(key, loader))
            self._loads[key] = task
            task.add_done_callback(_retrieve)
        # Shielded: a caller that gives up must not take the others' load with it.
        return await asyncio.shield(task)

    async def _load(self, key: K, loader: Callable[[], Awaitable[tuple[V, float]]]) -> V:
        start = self._monotonic()
        generation = self._generation
        try:
            value, life = await loader()
        except VaultError as error:
            self._failures = {k: f for k, f in self._failures.items() if f[0] > start}
            self._failures[key] = (self._monotonic() + self._fail_fast, _bare(error))
            raise
        else:
            if generation == self._generation:
                self._keep(key, value, start + min(life, self._ttl))
            return value
        finally:
            if self._loads.get(key) is asyncio.current_task():
                del self._loads[key]

    def _keep(self, key: K, value: V, expires: float) -> None:
        self._entries.pop(key, None)
        while len(self._entries) >= self._max_entries:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (expires, value)
        if self._timer is None or expires < self._due:
            self._arm(expires)

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        delay = max(due - self._monotonic(), _MIN_SWEEP)
        self._timer = asyncio.get_running_loop().call_later(delay, self._sweep)

    def _sweep(self) -> None:
        now = self._monotonic()
        self._entries = {k: entry for k, entry in self._entries.items() if entry[0] > now}
        self._timer = None
        if self._entries:
            self._arm(min(expires for expires, _ in self._entries.values()))

    def discard(self, key: K) -> None:
        """Forget one value and one failure; a load under way is not affected."""
        self._entries.pop(key, None)
        self._failures.pop(key, None)

    def clear(self) -> None:
        """Forget everything, the results of loads under way included."""
        self._generation += 1
        self._entries.clear()
        self._failures.clear()
        self._loads.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _bare(error: VaultError) -> VaultError:
    """The same failure without its traceback, whose frames may hold a secret."""
    copy = error.__class__.__new__(error.__class__)
    copy.__dict__.update(error.__dict__)
    copy.args = error.args
    return copy


def _retrieve(task: "asyncio.Task[object]") -> None:
    """Take the exception of a load that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
