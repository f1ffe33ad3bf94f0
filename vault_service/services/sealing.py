"""Sealing: audit events become leaves, and the tree is signed (RFC 6962 2.1, PCI-DSS 10.3.4).

One sealer works at a time, in whichever process holds the log; the others wait to take
over. About once a second it puts what was committed into the tree. It signs a checkpoint
where one is asked for, at a thousand new leaves, a minute after the last one, and at the
end. Each is shown to extend the one before it, and the copy that is kept elsewhere,
before it is signed: a log that was rolled back or rewritten is not signed again.

Nothing here holds up a request. What fails is told, counted, and tried again.
"""

import asyncio
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from vault_service.domain.checkpoints import Checkpoint, open_checkpoint
from vault_service.domain.errors import KeyUnavailable, VaultError
from vault_service.domain.merkle import (
    ProofInvalid,
    consistency_proof,
    tree_root,
    verify_consistency,
)
from vault_service.domain.notes import NoteError, VerifierKey, sign_line
from vault_service.domain.ports import Anchor, CheckpointSigner, Clock
from vault_service.domain.tiles import (
    MissingTile,
    TileNodes,
    TreeGrowth,
    edge_tiles,
    tiles_for_consistency,
    tiles_for_root,
)
from vault_service.domain.transparency import Sealing, SealingLog, StoredCheckpoint
from vault_service.services.anchoring import Copies, CopyObserver

_log = structlog.get_logger("strongroom.sealing")
ALARMING: Final = timedelta(minutes=5)
"""The age of an unsealed event at which people are to be called: sealing takes seconds."""
_ROUND_SECONDS: Final = 1.0
_BATCH: Final = 2000
"""Leaves a transaction: a few milliseconds of hashing, in which nothing else is served."""
_SIGN_LEAVES: Final = 1000
_SIGN_AFTER: Final = timedelta(seconds=60)
_DAILY: Final = timedelta(days=1)
_SIGN_AGAIN: Final = timedelta(seconds=5)
"""How long a signing key that was unavailable is left alone."""
_RETRY_SECONDS: Final = 5.0
_BROKEN_SECONDS: Final = 30.0
_LAST_SECONDS: Final = 10.0
_TURN_SECONDS: Final = 3.0


class LogBroken(Exception):
    """The tree does not contain what was signed before: it was rolled back or rewritten."""


