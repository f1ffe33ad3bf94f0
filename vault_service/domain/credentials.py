"""Credentials: the API key format, what is stored of a key, and the ports around them.

An API key is ``srk_`` + key id (12 characters) + ``_`` + secret (52) + checksum (7), all
in lower-case Crockford base32. The secret has 260 random bits. The checksum is the
CRC-32 of everything before it: a secret scanner can tell a real key from look-alikes,
and a mistyped key is refused without asking the database.

Only the SHA-256 of the whole key is stored. A slow password hash would add nothing: it
protects secrets that can be guessed, and 260 random bits cannot be, however fast the
hash is (NIST SP 800-63B-4 3.1.2.2 asks for no more from 112 bits on). # PCI-DSS 8.3.2
"""

import hashlib
import ipaddress
import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from vault_service.domain.errors import Code, VaultError
from vault_service.domain.events import AuditEvent
from vault_service.domain.sensitive import Sensitive
from vault_service.domain.tokens import ALPHABET, Randomness

MAX_API_KEY_AGE: Final = timedelta(days=90)  # PCI-DSS 8.3.9, 8.6.3
API_KEY_PREFIX: Final = "srk_"
STS_PREFIX: Final = "sts."
API_KEY_PATTERN: Final = r"srk_[0-9a-hjkmnp-tv-z]{12}_[0-9a-hjkmnp-tv-z]{59}"
"""What secret scanners look for; ``api_key_id`` then checks the checksum."""

_API_KEY: Final = re.compile(API_KEY_PATTERN)
_ID_LENGTH: Final = 12
_SECRET_LENGTH: Final = 52
_CHECK_LENGTH: Final = 7
_ID_END: Final = len(API_KEY_PREFIX) + _ID_LENGTH
_ROLE_ARN: Final = re.compile(
    r"arn:(aws[a-z-]*):iam::(\d{12}):role/(?:[!-~]*/)?([\w+=,.@-]{1,64})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key just made; ``secret`` is shown once and kept nowhere."""

    id: str
    secret: Sensitive
    key_hash: bytes = field(repr=False)


def new_api_key(randomness: Randomness = os.urandom) -> NewApiKey:
    """A fresh key from ``randomness``."""
    characters = "".join(ALPHABET[b & 31] for b in randomness(_ID_LENGTH + _SECRET_LENGTH))
    key_id = characters[:_ID_LENGTH]
    body = f"{API_KEY_PREFIX}{key_id}_{characters[_ID_LENGTH:]}"
    key = body + _checksum(body)
    return NewApiKey(key_id, Sensitive(key), hash_api_key(key))


def api_key_id(presented: str) -> str | None:
    """The key id of a well-formed key whose checksum holds, else ``None``."""
    if _API_KEY.fullmatch(presented) is None:
        return None
    if _checksum(presented[:-_CHECK_LENGTH]) != presented[-_CHECK_LENGTH:]:
        return None
    return presented[len(API_KEY_PREFIX) : _ID_END]


def hash_api_key(presented: str) -> bytes:
    """What is stored of a key: the 32 bytes of SHA-256 over all of it."""
    return hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode("ascii"))
    return "".join(ALPHABET[value >> shift & 31] for shift in range(30, -1, -5))


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """A stored key: whose it is and how long it lives, never the key itself."""

    id: str
    principal: str
    key_hash: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def active(self, at: datetime) -> bool:
        """Whether the key is neither revoked nor expired at that time."""
        return self.revoked_at is None and at < self.expires_at


