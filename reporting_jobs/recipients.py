"""Who an output is for: a KMS key, or an RSA public key.

A recipient is named by the ARN of a symmetric KMS key, or by ``rsa:`` and the SHA-256 (hex)
of an RSA public key in DER (SubjectPublicKeyInfo), which travels beside the name as PEM.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from reporting_jobs.failures import RunFailed
from vault_service.domain.report_failures import FailureCode

LEAST_RSA_BITS: Final = 3072
"""128 bits of strength (NIST SP 800-57 part 1, table 2)."""
_KMS_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:key/(?:mrk-[0-9a-f]{32}|[0-9a-f-]{36})"
)


@dataclass(frozen=True, slots=True)
class KmsRecipient:
    """Whoever may decrypt with this KMS key, which is in ``region``."""

    arn: str
    region: str


@dataclass(frozen=True, slots=True)
class RsaRecipient:
    """Whoever holds the private half of this RSA key (``public_key``: PEM)."""

    name: str
    public_key: bytes = field(repr=False)


Recipient = KmsRecipient | RsaRecipient


def recipient(reference: str, public_key: str | None = None) -> Recipient:
    """The recipient of this name. Raises ``recipient_unusable`` for a name that is neither,
    an alias, an RSA key below 3,072 bits, and one that is not the key of the name."""
    match = _KMS_ARN.fullmatch(reference)
    if match is not None:
        return KmsRecipient(reference, match[1])
    if not reference.startswith("rsa:") or public_key is None:
        raise _unusable("The recipient is neither the ARN of a KMS key nor an RSA public key.")
    found = rsa_recipient(public_key)
    if found.name != reference:
        raise _unusable("The recipient's public key is not the one that its name says.")
    return found


def rsa_recipient(public_key: str) -> RsaRecipient:
    """The recipient with this public key (PEM); ``recipient_unusable`` where it is none."""
    try:
        key = load_pem_public_key(public_key.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise _unusable("The recipient's public key is not one in PEM.") from None
    if not isinstance(key, RSAPublicKey):
        raise _unusable("The recipient's public key is not an RSA key.")
    if key.key_size < LEAST_RSA_BITS:
        raise _unusable("The recipient's RSA key is shorter than 3,072 bits; make a longer one.")
    form = PublicFormat.SubjectPublicKeyInfo
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, form)).hexdigest()
    return RsaRecipient(f"rsa:{digest}", key.public_bytes(Encoding.PEM, form))


def _unusable(detail: str) -> RunFailed:
    return RunFailed(FailureCode.RECIPIENT_UNUSABLE, detail)
