"""The encrypted record: AES-256-GCM, bound to its row.

Layout: version byte ``0x01``, 12-byte random nonce, ciphertext, 16-byte tag
(NIST SP 800-38D 8.2.2: random nonces, so a key is retired at 2^30 uses, far below
the 2^32 bound). The additional authenticated data is a length-prefixed encoding of
environment, tenant, class, token, key id and a digest of the token's tags, so a row
that was moved, swapped or edited does not decrypt (PCI-DSS 3.5.1, 3.6.1).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
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

    __slots__ = ("_decrypt", "_encrypt", "_prefix", "_suffixes", "key_id")

    def __init__(self, environment: str, key: DataKey) -> None:
        self.key_id = key.id
        self._encrypt = key.cipher.encrypt
        self._decrypt = key.cipher.decrypt
        self._prefix = length_prefixed(
            b"strongroom-record-v1",
            environment.encode(),
            key.tenant.encode(),
            key.data_class.encode(),
            key.id.to_bytes(8, "big"),
        )
        self._suffixes: dict[Tags, bytes] = {}

    def _suffix(self, tags: Tags) -> bytes:
        suffix = self._suffixes.get(tags)
        if suffix is None:
            suffix = length_prefixed(tags_digest(tags))
            if len(self._suffixes) < 256:
                self._suffixes[tags] = suffix
        return suffix

    def _aad(self, token: str, tags: Tags) -> bytes:
        encoded = token.encode()
        return b"%b%b%b%b" % (
            self._prefix,
            len(encoded).to_bytes(4, "big"),
            encoded,
            self._suffix(tags),
        )

    def encrypt(self, value: str, token: str, tags: Tags, nonce: bytes) -> bytes:
        """The record for ``value``. ``nonce``: 12 fresh random bytes, never reused."""
        return VERSION + nonce + self._encrypt(nonce, value.encode(), self._aad(token, tags))

    def decrypt(self, record: bytes, token: str, tags: Tags) -> str:
        """The value; :class:`IntegrityFailure` where the record is not this row's."""
        return self.opener(tags)(record, token)

    def opener(self, tags: Tags) -> Callable[[bytes, str], str]:
        """:meth:`decrypt` for many records of tokens with the same tags: what they share
        is looked up once."""
        decrypt, prefix, suffix = self._decrypt, self._prefix, self._suffix(tags)

        def open_record(record: bytes, token: str) -> str:
            if len(record) < _MINIMUM_LENGTH or record[0] != _VERSION_NUMBER:
                raise IntegrityFailure("The stored record has an unknown version or is cut short.")
            encoded = token.encode()
            aad = b"%b%b%b%b" % (prefix, len(encoded).to_bytes(4, "big"), encoded, suffix)
            try:
                return decrypt(record[1:_HEADER_LENGTH], record[_HEADER_LENGTH:], aad).decode()
            except (InvalidTag, UnicodeDecodeError):
                raise IntegrityFailure("The stored record does not belong to its row.") from None

        return open_record
