"""The keyring: the right key for each tenant, class and purpose, ready for use.

A key belongs to one tenant, data class and purpose; its epochs count from 1. Only the
newest is used for new records; older ones still read. A record key is retired after
2^30 uses or 90 days, whichever comes first (NIST SP 800-38D 8.3, PCI-DSS 3.7.4), by
whichever process notices first.

Uses are counted in the database ahead of use, in blocks, so that a crash can only
count too many. Another process's rotation is noticed within ``REFRESH`` seconds.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from vault_service.domain.catalog import DataClass, Domain
from vault_service.domain.ciphertext import MAX_KEY_USES, DataKey, RecordCipher
from vault_service.domain.errors import (
    Code,
    IntegrityFailure,
    KeyUnavailable,
    VaultError,
)
from vault_service.domain.ports import (
    Clock,
    KeyPurpose,
    KeyState,
    KeyStore,
    KeyWrapper,
    StoredKey,
)
from vault_service.domain.tokens import Randomness
from vault_service.services.key_cache import MAX_TTL, KeyCache, Monotonic
from vault_service.services.key_digests import (
    IndexKey,
    RequestKey,
    index_key,
    request_key,
)
from vault_service.services.key_making import (
    NO_CLASS,
    KeyMaker,
    KeySlot,
    RecordKeyEvent,
)
from vault_service.services.key_uses import Lease, UseCounter
from vault_service.services.recording import SYSTEM

REFRESH: Final = 1.0
"""Seconds for which the newest key of a class is taken to be still the newest."""
PROBE: Final = 5.0
"""Seconds for which a wrapping key that answered is taken to be still there."""
_ROUNDS: Final = 4


@dataclass(frozen=True, slots=True)
class _Opened:
    cipher: RecordCipher
    until: float


class Keyring:
    """The keys of all tenants, in one environment, for one process and event loop.

    ``wrappers`` has the wrapping key of each sensitivity domain. ``ttl`` is the
    longest time in seconds that a plaintext key stays in memory, ``max_entries`` the
    number of keys of one kind, ``block`` the number of uses counted ahead.

    Every method raises ``key_unavailable`` where a key cannot be had now (wrapping key
    out of reach and not cached, or a damaged row, which is an
    :class:`~vault_service.domain.errors.DamagedKey`), and what the store raises.
    """

    def __init__(
        self,
        store: KeyStore,
        wrappers: Mapping[Domain, KeyWrapper],
        *,
        environment: str,
        clock: Clock,
        monotonic: Monotonic,
        record: RecordKeyEvent,
        randomness: Randomness = os.urandom,
        ttl: float = MAX_TTL,
        max_entries: int = 4096,
        block: int = 2**16,
    ) -> None:
        self._store = store
        self._maker = KeyMaker(
            store,
            wrappers,
            environment=environment,
            clock=clock,
            record=record,
            randomness=randomness,
        )
        self._environment = environment
        self._monotonic = monotonic
        self._ttl = ttl
        self._block = block

        def cache(longest: float) -> KeyCache[Any, Any]:
            return KeyCache(ttl=longest, max_entries=max_entries, monotonic=monotonic)

        self._leases: KeyCache[tuple[str, str], Lease] = cache(min(REFRESH, ttl))
        self._opened: KeyCache[tuple[str, str, int], _Opened] = cache(ttl)
        self._indexes: KeyCache[tuple[str, str], IndexKey] = cache(ttl)
        self._requests: KeyCache[str, RequestKey] = cache(ttl)
        self._probes: KeyCache[str, bool] = cache(PROBE)
        self._uses: dict[tuple[str, str], UseCounter] = {}

    async def encrypting(self, tenant: str, data_class: DataClass, count: int) -> RecordCipher:
        """The cipher for ``count`` new records, whose uses are counted durably."""
        lease = self._leases.get((tenant, data_class.name))
        if lease is not None and lease.take(count):
            return lease.cipher
        return await self._reserve(tenant, data_class, count)

    async def decrypting(self, tenant: str, data_class: DataClass, key_id: int) -> RecordCipher:
        """The cipher for records under a key of any epoch. :class:`IntegrityFailure`
        where the key is not of this tenant and class, ``erased`` where it is destroyed."""
        opened = self._opened.get((tenant, data_class.name, key_id))
        if opened is None:
            opened = await self._open(_slot(tenant, data_class), key_id)
        return opened.cipher

    async def index_key(self, tenant: str, data_class: DataClass) -> IndexKey:
        """The blind-index key of the class; made on first use."""
        name = data_class.name
        found = self._indexes.get((tenant, name))
        if found is not None:
            return found
        slot = _slot(tenant, data_class, KeyPurpose.BLIND_INDEX)

        async def load() -> tuple[IndexKey, float]:
            stored = await self._maker.current(slot)
            secret = await self._maker.unwrap(slot, stored)
            return index_key(stored.id, secret, name), self._ttl

        return await self._indexes.load((tenant, name), load)

    async def idempotency_key(self, tenant: str) -> RequestKey:
        """The key for digests of the tenant's request bodies; made on first use."""
        found = self._requests.get(tenant)
        if found is not None:
            return found
        slot = KeySlot(tenant, NO_CLASS, Domain.PII, KeyPurpose.IDEMPOTENCY)

        async def load() -> tuple[RequestKey, float]:
            stored = await self._maker.current(slot)
            return request_key(stored.id, await self._maker.unwrap(slot, stored)), self._ttl

        return await self._requests.load(tenant, load)

    async def rotate(
        self,
        tenant: str,
        data_class: DataClass,
        purpose: KeyPurpose = KeyPurpose.RECORD,
        *,
        principal: str = SYSTEM,
    ) -> StoredKey:
        """Make the next epoch, for records from now on; older ones still read.

        ``invalid_request`` for purposes other than ``record``: a value would get a
        second token under another blind index, and repeats would be refused under
        another request key, until stored digests are made anew as well.
        """
        if purpose is not KeyPurpose.RECORD:
            raise VaultError(
                Code.INVALID_REQUEST,
                "Only record keys can be rotated: digests made with the other keys are"
                " stored, and would not be found again.",
            )
        stored = await self._maker.rotate(_slot(tenant, data_class), principal)
        self._leases.discard((tenant, data_class.name))
        return stored

    async def list(self, tenant: str) -> Sequence[StoredKey]:
        """All keys of the tenant, still wrapped, by class, purpose and epoch."""
        return await self._store.list(tenant)

    async def probe(self) -> None:
        """Whether every wrapping key wraps and unwraps now, for readiness and
        ``doctor``; raises ``key_unavailable`` where one does not."""

        async def load() -> tuple[bool, float]:
            await self._maker.probe()
            return True, PROBE

        await self._probes.load("", load)

    def close(self) -> None:
        """Forget every plaintext key."""
        self._leases.clear()
        self._opened.clear()
        self._indexes.clear()
        self._requests.clear()
        self._probes.clear()

    async def _reserve(self, tenant: str, data_class: DataClass, count: int) -> RecordCipher:
        room = max(self._block, count)
        key = (tenant, data_class.name)
        for _ in range(_ROUNDS):
            lease = await self._leases.load(
                key, partial(self._lease, _slot(tenant, data_class), room)
            )
            async with lease.uses.lock:
                if lease.take(count):
                    return lease.cipher
                if await self._store.reserve_uses(tenant, lease.cipher.key_id, room, MAX_KEY_USES):
                    lease.uses.left += room - count
                    return lease.cipher
            # Full, or retired by another process: look for its successor.
            self._leases.discard(key)
        raise KeyUnavailable("The data keys of this class change too fast.", retry_after=1)

    async def _lease(self, slot: KeySlot, room: int) -> tuple[Lease, float]:
        stored = await self._maker.current(slot, room=room)
        opened = await self._open(slot, stored.id, stored)
        counter = self._uses.get((slot.tenant, slot.data_class))
        if counter is None or counter.key_id != stored.id:
            counter = self._uses[slot.tenant, slot.data_class] = UseCounter(stored.id)
        return Lease(opened.cipher, counter), opened.until - self._monotonic()

    async def _open(self, slot: KeySlot, key_id: int, known: StoredKey | None = None) -> _Opened:
        async def load() -> tuple[_Opened, float]:
            start = self._monotonic()
            stored = known or await self._store.by_id(slot.tenant, key_id)
            if stored is None or not _belongs(stored, slot):
                raise IntegrityFailure("A record names a data key that is not of its class.")
            if stored.state is KeyState.DESTROYED:
                raise VaultError(Code.ERASED, "The data key of this value was destroyed.")
            secret = await self._maker.unwrap(slot, stored)
            key = DataKey.from_secret(stored.id, slot.tenant, slot.data_class, secret)
            return _Opened(RecordCipher(self._environment, key), start + self._ttl), self._ttl

        return await self._opened.load((slot.tenant, slot.data_class, key_id), load)


def _slot(tenant: str, data_class: DataClass, purpose: KeyPurpose = KeyPurpose.RECORD) -> KeySlot:
    return KeySlot(tenant, data_class.name, data_class.domain, purpose)


def _belongs(stored: StoredKey, slot: KeySlot) -> bool:
    return (stored.tenant, stored.data_class, stored.purpose) == (
        slot.tenant,
        slot.data_class,
        slot.purpose,
    )
