"""What the transparency log needs from storage, as protocols that adapters meet.

The log is a Merkle tree (RFC 6962 2.1) over the audit events, in the order in which they
were committed as far as a sealer can see: each round takes whatever was committed since
the last, by position. Sizes and leaf indexes count events from 0.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from vault_service.domain.archives import Month
from vault_service.domain.bundle import Reason
from vault_service.domain.tiles import TileId


@dataclass(frozen=True, slots=True)
class Leaf:
    """A committed event on its way into the tree: its place in the table, its time (UTC)
    and the hash of its canonical bytes (RFC 6962 2.1, 32 bytes)."""

    position: int
    occurred_at: datetime
    hash: bytes


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed checkpoint of the tree at ``size`` leaves, as a signed note."""

    size: int
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TreeState:
    """The tree as committed: ``size`` leaves, of which a proof for the first ``wanted`` has
    been asked for."""

    size: int
    wanted: int


class Overtaken(Exception):
    """Another sealer leads, or the connection that led was lost; nothing was written."""


class TreeReader(Protocol):
    """Reads the tree."""

    async def tiles(self, ids: Collection[TileId]) -> Mapping[TileId, bytes]:
        """Those of the tiles that exist."""

    async def newest_checkpoint(self) -> StoredCheckpoint | None:
        """The signed checkpoint of the largest tree."""


class Sealing(TreeReader, Protocol):
    """The log in the hands of the one sealer that leads. Where its connection was lost, and
    so the lead, every method raises ``database_unavailable``."""

    async def state(self) -> TreeState:
        """The tree as committed."""

    async def unsealed(self, limit: int) -> Sequence[Leaf]:
        """Committed events that are in no leaf yet, by position."""

    async def extend(
        self, old_size: int, leaves: Sequence[Leaf], tiles: Mapping[TileId, bytes]
    ) -> None:
        """Add the leaves from ``old_size`` on and write the tiles, in one transaction.
        Raises :class:`Overtaken`, and writes nothing, where the tree has another size."""

    async def keep_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """Make a signed checkpoint durable."""

    async def loose_checkpoints(self, limit: int) -> Sequence[StoredCheckpoint]:
        """Checkpoints of which no copy is kept elsewhere yet, smallest first."""

    async def anchored(self, size: int, at: datetime) -> None:
        """A copy of the checkpoint of this size is kept elsewhere since ``at``."""

    async def ensure_partitions(self) -> None:
        """Make what events of this month (UTC) and the next three are kept in, where it is
        missing; to be called once a day. Where it cannot be made now, events are kept all
        the same, and the next call makes it."""


class SealingLog(Protocol):
    """Where sealers compete."""

    def lead(self, *, wait: bool = True) -> AbstractAsyncContextManager[Sealing]:
        """The log, held alone until the block ends. Waits while another holds it, or, with
        ``wait`` false, raises :class:`Overtaken`; where that one dies, whoever asks next
        takes over."""


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event and its leaf. ``leaf_index`` and ``hash`` (as sealed) are ``None`` until it
    is sealed; ``body``, its canonical bytes, is ``None`` where it is withheld, and ``why``
    says why."""

    leaf_index: int | None
    hash: bytes | None
    body: bytes | None
    why: Reason | None = None


class LogContents(TreeReader, Protocol):
    """The log of all tenants. What is sealed never changes, so that it is read piece by
    piece: however slow the reader, no transaction is held open for it."""

    async def checkpoints(self, after: int, upto: int) -> Sequence[StoredCheckpoint]:
        """The checkpoints of more than ``after`` and at most ``upto`` leaves."""

    async def checkpoint_of(self, size: int) -> StoredCheckpoint | None:
        """The first checkpoint of at least ``size`` leaves."""

    async def first_leaf(self, since: datetime) -> int | None:
        """The lowest leaf of an event that happened at ``since`` (UTC) or later."""

    async def size_at(self, until: datetime) -> int:
        """One more than the highest leaf of an event that happened before ``until``."""

    def leaves(self, tenant: str | None, first: int, size: int) -> AsyncIterator[LoggedEvent]:
        """The leaves from ``first`` up to ``size``, in order, with bodies of ``tenant``'s
        events alone (``None``: of all)."""

    def tail(self, tenant: str | None, size: int) -> AsyncIterator[bytes]:
        """Canonical bytes of ``tenant``'s events (``None``: of all) that are in none of the
        first ``size`` leaves."""


class LogReader(TreeReader, Protocol):
    """Reads events with their leaves."""

    async def event(self, tenant: str, event_id: str) -> LoggedEvent | None:
        """The tenant's event with this id."""

    async def is_archived(self, month: Month) -> bool:
        """Whether the events of the month were moved out of the database."""

    async def size(self) -> int:
        """Leaves of the tree as committed, signed or not."""

    async def want(self, size: int) -> None:
        """Ask whoever seals to sign a tree of at least this size soon."""

    async def unsealed_since(self) -> datetime | None:
        """When the oldest event that is in no leaf yet happened (UTC)."""

    def contents(self) -> AbstractAsyncContextManager[LogContents]:
        """The whole log, as an auditor may read it."""
