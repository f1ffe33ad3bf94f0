"""The log's tree as RFC 6962 2.1 writes it down, to hold the real one against, and a key.

Slow and plain on purpose: every hash is computed from the entries, every time.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vault_service.domain.merkle import NodeReader
from vault_service.domain.notes import VerifierKey, sign_line

ORIGIN: Final = "log.example/vault"
_PRIVATE: Final = ec.derive_private_key(20852163, ec.SECP256R1())


def key_of(private: ec.EllipticCurvePrivateKey, name: str = ORIGIN) -> VerifierKey:
    """The public half, under a name."""
    der = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return VerifierKey(name, der)


KEY: Final = key_of(_PRIVATE)


def sign(text: str) -> bytes:
    """The signature of ``text`` that :data:`KEY` verifies; the same each time (RFC 6979)."""
    return _PRIVATE.sign(text.encode(), ec.ECDSA(SHA256(), deterministic_signing=True))


def signed(text: str) -> str:
    """The note of ``text``, signed."""
    return f"{text}\n{sign_line(KEY.name, KEY.key_id, sign(text))}"


def entries(count: int) -> list[bytes]:
    """Distinct entries."""
    return [b"entry %d" % number for number in range(count)]


def root_of(leaves: Sequence[bytes]) -> bytes:
    """``MTH`` (RFC 6962 2.1)."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = _below(len(leaves))
    return hashlib.sha256(b"\x01" + root_of(leaves[:k]) + root_of(leaves[k:])).digest()


def path_to(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """``PATH`` (RFC 6962 2.1.1)."""
    if len(leaves) == 1:
        return []
    k = _below(len(leaves))
    if m < k:
        return [*path_to(m, leaves[:k]), root_of(leaves[k:])]
    return [*path_to(m - k, leaves[k:]), root_of(leaves[:k])]


def extension_of(m: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """``SUBPROOF`` (RFC 6962 2.1.2)."""
    if m == len(leaves):
        return [] if whole else [root_of(leaves)]
    k = _below(len(leaves))
    if m <= k:
        return [*extension_of(m, leaves[:k], whole), root_of(leaves[k:])]
    return [*extension_of(m - k, leaves[k:], False), root_of(leaves[:k])]


def reader(leaves: Sequence[bytes]) -> NodeReader:
    """The tree's perfect subtrees; one that is not wholly in the tree is an error."""

    def node(level: int, index: int) -> bytes:
        covered = leaves[index << level : (index + 1) << level]
        assert len(covered) == 1 << level
        return root_of(covered)

    return node


def flips(data: bytes) -> Iterator[bytes]:
    """``data`` with one bit changed, for every bit."""
    for bit in range(8 * len(data)):
        yield flipped(data, bit)


def flipped(data: bytes, bit: int) -> bytes:
    """``data`` with this bit changed."""
    changed = bytearray(data)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


def _below(size: int) -> int:
    """The largest power of two that is less than ``size``."""
    k = 1
    while 2 * k < size:
        k *= 2
    return k
