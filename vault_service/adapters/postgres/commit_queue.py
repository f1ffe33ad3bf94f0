"""Group commit: concurrent requests share transactions.

A commit costs a flush of the log to disk, whatever its size. Works that wait at the
same moment are put into one transaction, and each is answered only when that
transaction is durable. Where one work can have made the transaction of several fail,
each is run alone.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from vault_service.domain.errors import Code, VaultError


class Work(Protocol):
    """Something to be committed. ``tenant`` and ``weight`` (rows) decide what shares a
    transaction with it."""

    @property
    def tenant(self) -> str: ...

    @property
    def weight(self) -> int: ...


W = TypeVar("W", bound=Work)
R = TypeVar("R")

# Where one work can be the reason, so that the others deserve a try without it.
_PERHAPS_ONE: Final = frozenset({Code.AUDIT_UNAVAILABLE, Code.INTERNAL})


class CommitQueue(Generic[W, R]):
    """Runs works in shared transactions, ``width`` transactions at a time.

    ``transact`` takes works of one tenant and gives, in order, a result or the error of
    each. More than ``max_waiting`` works are refused with ``database_unavailable``.
    ``observe`` is told how many works share each transaction and how many wait.
    """

    def __init__(
        self,
        transact: Callable[[Sequence[W]], Awaitable[Sequence[R | VaultError]]],
        *,
        width: int = 2,
        max_weight: int = 2000,
        max_waiting: int = 4096,
        observe: Callable[[int, int], None] | None = None,
    ) -> None:
        self._transact = transact
        self._width = width
        self._max_weight = max_weight
        self._max_waiting = max_waiting
        self._observe = observe
        self._waiting: deque[tuple[W, asyncio.Future[R]]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, work: W) -> R:
        """The work's result, once durable; raises its :class:`VaultError`."""
        if len(self._waiting) >= self._max_waiting:
            raise VaultError(
                Code.DATABASE_UNAVAILABLE,
                "Too many requests wait for the database.",
                retry_after=1,
            )
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        if len(self._running) < self._width:
            task = asyncio.create_task(self._drain())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        # Shielded: a caller that goes away does not undo what others commit with it.
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Wait until nothing runs any more."""
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _drain(self) -> None:
        while self._waiting:
            taken = self._take()
            if self._observe is not None:
                self._observe(len(taken), len(self._waiting))
            await self._settle(taken)

    def _take(self) -> list[tuple[W, asyncio.Future[R]]]:
        first = self._waiting.popleft()
        taken = [first]
        weight = first[0].weight
        others: list[tuple[W, asyncio.Future[R]]] = []
        while self._waiting and weight < self._max_weight:
            entry = self._waiting.popleft()
            if entry[0].tenant == first[0].tenant and (
                weight + entry[0].weight <= self._max_weight
            ):
                taken.append(entry)
                weight += entry[0].weight
            else:
                others.append(entry)
        self._waiting.extendleft(reversed(others))
        return taken

    async def _settle(self, taken: list[tuple[W, asyncio.Future[R]]]) -> None:
        try:
            results = await self._transact([work for work, _ in taken])
        except VaultError as error:
            if len(taken) > 1 and error.code in _PERHAPS_ONE:
                for entry in taken:
                    await self._settle([entry])
                return
            for _, future in taken:
                _finish(future, error)
            return
        except BaseException as error:
            # Nobody may wait for ever, whatever happened.
            for _, future in taken:
                if not future.done():
                    future.set_exception(error)
            raise
        for (_, future), result in zip(taken, results, strict=True):
            _finish(future, result)


def _finish(future: "asyncio.Future[R]", result: R | VaultError) -> None:
    if future.done():
        return
    if isinstance(result, VaultError):
        future.set_exception(result)
    else:
        future.set_result(result)
