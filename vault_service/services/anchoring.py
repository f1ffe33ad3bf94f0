"""Copies of signed checkpoints, kept where the database's owner cannot change them
(PCI-DSS 10.3.3).

Keeping one may take long or fail: it is done in a task of its own, so that sealing never
waits for it, and tried again for as long as it takes. Before the first is kept the tree
is held against the newest that is there: copies of a tree that was rolled back while they
could not be reached would hide that it was.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

import structlog

from vault_service.domain.errors import CheckpointConflict, KeyUnavailable, VaultError
from vault_service.domain.ports import Anchor, Clock
from vault_service.domain.transparency import Sealing, StoredCheckpoint

_AT_ONCE: Final = 100
_log = structlog.get_logger("strongroom.sealing")

Compare = Callable[[Sealing, str], Awaitable[None]]
"""Holds the tree against a signed checkpoint; raises where it contradicts it."""


class CopyObserver(Protocol):
    """Counts what becomes of copies."""

    def anchor_failed(self) -> None:
        """No copy of a checkpoint could be kept elsewhere."""

    def log_broken(self, broken: bool) -> None:
        """Whether the tree contradicts what was signed before."""


class _Found(NamedTuple):
    """Sizes of the checkpoints that were kept; or, where it was ``asked`` for, the
    ``newest`` that is there, if any."""

    sizes: Sequence[int] = ()
    asked: bool = False
    newest: str | None = None


class Copies:
    """The copies of one process's sealer, over all its leads."""

    def __init__(
        self, anchor: Anchor, observer: CopyObserver, clock: Clock, compare: Compare
    ) -> None:
        self._anchor = anchor
        self._observer = observer
        self._clock = clock
        self._compare = compare
        self._compared = False
        self._task: asyncio.Task[_Found] | None = None

    async def check(self, sealing: Sealing) -> None:
        """Hold the tree against the newest copy. One that cannot be had now is asked for
        again before others are kept."""
        self._compared = False
        await self._hold(sealing, await self._newest())

    async def keep(self, sealing: Sealing) -> None:
        """Have copies of new checkpoints kept, without waiting for it; note those that are."""
        if self._task is not None:
            if not self._task.done():
                return
            await self._note(sealing)
        loose = await sealing.loose_checkpoints(_AT_ONCE)
        if loose:
            self._task = asyncio.create_task(
                self._keep(loose) if self._compared else self._newest()
            )

    async def settle(self, sealing: Sealing) -> None:
        """Wait for the copies that are under way, and keep those that are left."""
        await self._note(sealing)
        # Twice, where the first only asks what is there.
        for _ in range(1 if self._compared else 2):
            await self.keep(sealing)
            await self._note(sealing)

    def leave(self) -> None:
        """Wait for nothing more."""
        if self._task is not None:
            self._task.cancel()

    async def _newest(self) -> _Found:
        try:
            return _Found(asked=True, newest=await self._anchor.newest())
        except VaultError:
            self._failed()
            return _Found()

    async def _keep(self, loose: Sequence[StoredCheckpoint]) -> _Found:
        kept: list[int] = []
        for checkpoint in loose:
            try:
                await self._anchor.keep(checkpoint.size, checkpoint.note)
            except CheckpointConflict:
                # Another tree of this size was signed and kept: the log was rewritten.
                self._observer.log_broken(True)
                self._compared = False
                break
            except VaultError:
                self._failed()
                break
            kept.append(checkpoint.size)
        return _Found(kept)

    async def _note(self, sealing: Sealing) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        found = await task
        for size in found.sizes:
            await sealing.anchored(size, self._clock())
        # Without the log's key there is nothing to compare by; it is asked for again.
        with suppress(KeyUnavailable):
            await self._hold(sealing, found)

    async def _hold(self, sealing: Sealing, found: _Found) -> None:
        if found.asked:
            if found.newest is not None:
                await self._compare(sealing, found.newest)
            self._compared = True

    def _failed(self) -> None:
        _log.error("anchor_failed")
        self._observer.anchor_failed()
