"""A signing key in a file, in place of KMS: for development, tests and the demo."""

from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from vault_service.adapters.private_files import load_or_create_key
from vault_service.domain.errors import ConfigurationError
from vault_service.domain.notes import NoteMalformed, VerifierKey

_LIMIT: Final = 4096


class UnsafeLocalSigningKey:
    """Signs with a P-256 key kept in the file ``path`` as PKCS#8 in PEM, under ``name``.

    Unsafe, because whoever reads the file can sign another history of the log, and
    nothing logs its use: production refuses it. The file is made on first use, with
    mode 0600, complete or not at all. :class:`ConfigurationError` where the file is open
    to others, is a link, or holds no such key, or where ``name`` is no key name.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._private_key = _load(path)
        der = self._private_key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        try:
            self._key = VerifierKey(name, der)
        except NoteMalformed:
            raise bad_name() from None

    def __repr__(self) -> str:
        return f"UnsafeLocalSigningKey({self._key.encode()})"

    @property
    def name(self) -> str:
        """The key's name in signature lines."""
        return self._key.name

    @property
    def key(self) -> VerifierKey:
        """The public key, of the same name."""
        return self._key

    async def open(self) -> VerifierKey:
        """The public key; it is always at hand."""
        return self._key

    async def sign(self, message: bytes) -> bytes:
        """The ASN.1 DER signature over SHA-256 of ``message``."""
        # 30 microseconds: a thread would cost more.
        return self._private_key.sign(message, ec.ECDSA(SHA256()))

    def close(self) -> None:
        """Nothing is held open."""


def bad_name() -> ConfigurationError:
    """What is raised where the name of a signing key cannot stand in a signature line."""
    return ConfigurationError(
        "The name of the log's signing key must not be empty or hold white space, + or"
        " control characters; set another one."
    )


def _load(path: Path) -> ec.EllipticCurvePrivateKey:
    content = load_or_create_key(path, "signing key", _new_key, _LIMIT)
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigurationError(
            f"The signing key file {path} does not hold a P-256 key in PEM; restore it from a"
            " backup, for auditors have pinned its public key."
        )
    return key


def _new_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