class CredentialStore(Protocol):
    """The table of API keys. Every change is stored together with its audit event,
    or not at all (PCI-DSS 10.2.1.5)."""

    async def find(self, key_id: str) -> ApiKeyRecord | None:
        """The key with this id, revoked and expired ones too, or ``None``."""

    async def list(self, principal: str | None = None) -> Sequence[ApiKeyRecord]:
        """All keys (of one principal), by principal, then oldest first."""

    async def add(self, record: ApiKeyRecord, event: AuditEvent) -> None:
        """Store a new key."""

    async def rotate(
        self,
        tenant: str,
        record: ApiKeyRecord,
        old_keys_end: datetime,
        event: Callable[[Sequence[str]], AuditEvent],
    ) -> Sequence[str]:
        """Store a new key and let no older active key of the same principal live
        beyond ``old_keys_end``; the ids of those whose life this shortened, sorted.
        ``event``, of ``tenant``, is made from them too."""

    async def revoke(self, key_id: str, at: datetime, event: AuditEvent) -> bool:
        """Revoke a key; ``False``, and nothing recorded, where there is none that is
        not revoked already."""

    async def touch(self, used: Mapping[str, datetime]) -> None:
        """Record when keys were last used, all in one transaction; never backwards."""


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed attempts of one source: how many, and when (to the window slice's start)
    the last one was. ``latest`` is ``None`` where there were none."""

    count: int = 0
    latest: datetime | None = None


class Throttle(Protocol):
    """Failed attempts by source, shared by all workers (PCI-DSS 8.3.4)."""

    async def count(self, source: str, since: datetime) -> Failures:
        """The failures of ``source`` after ``since``."""

    async def record(self, source: str, at: datetime, since: datetime) -> Failures:
        """Count one failure at ``at``; the failures after ``since``, it included."""

    async def forget(self, before: datetime) -> None:
        """Delete what is older than ``before``."""


@dataclass(frozen=True, slots=True)
class VerifiedIdentity:
    """Whom an outside authority vouches for: ``subject`` is an OIDC ``sub`` or an AWS
    role as ``role_key`` spells it."""

    subject: str
    valid_until: datetime


class CredentialRejected(Exception):
    """A credential did not verify. ``reason`` is a constant word for the audit log,
    never told to the caller; ``expired`` is told, since it says what to do.

    ``proven``: the secret or signature was right all the same, so this was no guess.
    ``key_id`` is that of an API key that exists.
    """

    def __init__(
        self,
        reason: str,
        *,
        expired: bool = False,
        proven: bool = False,
        key_id: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.expired = expired
        self.proven = proven
        self.key_id = key_id


class TokenVerifier(Protocol):
    """Verifies OIDC tokens, locally once the issuer's keys are known."""

    async def verify(self, token: str) -> VerifiedIdentity:
        """Raises ``CredentialRejected``, or ``VaultError`` where the keys are away."""


@dataclass(frozen=True, slots=True)
class PresignedCall:
    """A presigned request that passed every check that needs no network.

    ``host`` and ``query`` hold a signature, so they stay out of ``repr``.
    """

    access_key_id: str
    host: str = field(repr=False)
    query: str = field(repr=False)
    expires_at: datetime


class PresignedVerifier(Protocol):
    """Verifies presigned STS requests: ``inspect`` is cheap, ``confirm`` asks AWS."""

    def inspect(self, token: str) -> PresignedCall:
        """What follows ``sts.``, checked locally; raises ``CredentialRejected``."""

    async def confirm(self, call: PresignedCall) -> VerifiedIdentity:
        """Whom AWS says signed it; raises ``CredentialRejected`` where AWS refuses,
        ``VaultError`` where AWS is away."""


class AuthenticationFailed(VaultError):
    """An attempt that did not authenticate, with what the audit log may know of it.

    ``reason`` and ``method`` are constant words; ``key_id`` is only set where such a
    key exists. ``counted`` is false for attempts of a source that is waiting already:
    they are refused without another record, so that a flood cannot fill the log.
    """

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        reason: str,
        method: str,
        key_id: str | None = None,
        counted: bool = True,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(code, detail, retry_after=retry_after)
        self.reason = reason
        self.method = method
        self.key_id = key_id
        self.counted = counted


def role_key(arn: str) -> str | None:
    """One spelling for an IAM role: its ARN without the path, ``None`` for anything else.

    STS names the role of a session without its path. Nothing is lost by dropping it:
    role names are unique within an account whatever their path.
    """
    match = _ROLE_ARN.fullmatch(arn)
    return None if match is None else f"arn:{match[1]}:iam::{match[2]}:role/{match[3]}"


def source_key(address: str) -> str:
    """What failures are counted under: an IPv4 address, or the /64 of an IPv6 one,
    since a host may use any address of its own /64. Other text is kept, cut short."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))