class SealingObserver(CopyObserver, Protocol):
    """Counts what the sealer does."""

    def sealed(self, leaves: int) -> None:
        """So many events became leaves."""

    def signed(self) -> None:
        """A checkpoint was signed."""


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
        self._copies = Copies(anchor, observer, clock, self._compare)
        self._observer = observer
        self._origin = origin
        self._clock = clock
        self._round_seconds = round_seconds
        self._leads = False
        self._checked = False
        self._sealed = 0
        self._signed: Checkpoint | None = None
        self._sign_from = datetime.min.replace(tzinfo=UTC)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Seal until :meth:`stop`; never raises but for cancellation."""
        while True:
            pause = _RETRY_SECONDS
            try:
                async with self._log.lead() as sealing:
                    self._leads = True
                    _log.info("sealer_leads", process=os.getpid())
                    await self._lead(sealing)
                    return
            except VaultError as error:
                _log.error("sealing_failed", code=error.code.value)
            except (LogBroken, MissingTile, ProofInvalid) as error:
                # Loud until an operator has looked: this is what the log is there to show.
                _log.critical("audit_log_broken", error_class=type(error).__name__)
                self._observer.log_broken(True)
                pause = _BROKEN_SECONDS
            except Exception as error:  # noqa: BLE001  # a sealer that died would seal nothing
                _log.error("sealing_failed", error_class=type(error).__name__)
            finally:
                self._leads = False
            if self._stopping.is_set():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def stop(self, task: "asyncio.Task[None]") -> None:
        """End ``task``, which runs :meth:`run`: what was committed is sealed and signed
        first. Where another process leads, that one is waited for a little: it may be
        ending too, and have sealed its last before this one's last event."""
        self._stopping.set()
        await asyncio.wait([task], timeout=_LAST_SECONDS if self._leads else _TURN_SECONDS)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        self._copies.leave()

    async def seal_now(self) -> None:
        """Seal and sign what was committed, once, and keep the copies; raises what stands
        in the way: :class:`LogBroken`, and
        :class:`~vault_service.domain.transparency.Overtaken` where another process leads."""
        async with self._log.lead(wait=False) as sealing:
            try:
                await self._begin(sealing)
                while await self._seal(sealing):
                    pass
                await self._sign(sealing)
                await self._copies.settle(sealing)
            except (MissingTile, ProofInvalid):
                raise LogBroken from None

    async def _begin(self, sealing: Sealing) -> None:
        """Look at the log before the first change to it: what contradicts what was signed
        is left as it is found."""
        self._checked = False
        self._sealed = 0
        with suppress(KeyUnavailable):
            await self._check(sealing)

    async def _lead(self, sealing: Sealing) -> None:
        await self._begin(sealing)
        housekept = datetime.min.replace(tzinfo=UTC)
        while True:
            stopping = self._stopping.is_set()
            if self._clock() - housekept >= _DAILY:
                with suppress(VaultError):  # which was logged, and may wait a day
                    await sealing.ensure_partitions()
                housekept = self._clock()
            more = await self._seal(sealing)
            if stopping or await self._is_due(sealing):
                await self._try_to_sign(sealing)
            await self._copies.keep(sealing)
            if more:
                await asyncio.sleep(0)
            elif stopping:
                break
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), self._round_seconds)
        await self._copies.settle(sealing)

    async def _seal(self, sealing: Sealing) -> bool:
        """Put committed events into the tree; whether there may be more of them."""
        size = (await sealing.state()).size
        if size < self._sealed:
            raise LogBroken
        self._sealed = size
        leaves = await sealing.unsealed(_BATCH)
        if leaves:
            growth = TreeGrowth(size, await sealing.tiles(edge_tiles(size)))
            growth.extend([leaf.hash for leaf in leaves])
            await sealing.extend(size, leaves, growth.changed())
            self._observer.sealed(len(leaves))
        return len(leaves) >= _BATCH

    async def _is_due(self, sealing: Sealing) -> bool:
        """Whether the tree as it is now should be signed."""
        if self._clock() < self._sign_from:
            return False
        state = await sealing.state()
        newest = await sealing.newest_checkpoint()
        if newest is None:
            return state.size > 0
        return state.size > newest.size and (
            state.wanted > newest.size
            or state.size - newest.size >= _SIGN_LEAVES
            or self._clock() - newest.created_at >= _SIGN_AFTER
        )

    async def _try_to_sign(self, sealing: Sealing) -> None:
        """Sign; where the key is unavailable, sealing goes on without for a while."""
        try:
            await self._sign(sealing)
        except KeyUnavailable:
            _log.error("signing_failed")
            self._sign_from = self._clock() + _SIGN_AGAIN

    async def _sign(self, sealing: Sealing) -> None:
        """Sign the tree as it is now, which is shown to extend what was signed before."""
        if not self._checked:
            await self._check(sealing)
        size = (await sealing.state()).size
        newest = await sealing.newest_checkpoint()
        if size == 0 or (newest is not None and newest.size == size):
            return
        key = await self._signer.open()
        root = await self._root(sealing, size)
        if self._signed is not None:
            await self._hold(sealing, self._signed)
        if newest is not None:
            old = self._opened(newest.note, key, newest.size)
            nodes = TileNodes(await sealing.tiles(tiles_for_consistency(old.size, size)))
            proof = consistency_proof(old.size, size, nodes.node)
            verify_consistency(old.size, old.root, size, root, proof)  # RFC 6962 2.1.2
        signed = Checkpoint(self._origin, size, root)
        text = signed.text()
        signature = await self._signer.sign(text.encode())
        note = f"{text}\n{sign_line(key.name, key.key_id, signature)}"
        await sealing.keep_checkpoint(StoredCheckpoint(size, note, self._clock()))
        self._signed = signed
        self._observer.signed()

    async def _check(self, sealing: Sealing) -> None:
        """Hold the tree against the newest checkpoint in the database, against the copy
        that is kept elsewhere, and against what this process signed."""
        key = await self._signer.open()
        newest = await sealing.newest_checkpoint()
        if newest is not None:
            await self._hold(sealing, self._opened(newest.note, key, newest.size))
        if self._signed is not None:
            await self._hold(sealing, self._signed)
        await self._copies.check(sealing)
        self._checked = True
        self._observer.log_broken(False)

    async def _compare(self, sealing: Sealing, note: str) -> None:
        await self._hold(sealing, self._opened(note, await self._signer.open()))

    async def _hold(self, sealing: Sealing, old: Checkpoint) -> None:
        """Raise :class:`LogBroken` unless the tree begins with that of ``old``."""
        size = (await sealing.state()).size
        if old.size > size or old.root != await self._root(sealing, old.size):
            raise LogBroken

    def _opened(self, note: str, key: VerifierKey, size: int | None = None) -> Checkpoint:
        """A signed checkpoint, of a tree of ``size``; :class:`LogBroken` where it is none."""
        try:
            checkpoint = open_checkpoint(note, key, self._origin)
        except NoteError:
            raise LogBroken from None
        if size not in (None, checkpoint.size):
            raise LogBroken
        return checkpoint

    async def _root(self, sealing: Sealing, size: int) -> bytes:
        nodes = TileNodes(await sealing.tiles(tiles_for_root(size)))
        return tree_root(size, nodes.node)
