"""Issue, revoke, rotate and list the API keys of the declared principals.

Principals themselves live in ``policies/principals.yml``; only their keys are data. Each
change is one audit event in the same transaction, under the operator who made it
(PCI-DSS 10.2.1.5). A key's text exists in the returned ``IssuedKey`` alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from vault_service.domain.credentials import (
    MAX_API_KEY_AGE,
    ApiKeyRecord,
    CredentialStore,
    new_api_key,
)
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.events import AuditEvent
from vault_service.domain.ports import Clock
from vault_service.domain.principals import Principal
from vault_service.domain.sensitive import Sensitive
from vault_service.services.recording import NO_TENANT, Recorder

DEFAULT_OVERLAP = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key: its record, its text (``secret``, shown once), and the ids of older
    keys that now end sooner, by ``old_keys_end``."""

    record: ApiKeyRecord
    secret: Sensitive
    shortened: tuple[str, ...] = ()
    old_keys_end: datetime | None = None


class ApiKeys:
    """The use cases around API keys. ``operator`` arguments name who gave the command,
    and are recorded as ``operator:<name>``."""

    def __init__(
        self,
        principals: Mapping[str, Principal],
        store: CredentialStore,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._principals = principals
        self._store = store
        self._recorder = recorder
        self._clock = clock

    async def issue(self, name: str, operator: str, *, days: int | None = None) -> IssuedKey:
        """A new key for principal ``name`` that lives for ``days``, by default as long
        as the principal may.

        Raises ``not_found`` for an undeclared principal, ``access_denied`` for one that
        may not use API keys, ``invalid_value`` for a life that is too long.
        """
        principal = self._declared(name)
        secret, record = self._new_key(principal, days)
        detail = {"principal": name, **_described(record)}
        await self._store.add(record, self._event("issue_api_key", operator, principal, detail))
        return IssuedKey(record, secret)

    async def rotate(
        self,
        name: str,
        operator: str,
        *,
        days: int | None = None,
        overlap: timedelta = DEFAULT_OVERLAP,
    ) -> IssuedKey:
        """A new key for ``name``; its other keys live on for ``overlap`` at most, so that
        callers can change over without a gap. Raises as ``issue`` does."""
        principal = self._declared(name)
        if not timedelta(0) <= overlap <= MAX_API_KEY_AGE:
            raise VaultError(Code.INVALID_VALUE, "The overlap must be from 0 hours to 90 days.")
        secret, record = self._new_key(principal, days)
        old_keys_end = record.created_at + overlap

        def event(shortened: Sequence[str]) -> AuditEvent:
            detail = {
                "principal": name,
                **_described(record),
                "old_keys": list(shortened),
                "old_keys_end": old_keys_end.isoformat(),
            }
            return self._event("rotate_api_key", operator, principal, detail)

        shortened = await self._store.rotate(principal.tenant, record, old_keys_end, event)
        return IssuedKey(record, secret, tuple(shortened), old_keys_end)

    async def revoke(self, key_id: str, operator: str) -> ApiKeyRecord:
        """Revoke a key for good, also one of a principal that is no longer declared.
        Workers refuse it within seconds. Revoking it again changes and records nothing.

        Raises ``not_found`` where there is no such key.
        """
        record = await self._store.find(key_id)
        if record is None:
            raise VaultError(Code.NOT_FOUND, "There is no API key with this id.")
        principal = self._principals.get(record.principal)
        detail = {"principal": record.principal, **_described(record)}
        at = self._clock()
        if await self._store.revoke(
            key_id, at, self._event("revoke_api_key", operator, principal, detail)
        ):
            return replace(record, revoked_at=at)
        return record

    async def list(self, name: str | None = None) -> Sequence[ApiKeyRecord]:
        """All keys (of one principal), dead ones too, by principal, oldest first."""
        return await self._store.list(name)

    def _declared(self, name: str) -> Principal:
        principal = self._principals.get(name)
        if principal is None:
            raise VaultError(
                Code.NOT_FOUND,
                "No principal of this name is declared in principals.yml.",
            )
        return principal

    def _new_key(self, principal: Principal, days: int | None) -> tuple[Sensitive, ApiKeyRecord]:
        max_days = principal.authentication.api_key_max_age_days
        if max_days is None:
            raise VaultError(
                Code.ACCESS_DENIED,
                "This principal may not use API keys: principals.yml gives it no"
                " authentication.api_key.",
            )
        longest = min(max_days, MAX_API_KEY_AGE.days)
        life = longest if days is None else days
        if not 1 <= life <= longest:
            raise VaultError(
                Code.INVALID_VALUE,
                "A key lives at least 1 day, and no longer than the principal's max_age_days"
                " and 90 days.",  # PCI-DSS 8.6.3
            )
        key = new_api_key()
        now = self._clock()
        return key.secret, ApiKeyRecord(
            key.id, principal.name, key.key_hash, now, now + timedelta(days=life)
        )

    def _event(
        self,
        action: str,
        operator: str,
        principal: Principal | None,
        detail: Mapping[str, Any],
    ) -> AuditEvent:
        return self._recorder.system_event(
            action,
            principal=f"operator:{operator}",
            tenant=NO_TENANT if principal is None else principal.tenant,
            detail=detail,
        )


def _described(record: ApiKeyRecord) -> dict[str, Any]:
    return {"key": record.id, "expires_at": record.expires_at.isoformat()}
