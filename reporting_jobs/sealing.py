"""Outputs as AWS Encryption SDK messages, sealed where they are made.

Pulled piece by piece: a frame of 64 KiB is encrypted when the store asks for it, so that
neither memory nor any disk ever holds the unsealed whole. The suite is
``AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384``: key commitment, and a signature that no
other reader of the message can make. A message holds one encrypted data key.

The run, the report, its template and, of a run that was split, the part are *required*
encryption context: authenticated, but
not stored in the message, so that it opens for nobody who does not know, from the manifest,
what it should be (PCI-DSS 3.6.1.2).

The SDK takes most of a second to import, so it is imported where it is used. Its keyrings
must not be shared between threads: each message has its own.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, BinaryIO, Final

from reporting_jobs.byte_stream import Watched, stream_of
from reporting_jobs.failures import RunFailed
from reporting_jobs.recipients import KmsRecipient, Recipient
from vault_service.domain.report_failures import FailureCode

FRAME_BYTES: Final = 1 << 16
_NAMESPACE: Final = "strongroom-report"
_LINE: Final = 1 << 18


class SealInvalid(Exception):
    """A sealed file that this key does not open, that is of another run, or was changed."""


def context(
    run_id: str, report: str, template_hash: str, part: str | None = None
) -> Mapping[str, str]:
    """What the output of a run, or of its ``part`` (``3/12``), is bound to."""
    bound = {
        "purpose": "strongroom/report-output",
        "report": report,
        "run": run_id,
        "template": template_hash,
    }
    return bound if part is None else bound | {"part": part}


class Sealed:
    """The sealed file in pieces, to be iterated once; afterwards ``sha256`` (hex) and
    ``length`` (bytes) are those of the whole.

    Whatever making ``pieces`` raises passes through. Raises ``recipient_unusable`` where
    the recipient's key cannot be used; with ``passing`` where it may be later.
    """

    def __init__(
        self,
        pieces: Iterable[bytes],
        recipient: Recipient,
        bound_to: Mapping[str, str],
        *,
        kms: Callable[[str], Any] | None = None,
    ) -> None:
        self._pieces = Watched(pieces)
        self._recipient = recipient
        self._context = dict(bound_to)
        self._kms = kms or kms_client
        self._digest = hashlib.sha256()
        self.length = 0

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of what was sealed so far."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        from aws_encryption_sdk.identifiers import Algorithm

        try:
            stream = _sdk().stream(
                mode="encrypt",
                source=stream_of(iter(self._pieces)),
                materials_manager=_materials(
                    lambda providers: _keyring(providers, self._recipient, self._kms),
                    self._context,
                ),
                encryption_context=self._context,
                algorithm=Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384,
                frame_length=FRAME_BYTES,
            )
            while piece := stream.read(_LINE):
                self._digest.update(piece)
                self.length += len(piece)
                yield piece
        except Exception as error:
            if self._pieces.failed:
                raise
            raise _unusable(error) from None


def unseal(
    sealed: BinaryIO,
    bound_to: Mapping[str, str],
    *,
    key_arn: str | None = None,
    private_key: bytes | None = None,
    kms: Callable[[str], Any] | None = None,
) -> Iterator[bytes]:
    """The file as it was before it was sealed, in pieces, with the KMS key ``key_arn`` or an
    RSA ``private_key`` (unencrypted PEM).

    Nothing of it may be used before the last piece has come: only then is it known to be
    whole and signed. Raises :class:`SealInvalid` where it is not, or is bound to something
    else, or to another key.
    """

    def keyring(providers: Any) -> Any:
        if key_arn is not None:
            return _kms_keyring(providers, key_arn, (kms or kms_client)(key_arn.split(":")[3]))
        return _rsa_keyring(providers, private_key=private_key)

    try:
        stream = _sdk().stream(
            mode="decrypt",
            source=sealed,
            materials_manager=_materials(keyring, bound_to),
            encryption_context=dict(bound_to),
        )
        while piece := stream.read(_LINE):
            yield piece
        stream.close()
    except OSError:
        raise
    except Exception:  # noqa: BLE001  # the SDK documents no errors
        raise SealInvalid("the file does not open") from None
    if sealed.read(1):
        raise SealInvalid("the file goes on after its end")


def kms_client(region: str) -> Any:
    """A client of KMS in ``region``; endpoint and credentials are boto3's own settings."""
    from boto3.session import Session
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": 4}
    config = Config(connect_timeout=3, read_timeout=5, retries=retries)
    return Session().client("kms", region_name=region, config=config)


@cache
def _sdk() -> Any:
    import aws_encryption_sdk

    # It logs a traceback for each message that does not open.
    logging.getLogger("aws_encryption_sdk").setLevel(logging.CRITICAL + 1)
    return aws_encryption_sdk.EncryptionSDKClient(
        commitment_policy=aws_encryption_sdk.CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
        max_encrypted_data_keys=1,
    )


def _materials(keyring: Callable[[Any], Any], bound_to: Mapping[str, str]) -> Any:
    from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
    from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
    from aws_cryptographic_material_providers.mpl.models import (
        CreateDefaultCryptographicMaterialsManagerInput,
        CreateRequiredEncryptionContextCMMInput,
    )

    providers = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
    underlying = providers.create_default_cryptographic_materials_manager(
        CreateDefaultCryptographicMaterialsManagerInput(keyring=keyring(providers))
    )
    # Without this manager, a message opens for whoever does not ask for its context.
    return providers.create_required_encryption_context_cmm(
        CreateRequiredEncryptionContextCMMInput(
            underlying_cmm=underlying, required_encryption_context_keys=list(bound_to)
        )
    )


def _keyring(providers: Any, recipient: Recipient, kms: Callable[[str], Any]) -> Any:
    if isinstance(recipient, KmsRecipient):
        return _kms_keyring(providers, recipient.arn, kms(recipient.region))
    return _rsa_keyring(providers, public_key=recipient.public_key)


def _kms_keyring(providers: Any, arn: str, client: Any) -> Any:
    from aws_cryptographic_material_providers.mpl.models import CreateAwsKmsKeyringInput

    return providers.create_aws_kms_keyring(
        CreateAwsKmsKeyringInput(kms_key_id=arn, kms_client=client)
    )


def _rsa_keyring(providers: Any, **keys: bytes | None) -> Any:
    from aws_cryptographic_material_providers.mpl.models import (
        CreateRawRsaKeyringInput,
        PaddingScheme,
    )

    return providers.create_raw_rsa_keyring(
        CreateRawRsaKeyringInput(
            key_namespace=_NAMESPACE,
            key_name="recipient",
            padding_scheme=PaddingScheme.OAEP_SHA256_MGF1,
            **keys,
        )
    )


def _unusable(error: Exception) -> RunFailed:
    from botocore.exceptions import BotoCoreError

    causes = [error, error.__cause__, error.__context__]
    return RunFailed(
        FailureCode.RECIPIENT_UNUSABLE,
        "The output cannot be sealed to the recipient's key; see that the job may use it.",
        passing=any(isinstance(cause, BotoCoreError) for cause in causes),
    )
