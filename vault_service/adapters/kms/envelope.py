"""Wrapped keys as AWS Encryption SDK messages.

A message is made with the non-signing committing suite
``AES_256_GCM_HKDF_SHA512_COMMIT_KEY`` (key commitment: no message opens under two
keys), holds exactly one encrypted data key, and is bound to five facts about its row.
The facts are *required* encryption context: they are authenticated but not stored, so
whoever opens the message must know them already (PCI-DSS 3.6.1, 3.7.7).

The SDK costs up to two seconds to import, so it is imported on first use, on a worker
thread. Its keyrings must not be shared between threads, so each call makes its own.
"""

import functools
import io
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from vault_service.adapters.aws_service import quiet_logs
from vault_service.domain.errors import DamagedKey

CONTEXT_KEYS: Final = ("data_class", "environment", "key_id", "purpose", "tenant")
"""What every wrapped key is bound to."""
SECRET_LENGTH: Final = 32

MakeKeyring = Callable[[Any], Any]
"""Makes a fresh keyring from the material providers that it is given."""


@functools.cache
def load_sdk() -> Any:
    """The Encryption SDK client, imported at the first call and then kept.

    The SDK logs a traceback for each message that does not open: it is kept quiet,
    whatever the level of the root logger, and botocore beneath it.
    """
    import aws_encryption_sdk

    logging.getLogger("aws_encryption_sdk").setLevel(logging.CRITICAL + 1)
    quiet_logs()
    return aws_encryption_sdk.EncryptionSDKClient(
        commitment_policy=aws_encryption_sdk.CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
        max_encrypted_data_keys=1,
    )


def check_context(context: Mapping[str, str]) -> None:
    """``ValueError`` where the context has other keys than ``CONTEXT_KEYS``."""
    if tuple(sorted(context)) != CONTEXT_KEYS:
        raise ValueError("a wrapped key is bound to exactly the keys of CONTEXT_KEYS")


def seal(make_keyring: MakeKeyring, secret: bytes, context: Mapping[str, str]) -> bytes:
    """The message that holds ``secret`` (32 bytes) bound to ``context``.

    ``ValueError`` where the secret has another length. What the SDK raises is the
    caller's to translate.
    """
    from aws_encryption_sdk.identifiers import Algorithm

    if len(secret) != SECRET_LENGTH:
        raise ValueError("a data key has 32 bytes")
    message, _header = load_sdk().encrypt(
        source=secret,
        materials_manager=_materials_manager(make_keyring),
        encryption_context=dict(context),
        algorithm=Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
    )
    return bytes(message)


def unseal(make_keyring: MakeKeyring, message: bytes, context: Mapping[str, str]) -> bytes:
    """The 32 secret bytes of a message made by :func:`seal` with the same context.

    :class:`DamagedKey` for a message that is cut short, has bytes to spare, or holds
    something of another length. What the SDK raises is the caller's to translate.
    """
    source = io.BytesIO(message)
    secret, _header = load_sdk().decrypt(
        source=source,
        materials_manager=_materials_manager(make_keyring),
        encryption_context=dict(context),
    )
    if len(secret) != SECRET_LENGTH or source.read(1):
        raise DamagedKey("A stored key has an unexpected length.")
    return bytes(secret)


def _materials_manager(make_keyring: MakeKeyring) -> Any:
    from aws_cryptographic_material_providers.mpl import (
        AwsCryptographicMaterialProviders,
    )
    from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
    from aws_cryptographic_material_providers.mpl.models import (
        CreateDefaultCryptographicMaterialsManagerInput,
        CreateRequiredEncryptionContextCMMInput,
    )

    providers = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
    underlying = providers.create_default_cryptographic_materials_manager(
        CreateDefaultCryptographicMaterialsManagerInput(keyring=make_keyring(providers))
    )
    # Without this manager, a message opens for whoever does not ask for its context.
    return providers.create_required_encryption_context_cmm(
        CreateRequiredEncryptionContextCMMInput(
            underlying_cmm=underlying, required_encryption_context_keys=list(CONTEXT_KEYS)
        )
    )
