"""A wrapping key and a key table in memory, which keep the ports' promises."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault_service.domain.ciphertext import length_prefixed
from vault_service.domain.errors import DamagedKey, VaultError
from vault_service.domain.events import AuditEvent
from vault_service.domain.ports import KeyPurpose, KeyState, StoredKey


class MemoryKeyWrapper:
    """Wraps under an AES key in memory. ``failure`` is raised instead, while it is set;
    ``calls`` counts what came through."""

    def __init__(self, name: str = "memory") -> None:
        self.reference = f"memory:{name}"
        self.failure: VaultError | None = None
        self.wraps = 0
        self.unwraps = 0
        self._cipher = AESGCM(AESGCM.generate_key(256))
        self._nonces = 0

    async def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        self.wraps += 1
        if self.failure is not None:
            raise self.failure
        self._nonces += 1
        nonce = self._nonces.to_bytes(12, "big")
        return nonce + self._cipher.encrypt(nonce, secret, _bound(context))

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        self.unwraps += 1
        if self.failure is not None:
            raise self.failure
        try:
            return self._cipher.decrypt(wrapped[:12], wrapped[12:], _bound(context))
        except (InvalidTag, ValueError):
            raise DamagedKey("A stored key does not belong to its row.") from None


def _bound(context: Mapping[str, str]) -> bytes:
    return length_prefixed(*(part.encode() for pair in sorted(context.items()) for part in pair))


class MemoryKeyStore:
    """The key table. ``events`` are the events stored with keys, in order."""

    def __init__(self) -> None:
        self.rows: dict[int, StoredKey] = {}
        self.events: list[AuditEvent] = []
        self._last_id = 0

    async def current(self, tenant: str, data_class: str, purpose: KeyPurpose) -> StoredKey | None:
        mine = (
            key for key in self._of(tenant, data_class, purpose) if key.state is KeyState.ACTIVE
        )
        return max(mine, key=lambda key: key.epoch, default=None)

    async def by_id(self, tenant: str, key_id: int) -> StoredKey | None:
        key = self.rows.get(key_id)
        return key if key is not None and key.tenant == tenant else None

    async def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    async def create(self, key: StoredKey, event: AuditEvent) -> StoredKey:
        slot = self._of(key.tenant, key.data_class, key.purpose)
        for other in slot:
            if other.epoch == key.epoch:
                return other
        for other in slot:
            if other.epoch < key.epoch and other.state is KeyState.ACTIVE:
                self.rows[other.id] = replace(other, state=KeyState.RETIRED)
        self.rows[key.id] = key
        self.events.append(event)
        return key

    async def reserve_uses(self, tenant: str, key_id: int, count: int, limit: int) -> bool:
        key = await self.by_id(tenant, key_id)
        if key is None or key.state is not KeyState.ACTIVE or key.uses + count > limit:
            return False
        self.rows[key_id] = replace(key, uses=key.uses + count)
        return True

    async def list(self, tenant: str | None = None) -> Sequence[StoredKey]:
        return sorted(
            (key for key in self.rows.values() if tenant in (None, key.tenant)),
            key=lambda key: (key.tenant, key.data_class, key.purpose, key.epoch),
        )

    def _of(self, tenant: str, data_class: str, purpose: KeyPurpose) -> "Sequence[StoredKey]":
        return [
            key
            for key in self.rows.values()
            if (key.tenant, key.data_class, key.purpose) == (tenant, data_class, purpose)
        ]
