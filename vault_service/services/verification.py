"""Checks one credential of each kind, by the rules of that kind.

Cheap checks come first: shape and checksum, then the stored hash or a local signature,
and only then, for STS, the network. Every refusal is a ``CredentialRejected`` with a
reason for the audit log; what the caller is told is decided in ``authenticate``.
"""

import asyncio
import hmac
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, TypeVar

from vault_service.domain.credentials import (
    MAX_API_KEY_AGE,
    ApiKeyRecord,
    CredentialRejected,
    CredentialStore,
    PresignedVerifier,
    TokenVerifier,
    VerifiedIdentity,
    api_key_id,
    hash_api_key,
    role_key,
)
from vault_service.domain.errors import Code, ConfigurationError, VaultError
from vault_service.domain.ports import Clock
from vault_service.domain.principals import Principal

_T = TypeVar("_T")
_STS_CALLS: Final = 16
_CONFIRMED_ACCESS_KEYS: Final = 4096
_NO_HASH: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Verified:
    """A credential that is right: whose, until when, and which API key it was."""

    principal: Principal
    valid_until: datetime
    key_id: str | None = None


class CredentialVerifier:
    """Verifies credentials against the store, the issuer or AWS; remembers no result."""

    def __init__(
        self,
        principals: Mapping[str, Principal],
        store: CredentialStore,
        clock: Clock,
        *,
        oidc: TokenVerifier | None = None,
        sts: PresignedVerifier | None = None,
    ) -> None:
        self._principals = principals
        self._by_subject = _by_identity(principals, lambda p: p.authentication.oidc_subject)
        self._by_role = _by_identity(principals, _role_of)
        self._store = store
        self._clock = clock
        self._oidc = oidc
        self._sts = sts
        self._flights: dict[bytes, asyncio.Task[Any]] = {}
        self._confirmed_access_keys: dict[str, None] = {}
        self._sts_calls = {known: asyncio.Semaphore(_STS_CALLS) for known in (True, False)}

    async def api_key(self, presented: str) -> Verified:
        """Verify an API key: one hash and one look-up by primary key."""
        key_id = api_key_id(presented)
        if key_id is None:
            raise CredentialRejected("malformed")
        record: ApiKeyRecord | None = await self._once(
            key_id.encode(), lambda: self._store.find(key_id)
        )
        expected = _NO_HASH if record is None else record.key_hash
        right = hmac.compare_digest(hash_api_key(presented), expected)
        if record is None:
            raise CredentialRejected("unknown_key")
        if not right:
            raise CredentialRejected("wrong_secret", key_id=key_id)
        if record.revoked_at is not None:
            raise CredentialRejected("revoked", proven=True, key_id=key_id)
        principal = self._principals.get(record.principal)
        max_age = None if principal is None else principal.authentication.api_key_max_age_days
        if principal is None or max_age is None:
            raise CredentialRejected("no_such_principal", proven=True, key_id=key_id)
        # A shorter age in principals.yml holds for keys that exist already.
        oldest = min(timedelta(days=max_age), MAX_API_KEY_AGE)
        expires_at = min(record.expires_at, record.created_at + oldest)
        if self._clock() >= expires_at:
            raise CredentialRejected("expired", expired=True, proven=True, key_id=key_id)
        return Verified(principal, expires_at, key_id)

    async def oidc(self, token: str) -> Verified:
        """Verify an OIDC token: a local signature check."""
        if self._oidc is None:
            raise CredentialRejected("method_off")
        return _known(self._by_subject, await self._oidc.verify(token))

    async def presigned(
        self, token: str, must_wait: Callable[[], Coroutine[Any, Any, int | None]]
    ) -> Verified:
        """Verify a presigned STS request: a call to AWS, unless ``must_wait`` gives the
        seconds that this caller has to wait and AWS has not confirmed its access key id
        before. Raises ``rate_limited`` then, and where too many calls are under way."""
        if self._sts is None:
            raise CredentialRejected("method_off")
        verifier = self._sts
        call = verifier.inspect(token)
        known = call.access_key_id in self._confirmed_access_keys
        wait = None if known else await must_wait()
        if wait is not None:
            raise VaultError(Code.RATE_LIMITED, "waiting", retry_after=wait)
        # Unknown callers have call slots of their own: a flood of forged requests
        # cannot keep those out whom AWS has confirmed before.
        slots = self._sts_calls[known]
        digest = sha256(token.encode()).digest()
        if slots.locked() and digest not in self._flights:
            raise VaultError(Code.RATE_LIMITED, "busy", retry_after=1)

        async def confirm() -> VerifiedIdentity:
            async with slots:
                return await verifier.confirm(call)

        identity: VerifiedIdentity = await self._once(digest, confirm)
        self._confirmed_access_keys.pop(call.access_key_id, None)
        if len(self._confirmed_access_keys) >= _CONFIRMED_ACCESS_KEYS:
            del self._confirmed_access_keys[next(iter(self._confirmed_access_keys))]
        self._confirmed_access_keys[call.access_key_id] = None
        return _known(self._by_role, identity)

    async def _once(self, key: bytes, start: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Run ``start`` once for all who ask for ``key`` at the same time."""
        task = self._flights.get(key)
        if task is None:
            task = asyncio.create_task(start())
            self._flights[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        # Shielded: one caller who hangs up must not fail the others.
        result: _T = await asyncio.shield(task)
        return result

    def _landed(self, key: bytes, task: asyncio.Task[Any]) -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # Retrieved, so that asyncio does not log it unasked.


def _known(table: Mapping[str, Principal], identity: VerifiedIdentity) -> Verified:
    principal = table.get(identity.subject)
    if principal is None:
        raise CredentialRejected("no_such_principal", proven=True)
    return Verified(principal, identity.valid_until)


def _by_identity(
    principals: Mapping[str, Principal], identity: Callable[[Principal], str | None]
) -> dict[str, Principal]:
    found: dict[str, Principal] = {}
    for principal in principals.values():
        key = identity(principal)
        if key is None:
            continue
        if key in found:
            raise ConfigurationError(
                f"principals {found[key].name} and {principal.name} name the same outside"
                " identity (oidc_subject or aws_role_arn); each needs its own"
            )
        found[key] = principal
    return found


def _role_of(principal: Principal) -> str | None:
    arn = principal.authentication.aws_role_arn
    if arn is None:
        return None
    key = role_key(arn)
    if key is None:
        raise ConfigurationError(
            f"aws_role_arn of principal {principal.name} must look like"
            " arn:aws:iam::123456789012:role/name"
        )
    return key
