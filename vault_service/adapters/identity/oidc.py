"""OpenID Connect tokens: signed JWTs (RFC 7519) of one issuer, verified locally.

Only RS256 and ES256 are accepted, chosen by the vault and not by the token: no ``none``,
no HMAC (RFC 8725 3.1). Keys come from the configured JWKS URL alone; ``jku``, ``jwk``
and ``x5u`` headers are never followed. The signature is checked before any claim is
read, so that nothing is said about a token that its issuer did not sign.

Claims say who the caller is and nothing else: tenant and tags are the vault's own
(``policies/principals.yml``).
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from vault_service.adapters.identity.fetching import Fetcher, ProviderUnavailable
from vault_service.domain.credentials import CredentialRejected, VerifiedIdentity
from vault_service.domain.errors import ConfigurationError
from vault_service.domain.ports import Clock

ALGORITHMS: Final = ("RS256", "ES256")
MAX_TOKEN_LENGTH: Final = 8192

_KEY_TYPES: Final = frozenset({"RSA", "EC"})
_RSA_BITS: Final = (2048, 8192)
# RFC 8725 3.11: a logout token or a DPoP proof of the same issuer is not a credential.
_TYPES: Final = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})
_LEEWAY: Final = timedelta(seconds=30)
# The algorithms are pinned; unknown header names are ignored, as RFC 7515 4 says.
_REGISTRY: Final = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)


class JwksCache:
    """The issuer's signing keys, fetched when needed and kept.

    Keys are refreshed after ``fresh_seconds``, and at once for a key id not seen
    before (rotation), yet never more often than every ``min_interval_seconds``, so that
    made-up key ids cannot turn the vault against the issuer. While the issuer is away,
    known keys serve for ``max_stale_seconds``, then ``key_unavailable``.
    """

    def __init__(
        self,
        url: str,
        *,
        allow_plain_http: bool = False,
        timeout_seconds: float = 3.0,
        fresh_seconds: float = 300.0,
        max_stale_seconds: float = 3600.0,
        min_interval_seconds: float = 15.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if urlsplit(url).scheme != "https" and not allow_plain_http:
            raise ConfigurationError("the JWKS URL must start with https://")
        self._url = url
        self._fetcher = Fetcher(seconds=timeout_seconds, size=256 * 1024)
        self._fresh = fresh_seconds
        self._max_stale = max_stale_seconds
        self._min_interval = min_interval_seconds
        self._monotonic = monotonic
        self._keys: KeySet | None = None
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    async def keys(self, *, newer_than: KeySet | None = None) -> KeySet:
        """The key set; with ``newer_than``, another one if it may be had.

        Raises ``ProviderUnavailable`` where there are no keys young enough to trust.
        """
        known = self._usable()
        stale = self._monotonic() - self._fetched_at >= self._fresh
        # Where one request is fetching already, the others go on with what is known.
        if known is None or known is newer_than or (stale and not self._lock.locked()):
            async with self._lock:
                if self._usable() is known:
                    await self._refresh()
            known = self._usable()
        if known is None:
            raise ProviderUnavailable
        return known

    def _usable(self) -> KeySet | None:
        young = self._monotonic() - self._fetched_at < self._max_stale
        return self._keys if young else None

    async def _refresh(self) -> None:
        now = self._monotonic()
        if now - self._tried_at < self._min_interval:
            return
        self._tried_at = now
        try:
            answer = await self._fetcher.get(self._url, {"accept": "application/json"})
        except ProviderUnavailable:
            return
        keys = _signing_keys(answer.body) if answer.status == 200 else None
        if keys is not None:
            self._keys = keys
            self._fetched_at = self._monotonic()

    async def close(self) -> None:
        """Close the connections to the issuer."""
        await self._fetcher.close()


class OidcVerifier:
    """Meets ``TokenVerifier`` for one issuer and audience.

    ``max_age`` bounds how long after ``iat`` a token is taken, whatever its ``exp``.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        jwks: JwksCache,
        clock: Clock,
        max_age: timedelta = timedelta(hours=1),
    ) -> None:
        if not issuer or not audience:
            raise ConfigurationError("OIDC needs both an issuer and an audience")
        self._jwks = jwks
        self._clock = clock
        self._max_age = max_age
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(clock().timestamp()),
            leeway=int(_LEEWAY.total_seconds()),
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )

    async def verify(self, token: str) -> VerifiedIdentity:
        """Signature, then claims; raises ``CredentialRejected`` with the reason."""
        _check_header(token)
        keys = await self._jwks.keys()
        try:
            claims = _signed_claims(token, keys)
        except InvalidKeyIdError:
            newer = await self._jwks.keys(newer_than=keys)
            try:
                claims = _signed_claims(token, newer)
            except InvalidKeyIdError:
                raise CredentialRejected("oidc_unknown_key") from None
        return self._identity(claims)

    def _identity(self, claims: dict[str, Any]) -> VerifiedIdentity:
        try:
            self._claims.validate(claims)
            issued_at = datetime.fromtimestamp(claims["iat"], UTC)
            expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        except ExpiredTokenError:
            raise CredentialRejected("oidc_expired", expired=True, proven=True) from None
        except (JoseError, ValueError, OverflowError, OSError):
            raise CredentialRejected("oidc_claims") from None
        valid_until = min(expires_at, issued_at + self._max_age) + _LEEWAY
        if self._clock() >= valid_until:
            raise CredentialRejected("oidc_too_old", expired=True, proven=True)
        return VerifiedIdentity(claims["sub"], valid_until)

    async def close(self) -> None:
        """Close the connections to the issuer."""
        await self._jwks.close()


