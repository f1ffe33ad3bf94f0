"""The encrypted record: AES-256-GCM, bound to its row.

Layout: version byte ``0x01``, 12-byte random nonce, ciphertext, 16-byte tag
(NIST SP 800-38D 8.2.2: random nonces, so a key is retired at 2^30 uses, far below
the 2^32 bound). The additional authenticated data is a length-prefixed encoding of
environment, tenant, class, token, key id and a digest of the token's tags, so a row
that was moved, swapped or edited does not decrypt (PCI-DSS 3.5.1, 3.6.1).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault_service.domain.access import Tags
from vault_service.domain.errors import IntegrityFailure

VERSION: Final = b"\x01"
NONCE_LENGTH: Final = 12
MAX_KEY_USES: Final = 2**30
MAX_KEY_AGE_DAYS: Final = 90
_VERSION_NUMBER: Final = VERSION[0]
_HEADER_LENGTH: Final = 1 + NONCE_LENGTH
_MINIMUM_LENGTH: Final = _HEADER_LENGTH + 16
_VERSION_OF: Final = itemgetter(0)
_NONCE_OF: Final = itemgetter(slice(1, _HEADER_LENGTH))
_SEALED_OF: Final = itemgetter(slice(_HEADER_LENGTH, None))
_NO_TAGS: Final = hashlib.sha256(b"").digest()


def length_prefixed(*parts: bytes) -> bytes:
    """An injective encoding: each part behind its length as four big-endian bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def tags_digest(tags: Tags) -> bytes:
    """SHA-256 over the length-prefixed tags, 32 bytes; equal tags, equal digest."""
    if not tags:
        return _NO_TAGS
    return hashlib.sha256(
        length_prefixed(*(part.encode() for pair in tags for part in pair))
    ).digest()


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key in memory, ready for use. ``id`` is its database id."""

    id: int
    tenant: str
    data_class: str
    secret: bytes = field(repr=False)
    cipher: AESGCM = field(repr=False, compare=False)

    @classmethod
    def from_secret(cls, id: int, tenant: str, data_class: str, secret: bytes) -> "DataKey":
        """Wrap 32 secret bytes; ``ValueError`` for another length."""
        if len(secret) != 32:
            raise ValueError("a data key has 32 bytes")
        return cls(id, tenant, data_class, secret, AESGCM(secret))


class RecordCipher:
    """Encrypts and decrypts the records of one environment under one data key."""

    __slots__ = ("_decrypt", "_encrypt", "_prefixes", "_suffixes", "key_id")

    def __init__(self, environment: str, key: DataKey) -> None:
        self.key_id = key.id
        self._encrypt = key.cipher.encrypt
        self._decrypt = key.cipher.decrypt
        self._prefixes = _Prefixes(
            length_prefixed(
                b"strongroom-record-v1",
                environment.encode(),
                key.tenant.encode(),
                key.data_class.encode(),
                key.id.to_bytes(8, "big"),
            )
        )
        self._suffixes: dict[Tags, bytes] = {}

    def _suffix(self, tags: Tags) -> bytes:
        suffix = self._suffixes.get(tags)
        if suffix is None:
            suffix = length_prefixed(tags_digest(tags))
            if len(self._suffixes) < 256:
                self._suffixes[tags] = suffix
        return suffix

    def encrypt(self, value: str, token: str, tags: Tags, nonce: bytes) -> bytes:
        """The record for ``value``. ``nonce``: 12 fresh random bytes, never reused."""
        return self.encrypt_all([value], [token], tags, nonce)[0]

    def encrypt_all(
        self, values: Sequence[str], tokens: Sequence[str], tags: Tags, nonces: bytes
    ) -> list[bytes]:
        """The records for ``values``, whose tokens have the same tags: what they share is
        looked up once. ``nonces``: 12 fresh random bytes a value, never reused;
        ``ValueError`` for another number of tokens or bytes."""
        if len(tokens) != len(values) or len(nonces) != NONCE_LENGTH * len(values):
            raise ValueError("each record takes a token and a nonce of 12 bytes")
        parted = [nonces[at : at + NONCE_LENGTH] for at in range(0, len(nonces), NONCE_LENGTH)]
        encoded = map(str.encode, values)
        sealed = map(self._encrypt, parted, encoded, self._bound(tokens, tags))
        return [VERSION + nonce + record for nonce, record in zip(parted, sealed, strict=True)]

    def _bound(self, tokens: Sequence[str], tags: Tags) -> list[bytes]:
        """The AAD of each token's record."""
        prefixes, suffix = self._prefixes, self._suffix(tags)
        return [prefixes[len(token)] + token + suffix for token in map(str.encode, tokens)]

    def decrypt(self, record: bytes, token: str, tags: Tags) -> str:
        """The value; :class:`IntegrityFailure` where the record is not this row's."""
        [value] = self.decrypt_all([record], [token], tags)
        if value is None:
            raise IntegrityFailure("The stored record does not belong to its row.")
        return value

    def decrypt_all(
        self, records: Sequence[bytes], tokens: Sequence[str], tags: Tags
    ) -> list[str | None]:
        """:meth:`decrypt` for many records, whose tokens have the same tags; ``None`` for
        those that are not their row's, are cut short or have an unknown version."""
        if len(records) != len(tokens):
            raise ValueError("each record has a token")
        bound = self._bound(tokens, tags)
        try:
            return self._opened(records, bound)
        except (InvalidTag, UnicodeDecodeError):
            # One of them is not sound, or more: each is tried by itself.
            return [self._opened_or_none(*one) for one in zip(records, bound, strict=True)]

    def _opened(self, records: Sequence[bytes], bound: Sequence[bytes]) -> list[str | None]:
        """The values of records with these AADs; ``InvalidTag`` or ``UnicodeDecodeError``
        where one of them is not sound."""
        if min(map(len, records), default=_MINIMUM_LENGTH) < _MINIMUM_LENGTH:
            raise InvalidTag
        if set(map(_VERSION_OF, records)) - {_VERSION_NUMBER}:
            raise InvalidTag
        values = map(self._decrypt, map(_NONCE_OF, records), map(_SEALED_OF, records), bound)
        return [value.decode() for value in values]

    def _opened_or_none(self, record: bytes, bound: bytes) -> str | None:
        try:
            return self._opened([record], [bound])[0]
        except (InvalidTag, UnicodeDecodeError):
            return None


class _Prefixes(dict[int, bytes]):
    """By the length of an encoded token: the AAD up to the token itself. Tokens have few
    lengths, and are never long."""

    __slots__ = ("_common",)

    def __init__(self, common: bytes) -> None:
        self._common = common

    def __missing__(self, length: int) -> bytes:
        prefix = self[length] = self._common + length.to_bytes(4, "big")
        return prefix
