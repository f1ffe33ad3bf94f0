"""Sealing: audit events become leaves, and the tree is signed (RFC 6962 2.1, PCI-DSS 10.3.4).

One sealer works at a time, in whichever process holds the log; the others wait to take
over. About once a second it puts what was committed into the tree. It signs a checkpoint
where one is asked for, at a thousand new leaves, a minute after the last one, and at the
end. Each is shown to extend the one before it, and the copy that is kept elsewhere,
before it is signed: a log that was rolled back or rewritten is not signed again.

Nothing here holds up a request. What fails is told, counted, and tried again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from vault_service.domain.checkpoints import Checkpoint, open_checkpoint
from vault_service.domain.errors import VaultError
from vault_service.domain.merkle import (
    ProofInvalid,
    consistency_proof,
    tree_root,
    verify_consistency,
)
from vault_service.domain.notes import NoteError, sign_line
from vault_service.domain.ports import Anchor, CheckpointSigner, Clock
from vault_service.domain.tiles import (
    MissingTile,
    TileNodes,
    TreeGrowth,
    edge_tiles,
    tiles_for_consistency,
    tiles_for_root,
)
from vault_service.domain.transparency import Overtaken, Sealing, SealingLog, StoredCheckpoint

_log = structlog.get_logger("strongroom.sealing")
_ROUND_SECONDS: Final = 1.0
_BATCH: Final = 2000
"""Leaves a transaction: a few milliseconds of hashing, in which nothing else is served."""
_SIGN_LEAVES: Final = 1000
_SIGN_AFTER: Final = timedelta(seconds=60)
_RETRY_SECONDS: Final = 5.0
_BROKEN_SECONDS: Final = 30.0
_LAST_SECONDS: Final = 10.0


class LogBroken(Exception):
    """The tree does not contain what was signed before: it was rolled back or rewritten."""


class SealingObserver(Protocol):
    """Counts what the sealer does."""

    def sealed(self, leaves: int) -> None:
        """So many events became leaves."""

    def signed(self, size: int) -> None:
        """A checkpoint of this size was signed."""

    def anchor_failed(self) -> None:
        """No copy of a checkpoint could be kept elsewhere."""

    def log_broken(self, broken: bool) -> None:
        """Whether the tree contradicts what was signed before."""


class Sealer:
    """One process's candidate. ``origin`` names the log in its checkpoints."""

    def __init__(
        self,
        log: SealingLog,
        signer: CheckpointSigner,
        anchor: Anchor,
        observer: SealingObserver,
        *,
        origin: str,
        clock: Clock,
        round_seconds: float = _ROUND_SECONDS,
    ) -> None:
        self._log = log
        self._signer = signer
        self._anchor = anchor
        self._observer = observer
        self._origin = origin
        self._clock = clock
        self._round_seconds = round_seconds
        self._leads = False
        self._stopping = asyncio.Event()
        self._anchoring: asyncio.Task[list[int]] | None = None

    async def run(self) -> None:
        """Seal until :meth:`stop`; never raises but for cancellation."""
        while not self._stopping.is_set():
            pause = _RETRY_SECONDS
            try:
                async with self._log.lead() as sealing:
                    self._leads = True
                    await self._lead(sealing)
            except Overtaken:
                _log.warning("sealer_overtaken")
            except VaultError as error:
                _log.error("sealing_failed", code=error.code.value)
            except (LogBroken, MissingTile, ProofInvalid) as error:
                # Loud until an operator has looked: this is what the log is there to show.
                _log.critical("audit_log_broken", error_class=type(error).__name__)
                self._observer.log_broken(True)
                pause = _BROKEN_SECONDS
            finally:
                self._leads = False
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def stop(self, task: "asyncio.Task[None]") -> None:
        """End ``task``, which runs :meth:`run`: what was committed is sealed and signed
        first, where this process leads."""
        self._stopping.set()
        if self._leads:
            await asyncio.wait([task], timeout=_LAST_SECONDS)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def seal_now(self) -> None:
        """Seal and sign what was committed, once, and keep the copies; raises what stands
        in the way."""
        async with self._log.lead() as sealing:
            await self._check(sealing)
            while await self._round(sealing, sign=True):
                pass
            await self._settle_anchors(sealing)

    async def _lead(self, sealing: Sealing) -> None:
        await self._check(sealing)
        self._observer.log_broken(False)
        while True:
            stopping = self._stopping.is_set()
            more = await self._round(sealing, sign=stopping)
            if more:
                await asyncio.sleep(0)
            elif stopping:
                break
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), self._round_seconds)
        await self._settle_anchors(sealing)

    async def _check(self, sealing: Sealing) -> None:
        """Hold the tree against the newest checkpoint in the database and against the copy
        that is kept elsewhere."""
        state = await sealing.state()
        newest = await sealing.newest_checkpoint()
        kept = [] if newest is None else [newest.note]
        try:
            copy = await self._anchor.newest()
        except VaultError:
            self._anchor_failed()
        else:
            kept += [] if copy is None else [copy]
        for note in kept:
            try:
                old = open_checkpoint(note, self._signer.key, self._origin)
            except NoteError:
                raise LogBroken from None
            if old.size > state.size or old.root != await self._root(sealing, old.size):
                raise LogBroken

    async def _round(self, sealing: Sealing, *, sign: bool) -> bool:
        """Put committed events into the tree; whether there may be more of them."""
        state = await sealing.state()
        size = state.size
        leaves = await sealing.unsealed(_BATCH)
        if leaves:
            growth = TreeGrowth(size, await sealing.tiles(edge_tiles(size)))
            growth.extend([leaf.hash for leaf in leaves])
            await sealing.extend(size, leaves, growth.changed())
            self._observer.sealed(len(leaves))
            size = growth.size
        newest = await sealing.newest_checkpoint()
        if size > 0 and (newest is None or size > newest.size):
            signed, at = (0, datetime.min) if newest is None else (newest.size, newest.created_at)
            if (
                sign
                or newest is None
                or state.wanted > signed
                or size - signed >= _SIGN_LEAVES
                or self._clock() - at >= _SIGN_AFTER
            ):
                await self._sign(sealing, size, newest)
        await self._keep_copies(sealing)
        return len(leaves) >= _BATCH

    async def _sign(self, sealing: Sealing, size: int, previous: StoredCheckpoint | None) -> None:
        """Sign the tree at ``size``, which is shown to extend ``previous``."""
        root = await self._root(sealing, size)
        if previous is not None:
            old = open_checkpoint(previous.note, self._signer.key, self._origin)
            nodes = TileNodes(await sealing.tiles(tiles_for_consistency(old.size, size)))
            proof = consistency_proof(old.size, size, nodes.node)
            verify_consistency(old.size, old.root, size, root, proof)  # RFC 6962 2.1.2
        text = Checkpoint(self._origin, size, root).text()
        key = self._signer.key
        signature = await self._signer.sign(text.encode())
        note = f"{text}\n{sign_line(key.name, key.key_id, signature)}"
        await sealing.keep_checkpoint(StoredCheckpoint(size, note, self._clock()))
        self._observer.signed(size)

    async def _root(self, sealing: Sealing, size: int) -> bytes:
        nodes = TileNodes(await sealing.tiles(tiles_for_root(size)))
        return tree_root(size, nodes.node)

    async def _keep_copies(self, sealing: Sealing) -> None:
        """Have copies of new checkpoints kept elsewhere (PCI-DSS 10.3.3), in a task of its
        own, since that may take long; note those that are."""
        if self._anchoring is not None:
            if not self._anchoring.done():
                return
            await self._note_copies(sealing)
        loose = await sealing.loose_checkpoints(100)
        if loose:
            self._anchoring = asyncio.create_task(self._keep(loose))

    async def _keep(self, loose: Sequence[StoredCheckpoint]) -> list[int]:
        kept: list[int] = []
        for checkpoint in loose:
            try:
                await self._anchor.keep(checkpoint.size, checkpoint.note)
            except VaultError:
                self._anchor_failed()
                break
            kept.append(checkpoint.size)
        return kept

    async def _note_copies(self, sealing: Sealing) -> None:
        task, self._anchoring = self._anchoring, None
        if task is not None:
            for size in await task:
                await sealing.anchored(size, self._clock())

    async def _settle_anchors(self, sealing: Sealing) -> None:
        """Wait for the copies that are under way, and keep those that are left."""
        await self._note_copies(sealing)
        await self._keep_copies(sealing)
        await self._note_copies(sealing)

    def _anchor_failed(self) -> None:
        _log.error("anchor_failed")
        self._observer.anchor_failed()
