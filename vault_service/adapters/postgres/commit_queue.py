"""Group commit: concurrent requests share transactions.

A commit costs a flush of the log to disk, whatever its size. Works that wait at the
same moment are put into one transaction, and each is answered only when that
transaction is durable. Where one work can have made the transaction of several fail,
each is run alone.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

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

HEAVY: Final = 128
"""Rows from which on a work has a transaction to itself."""


@dataclass(slots=True)
class _Entry(Generic[W, R]):
    work: W
    future: "asyncio.Future[R]"


class CommitQueue(Generic[W, R]):
    """Runs works in shared transactions.

    ``transact`` takes works of one tenant and gives, in order, a result or the error of
    each. Light works gather while one transaction of light works runs: at most one at a
    time, so that the next holds as many as came meanwhile. A heavy work (``HEAVY`` rows
    or more) fills a transaction alone and holds up no light one; ``width`` transactions
    run at the most. More than ``max_waiting`` works are refused with
    ``database_unavailable``. ``observe`` is told how many works share each transaction
    and how many wait.
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
        self._light: deque[_Entry[W, R]] = deque()
        self._heavy: deque[_Entry[W, R]] = deque()
        self._light_runs = False
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, work: W) -> R:
        """The work's result, once durable; raises its :class:`VaultError`.

        A caller that goes away undoes nothing: the work is committed with the others.
        """
        if len(self._light) + len(self._heavy) >= self._max_waiting:
            raise VaultError(
                Code.DATABASE_UNAVAILABLE,
                "Too many requests wait for the database.",
                retry_after=1,
            )
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        (self._heavy if work.weight >= HEAVY else self._light).append(_Entry(work, future))
        self._start()
        return await future

    async def settle(self) -> None:
        """Wait until nothing waits or runs any more."""
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    def _start(self) -> None:
        """Start as many transactions as there may be."""
        if self._light and not self._light_runs and len(self._running) < self._width:
            self._light_runs = True
            self._spawn(self._run_light())
        # One place is kept for light works, which heavy ones must not hold up.
        while self._heavy and len(self._running) - self._light_runs < self._width - 1:
            self._spawn(self._run([self._heavy.popleft()]))

    def _spawn(self, run: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(run)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._start()

    async def _run_light(self) -> None:
        try:
            while self._light:
                await self._run(self._gather())
        finally:
            self._light_runs = False

    async def _run(self, taken: list[_Entry[W, R]]) -> None:
        if self._observe is not None:
            self._observe(len(taken), len(self._light) + len(self._heavy))
        await self._settle(taken)

    def _gather(self) -> list[_Entry[W, R]]:
        first = self._light.popleft()
        taken = [first]
        weight = first.work.weight
        others: list[_Entry[W, R]] = []
        while self._light and weight < self._max_weight:
            entry = self._light.popleft()
            if entry.work.tenant == first.work.tenant:
                taken.append(entry)
                weight += entry.work.weight
            else:
                others.append(entry)
        self._light.extendleft(reversed(others))
        return taken

    async def _settle(self, taken: list[_Entry[W, R]]) -> None:
        try:
            results = await self._transact([entry.work for entry in taken])
        except VaultError as error:
            # Where the database is away it is so for all; else one work can be the reason
            # (its event, its key), and the others deserve a try without it.
            if len(taken) > 1 and error.code is not Code.DATABASE_UNAVAILABLE:
                for entry in taken:
                    await self._settle([entry])
                return
            for entry in taken:
                _finish(entry.future, error)
            return
        except BaseException as error:
            # Nobody may wait for ever, whatever happened.
            for entry in taken:
                if not entry.future.done():
                    entry.future.set_exception(error)
            raise
        for entry, result in zip(taken, results, strict=True):
            _finish(entry.future, result)


def _finish(future: "asyncio.Future[R]", result: R | VaultError) -> None:
    if future.done():
        return
    if isinstance(result, VaultError):
        future.set_exception(result)
    else:
        future.set_result(result)