def _check_header(token: str) -> None:
    """Refuses what cannot verify before any key is asked for."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise CredentialRejected("oidc_shape")
    try:
        header = jws.extract_compact(token.encode("ascii"), registry=_REGISTRY).headers()
        _REGISTRY.check_header(header)
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError):
        raise CredentialRejected("oidc_shape") from None
    # RFC 7797 7: a JWT never has an unencoded payload; no other extension is known here.
    if "b64" in header or "crit" in header:
        raise CredentialRejected("oidc_shape")
    if header["alg"] not in ALGORITHMS or header.get("typ", "").lower() not in _TYPES:
        raise CredentialRejected("oidc_algorithm")


def _signed_claims(token: str, keys: KeySet) -> dict[str, Any]:
    """The claims of a token with a good signature; ``InvalidKeyIdError`` passes."""
    try:
        return jwt.decode(token, keys, registry=_REGISTRY).claims
    except InvalidKeyIdError:
        raise
    except (JoseError, ValueError, RecursionError):
        raise CredentialRejected("oidc_signature") from None


def _signing_keys(body: bytes) -> KeySet | None:
    """The keys of a JWKS document (RFC 7517 5) that may verify here; ``None`` where
    there are none. Keys of other types, uses or strength are passed over."""
    try:
        entries: Any = json.loads(body)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(entries, list):
        return None
    keys = [key for entry in entries[:100] if (key := _signing_key(entry)) is not None]
    return KeySet(list(keys)) if keys else None


def _signing_key(entry: Any) -> RSAKey | ECKey | None:
    if not isinstance(entry, dict) or entry.get("kty") not in _KEY_TYPES:
        return None
    if entry.get("use", "sig") != "sig" or entry.get("alg", ALGORITHMS[0]) not in ALGORITHMS:
        return None
    # Only public members are read, so a set that leaks private ones brings none in here.
    common = {name: entry[name] for name in ("kty", "use", "alg", "kid") if name in entry}
    try:
        if entry["kty"] == "RSA":
            bits = int.from_bytes(_decoded(entry["n"])).bit_length()
            if not _RSA_BITS[0] <= bits <= _RSA_BITS[1]:
                return None
            return RSAKey.import_key({**common, "n": entry["n"], "e": entry["e"]})
        key = ECKey.import_key({**common, "crv": entry["crv"], "x": entry["x"], "y": entry["y"]})
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key if key.curve_name == "P-256" else None


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
