"""Making data keys: fresh secrets, wrapped, stored with their audit event.

A wrapped key is bound to environment, tenant, data class, key id and purpose, taken
from the question that is asked and not from the row that answers it, so that a row
that was moved or swapped does not unwrap (PCI-DSS 3.6.1, 3.7.1, 3.7.7).
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from vault_service.domain.catalog import Domain
from vault_service.domain.ciphertext import MAX_KEY_AGE_DAYS, MAX_KEY_USES
from vault_service.domain.errors import IntegrityFailure, KeyUnavailable
from vault_service.domain.events import AuditEvent
from vault_service.domain.ports import (
    Clock,
    KeyPurpose,
    KeyState,
    KeyStore,
    KeyWrapper,
    StoredKey,
)
from vault_service.domain.tokens import Randomness
from vault_service.services.recording import SYSTEM

NO_CLASS: Final = "*"
"""The data class of keys that belong to a whole tenant."""
_SECRET_LENGTH: Final = 32
_PROBE_TENANT: Final = "-"


RecordKeyEvent = Callable[[str, str, str, str | None, Mapping[str, Any]], AuditEvent]
"""Makes the audit event of a new key from tenant, principal, action (``create_data_key``
or ``rotate_data_key``), data class (``None`` for keys of a whole tenant) and detail."""


@dataclass(frozen=True, slots=True)
class KeySlot:
    """Where a key belongs: its epochs follow one another here. ``domain`` chooses the
    wrapping key."""

    tenant: str
    data_class: str
    domain: Domain
    purpose: KeyPurpose


class KeyMaker:
    """Makes, wraps and unwraps the keys of one environment. Keeps no plaintext."""

    def __init__(
        self,
        store: KeyStore,
        wrappers: Mapping[Domain, KeyWrapper],
        *,
        environment: str,
        clock: Clock,
        record: RecordKeyEvent,
        randomness: Randomness,
    ) -> None:
        self._store = store
        self._wrappers = dict(wrappers)
        self._environment = environment
        self._clock = clock
        self._record = record
        self._randomness = randomness

    async def current(self, slot: KeySlot, *, room: int = 0) -> StoredKey:
        """The key to use now, made where there is none. A record key that has no
        ``room`` for that many uses, or is 90 days old, is followed by the next epoch."""
        stored = await self._store.current(slot.tenant, slot.data_class, slot.purpose)
        if stored is None:
            return await self._first(slot, SYSTEM)
        if slot.purpose is not KeyPurpose.RECORD:
            return stored
        if stored.uses + room > MAX_KEY_USES:
            return await self._create(slot, stored.epoch + 1, SYSTEM, "uses")
        if self._clock() - stored.created_at >= timedelta(days=MAX_KEY_AGE_DAYS):
            return await self._create(slot, stored.epoch + 1, SYSTEM, "age")
        return stored

    async def rotate(self, slot: KeySlot, principal: str) -> StoredKey:
        """The next epoch, asked for by ``principal``; that of another process where it
        made the same epoch at the same time."""
        stored = await self._store.current(slot.tenant, slot.data_class, slot.purpose)
        if stored is None:
            return await self._first(slot, principal)
        return await self._create(slot, stored.epoch + 1, principal, "requested")

    async def unwrap(self, slot: KeySlot, stored: StoredKey) -> bytes:
        """The 32 secret bytes of ``stored``, as the key of ``slot`` and of no other."""
        wrapper = self._wrapper(slot.domain)
        if stored.wrapped_by is not None or stored.wrapper != wrapper.reference:
            raise KeyUnavailable(
                "A data key is wrapped by a key that is not configured.", retry_after=30
            )
        return await wrapper.unwrap(stored.wrapped, self._context(slot, stored.id))

    async def probe(self) -> None:
        """Have every wrapping key wrap and unwrap something; ``key_unavailable`` where
        one does not."""
        for domain, wrapper in self._wrappers.items():
            slot = KeySlot(_PROBE_TENANT, NO_CLASS, domain, KeyPurpose.RECORD)
            secret = self._randomness(_SECRET_LENGTH)
            await self._wrap(wrapper, secret, self._context(slot, 0))

    async def _first(self, slot: KeySlot, principal: str) -> StoredKey:
        keys = [
            key
            for key in await self._store.list(slot.tenant)
            if (key.data_class, key.purpose) == (slot.data_class, slot.purpose)
        ]
        for key in reversed(keys):
            if key.state is KeyState.ACTIVE:
                # Another process made it since this one looked. A second blind-index
                # key beside it would give one value two tokens.
                return key
        # Not always epoch 1: every earlier key may have been retired or destroyed.
        epoch = max((key.epoch for key in keys), default=0) + 1
        return await self._create(slot, epoch, principal, "first_use")

    async def _create(self, slot: KeySlot, epoch: int, principal: str, reason: str) -> StoredKey:
        wrapper = self._wrapper(slot.domain)
        key_id = await self._store.next_id()
        secret = self._randomness(_SECRET_LENGTH)
        wrapped = await self._wrap(wrapper, secret, self._context(slot, key_id))
        purpose = slot.purpose.value
        event = self._record(
            slot.tenant,
            principal,
            "create_data_key" if epoch == 1 else "rotate_data_key",
            None if slot.data_class == NO_CLASS else slot.data_class,
            {"key_id": key_id, "key_purpose": purpose, "epoch": epoch, "reason": reason},
        )
        key = StoredKey(
            id=key_id,
            tenant=slot.tenant,
            data_class=slot.data_class,
            purpose=slot.purpose,
            epoch=epoch,
            state=KeyState.ACTIVE,
            wrapped=wrapped,
            wrapper=wrapper.reference,
            created_at=self._clock(),
        )
        return await self._store.create(key, event)

    async def _wrap(self, wrapper: KeyWrapper, secret: bytes, context: Mapping[str, str]) -> bytes:
        # Read back before anything is encrypted under it: a key that was wrapped
        # wrongly would take its records with it once the cache forgets it.
        wrapped = await wrapper.wrap(secret, context)
        try:
            intact = hmac.compare_digest(await wrapper.unwrap(wrapped, context), secret)
        except IntegrityFailure:
            intact = False
        if not intact:
            raise KeyUnavailable("The wrapping key does not give back what it wrapped.")
        return wrapped

    def _wrapper(self, domain: Domain) -> KeyWrapper:
        try:
            return self._wrappers[domain]
        except KeyError:
            raise KeyUnavailable(
                "No wrapping key is configured for this sensitivity domain.",
                retry_after=30,
            ) from None

    def _context(self, slot: KeySlot, key_id: int) -> dict[str, str]:
        return {
            "environment": self._environment,
            "tenant": slot.tenant,
            "data_class": slot.data_class,
            "key_id": str(key_id),
            "purpose": slot.purpose.value,
        }
