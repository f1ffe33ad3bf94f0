"""Who calls: turns an ``Authorization`` header into a principal, or refuses.

Three kinds of credential, told apart by their shape (RFC 6750 2.1): an API key
(``srk_…``), a presigned STS request (``sts.…``), or else an OIDC token. Whichever it is,
tenant, tags and rights come from ``policies/principals.yml`` alone, and the principal
must be there and allow that way in, or the credential is worth nothing (PCI-DSS 8.2.1).

What is refused looks the same whatever the cause: unknown, garbled, revoked and
disallowed credentials get one answer. That a credential expired is only told to one who
holds its secret, or read from what the caller sent.

Verified credentials are remembered for a few seconds under their SHA-256 digest, so a
revocation takes effect within ``cache_seconds`` in every worker. Right credentials are
never throttled: an API key costs a hash and one look-up by primary key, and an OIDC
token a local signature check, so both are verified first and only failures are counted.
An STS request costs a call to AWS, so one from a source that has to wait is only sent
if its access key id was confirmed before.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final

from vault_service.domain.credentials import (
    API_KEY_PREFIX,
    STS_PREFIX,
    AuthenticationFailed,
    CredentialRejected,
    CredentialStore,
)
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.ports import Clock
from vault_service.domain.principals import Principal
from vault_service.services.throttle import AttemptLimiter
from vault_service.services.verification import CredentialVerifier, Verified

_BEARER: Final = re.compile(r"bearer +([a-z0-9._~+/-]+=*)", re.IGNORECASE | re.ASCII)
_MAX_HEADER: Final = 12_288
_CACHE_ENTRIES: Final = 4096
_LAST_USED_EVERY: Final = 60.0
_DETAILS: Final = {
    Code.UNAUTHENTICATED: "The credential is missing or not valid.",
    Code.CREDENTIAL_EXPIRED: "The credential has expired; use a new one.",
    Code.RATE_LIMITED: "Too many attempts failed from this address; wait before the next one.",
}


@dataclass(frozen=True, slots=True)
class _Entry:
    principal: Principal
    until: float
    key_id: str | None


class Authenticator:
    """Authenticates requests. One a process; ``flush`` it every few seconds.

    ``cache_seconds`` bounds how long a verified API key is believed, and
    ``identity_cache_seconds`` an outside identity.
    """

    def __init__(
        self,
        verifier: CredentialVerifier,
        store: CredentialStore,
        limiter: AttemptLimiter,
        clock: Clock,
        *,
        cache_seconds: float = 5.0,
        identity_cache_seconds: float = 60.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verifier = verifier
        self._store = store
        self._limiter = limiter
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._identity_cache_seconds = identity_cache_seconds
        self._monotonic = monotonic
        self._cache: dict[bytes, _Entry] = {}
        self._used: dict[str, float] = {}
        self._written: dict[str, float] = {}

    def cached(self, authorization: str) -> Principal | None:
        """The principal of a header verified moments ago, else ``None``; never waits."""
        digest = sha256(authorization.encode("utf-8", "surrogatepass")).digest()
        entry = self._cache.get(digest)
        if entry is None:
            return None
        now = self._monotonic()
        if now >= entry.until:
            del self._cache[digest]
            return None
        if entry.key_id is not None:
            self._used[entry.key_id] = now
        return entry.principal

    async def authenticate(self, authorization: str | None, source: str) -> Principal:
        """The principal of this header, sent from the address ``source``.

        Raises ``AuthenticationFailed`` (``unauthenticated``, ``credential_expired``, or
        ``rate_limited`` with ``retry_after``), and ``database_unavailable`` or
        ``key_unavailable`` where the credential cannot be checked now.
        """
        if authorization is None:
            raise _failed(Code.UNAUTHENTICATED, "no_credential", "none", counted=False)
        principal = self.cached(authorization)
        if principal is not None:
            return principal
        method = "none"
        try:
            credential = _bearer(authorization)
            method = _method(credential)
            verified = await self._verify(method, credential, source)
        except CredentialRejected as rejected:
            raise await self._failure(rejected, method, source) from None
        self._remember(authorization, verified)
        return verified.principal

    async def flush(self, *, everything: bool = False) -> None:
        """Write last-used times, at most once a minute a key (``everything``: now, for
        shutting down), and drop old failure counts. What fails is tried again."""
        now, wall = self._monotonic(), self._clock()
        due = {
            key_id: at
            for key_id, at in self._used.items()
            if everything or now - self._written.get(key_id, -_LAST_USED_EVERY) >= _LAST_USED_EVERY
        }
        if due:
            await self._store.touch(
                {key_id: wall - timedelta(seconds=now - at) for key_id, at in due.items()}
            )
        for key_id, at in due.items():
            self._written[key_id] = now
            if self._used.get(key_id) == at:
                del self._used[key_id]
        await self._limiter.forget()

    async def _verify(self, method: str, credential: str, source: str) -> Verified:
        match method:
            case "api_key":
                return await self._verifier.api_key(credential)
            case "oidc":
                return await self._verifier.oidc(credential)
        try:
            return await self._verifier.presigned(
                credential.removeprefix(STS_PREFIX),
                lambda: self._limiter.must_wait(source),
            )
        except VaultError as error:
            if error.code is not Code.RATE_LIMITED:
                raise
            raise _failed(
                error.code,
                error.detail,
                method,
                counted=False,
                retry_after=error.retry_after,
            ) from None

    async def _failure(
        self, rejected: CredentialRejected, method: str, source: str
    ) -> AuthenticationFailed:
        code = Code.CREDENTIAL_EXPIRED if rejected.expired else Code.UNAUTHENTICATED
        if rejected.expired and rejected.proven:
            # Not a guess: a caller who forgot to rotate is told so, and not slowed down.
            return _failed(code, rejected.reason, method, key_id=rejected.key_id)
        outcome = await self._limiter.failed(source)
        return _failed(
            code if outcome.retry_after is None else Code.RATE_LIMITED,
            rejected.reason,
            method,
            key_id=rejected.key_id,
            counted=outcome.counted,
            retry_after=outcome.retry_after,
        )

    def _remember(self, authorization: str, verified: Verified) -> None:
        now = self._monotonic()
        seconds = self._identity_cache_seconds
        if verified.key_id is not None:
            self._used[verified.key_id] = now
            seconds = self._cache_seconds
        left = (verified.valid_until - self._clock()).total_seconds()
        digest = sha256(authorization.encode("utf-8", "surrogatepass")).digest()
        if len(self._cache) >= _CACHE_ENTRIES:
            del self._cache[next(iter(self._cache))]
        self._cache[digest] = _Entry(verified.principal, now + min(seconds, left), verified.key_id)


def _bearer(authorization: str) -> str:
    match = _BEARER.fullmatch(authorization) if len(authorization) <= _MAX_HEADER else None
    if match is None:
        raise CredentialRejected("malformed")
    return match[1]


def _method(credential: str) -> str:
    if credential.startswith(API_KEY_PREFIX):
        return "api_key"
    return "aws_sts" if credential.startswith(STS_PREFIX) else "oidc"


def _failed(
    code: Code,
    reason: str,
    method: str,
    *,
    key_id: str | None = None,
    counted: bool = True,
    retry_after: int | None = None,
) -> AuthenticationFailed:
    return AuthenticationFailed(
        code,
        _DETAILS[code],
        reason=reason,
        method=method,
        key_id=key_id,
        counted=counted,
        retry_after=retry_after,
    )
