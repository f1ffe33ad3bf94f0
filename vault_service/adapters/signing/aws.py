"""A signing key in AWS KMS.

The private key never leaves KMS, so that whoever owns the database and this service can
make it sign, on record in CloudTrail, but cannot take it away (PCI-DSS 3.6.1.2, 10.3.4).

The public key is fetched once, and nothing waits for it at start: until KMS has given it,
it is unavailable, and asking for it has it fetched.
"""

import hashlib
import threading
from concurrent.futures import Future
from typing import Any, Final

import structlog

from vault_service.adapters.aws_service import LASTING, PASSING, Reason
from vault_service.adapters.kms.service import kms_service, unavailable
from vault_service.adapters.signing.local import bad_name
from vault_service.domain.notes import NoteMalformed, SignatureInvalid, VerifierKey, is_key_name

DEADLINE: Final = 3.0
"""Seconds that a caller waits for one signature, or for the public key, at the most."""
_THREADS: Final = 2
_ALGORITHM: Final = "ECDSA_SHA_256"
_WHOLE_BYTES: Final = 4096
"""Bytes of a message that KMS takes as it is; of a longer one it takes the digest."""
_KIND: Final = ("ECC_NIST_P256", "SIGN_VERIFY")

_OTHER_KIND: Final = Reason(
    "The signing key is of another kind; set one of key spec ECC_NIST_P256 and usage SIGN_VERIFY.",
    LASTING,
)
_WRONG_SIGNATURE: Final = Reason("KMS gave a signature that does not verify.", PASSING)
_NOT_YET: Final = Reason("KMS has not given the public key of the signing key yet.", 1)

_log = structlog.get_logger("strongroom.signing")


class KmsSigningKey:
    """Signs with the KMS key ``key_arn`` (ECC_NIST_P256, SIGN_VERIFY), under ``name``.

    ``key_arn`` is the ARN of a key, not of an alias, and tells the region.
    ``endpoint_url`` and credentials are boto3's own settings unless given here.
    :class:`ConfigurationError` for an unusable ARN or name; KMS is not asked yet.
    """

    def __init__(
        self,
        key_arn: str,
        name: str,
        *,
        endpoint_url: str | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        if not is_key_name(name):
            raise bad_name()
        self._arn = key_arn
        self._name = name
        self._kms = kms_service(
            key_arn,
            "signing key",
            deadline=deadline,
            threads=_THREADS,
            endpoint_url=endpoint_url,
        )
        self._key: VerifierKey | None = None
        self._asking = threading.Lock()
        self._asked: Future[VerifierKey] | None = None

    def __repr__(self) -> str:
        return f"KmsSigningKey({self._arn})"

    @property
    def name(self) -> str:
        """The key's name in signature lines."""
        return self._name

    @property
    def key(self) -> VerifierKey:
        """The public key, of the same name. :class:`KeyUnavailable` until KMS has given
        it; asking has it fetched, so that it may be there when asked for again. Never
        waits."""
        with self._asking:
            if self._key is not None:
                return self._key
            failure: BaseException | None = None
            if self._asked is None:
                self._asked = self._kms.submit(self._fetch)
            elif self._asked.done():
                failure = self._asked.exception()
                self._asked = self._kms.submit(self._fetch)
            raise failure or unavailable(_NOT_YET)

    async def open(self) -> VerifierKey:
        """The public key, fetched where it has not been yet; :class:`KeyUnavailable` when
        KMS does not give it within the deadline, or gives one of another kind."""
        if self._key is not None:
            return self._key
        return await self._kms.run(self._fetch)

    async def sign(self, message: bytes) -> bytes:
        """The ASN.1 DER signature over SHA-256 of ``message``, which verifies;
        :class:`KeyUnavailable` when KMS does not give one within the deadline."""
        key = await self.open()
        return await self._kms.run(lambda client: self._sign(client, key, message))

    def _fetch(self, client: Any) -> VerifierKey:
        try:
            answer = client.get_public_key(KeyId=self._arn)
        except Exception as error:  # noqa: BLE001  # botocore documents no closed set
            raise self._kms.translated(error) from None
        if "PublicKey" not in answer:
            # A proxy's error page, say: botocore reads it as an answer without fields.
            raise self._kms.failed()
        try:
            key = VerifierKey(self._name, answer["PublicKey"])
            # The second name is that of older releases of the interface.
            spec = answer.get("KeySpec") or answer.get("CustomerMasterKeySpec")
            if (spec, answer.get("KeyUsage")) != _KIND:
                raise NoteMalformed
        except NoteMalformed:
            _log.error("signing_key_unusable")
            raise unavailable(_OTHER_KIND) from None
        self._key = key
        return key

    def _sign(self, client: Any, key: VerifierKey, message: bytes) -> bytes:
        whole = len(message) <= _WHOLE_BYTES
        try:
            answer = client.sign(
                KeyId=self._arn,
                Message=message if whole else hashlib.sha256(message).digest(),
                MessageType="RAW" if whole else "DIGEST",
                SigningAlgorithm=_ALGORITHM,
            )
        except Exception as error:  # noqa: BLE001  # botocore documents no closed set
            raise self._kms.translated(error) from None
        if "Signature" not in answer:
            raise self._kms.failed()
        signature = bytes(answer["Signature"])
        try:
            # What does not verify is never kept: an auditor would call it tampering.
            key.check(message, signature)
        except SignatureInvalid:
            _log.error("signature_does_not_verify")
            raise unavailable(_WRONG_SIGNATURE) from None
        return signature

    def close(self) -> None:
        """Let the worker threads end; calls under way end by their own timeouts."""
        self._kms.close()
