"""A root key in a file, in place of KMS: for development, tests and the demo."""

import asyncio
import functools
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from vault_service.adapters.kms import envelope
from vault_service.adapters.private_files import load_or_create_key
from vault_service.domain.errors import ConfigurationError, DamagedKey

_LENGTH: Final = 32
_NAMESPACE: Final = "strongroom-local-root"


class UnsafeLocalRootKey:
    """Wraps data keys under 32 random bytes kept in the file ``path``.

    Unsafe, because whoever reads the file and the database reads everything, and
    nothing logs its use: production refuses it. The file is made on first use, with
    mode 0600, complete or not at all. :class:`ConfigurationError` where the file is
    open to others, is a link, or does not hold 32 bytes.
    """

    def __init__(self, path: Path) -> None:
        self._key = _load(path)
        fingerprint = hmac.digest(self._key, b"strongroom-root-fingerprint-v1", hashlib.sha256)
        self._reference = f"local:{fingerprint[:8].hex()}"
        self._workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="root-key")

    def __repr__(self) -> str:
        return f"UnsafeLocalRootKey({self._reference})"

    @property
    def reference(self) -> str:
        """``local:`` and 16 hex digits that tell one root key from another."""
        return self._reference

    async def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """The 32 secret bytes as an Encryption SDK message bound to ``context``."""
        return await self._run(envelope.seal, secret, context)

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The 32 secret bytes; :class:`DamagedKey` where the message is not intact,
        not under this root key, or bound to another context."""
        return await self._run(_unseal, wrapped, context)

    async def _run(self, step: Any, data: bytes, context: Mapping[str, str]) -> bytes:
        envelope.check_context(context)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, step, self._keyring, data, context)

    def _keyring(self, providers: Any) -> Any:
        from aws_cryptographic_material_providers.mpl.models import (
            AesWrappingAlg,
            CreateRawAesKeyringInput,
        )

        return providers.create_raw_aes_keyring(
            CreateRawAesKeyringInput(
                key_namespace=_NAMESPACE,
                key_name=self._reference,
                wrapping_key=self._key,
                wrapping_alg=AesWrappingAlg.ALG_AES256_GCM_IV12_TAG16,
            )
        )

    def close(self) -> None:
        """Let the worker threads end."""
        self._workers.shutdown(wait=False, cancel_futures=True)


def _unseal(make_keyring: envelope.MakeKeyring, data: bytes, context: Mapping[str, str]) -> bytes:
    envelope.load_sdk()
    try:
        return envelope.unseal(make_keyring, data, context)
    except DamagedKey:
        raise
    except Exception:  # noqa: BLE001  # the SDK documents no errors
        # No network is involved: whatever the SDK raises, the message did not verify.
        raise DamagedKey("A stored key does not belong to its row or its root key.") from None


def _load(path: Path) -> bytes:
    make = functools.partial(secrets.token_bytes, _LENGTH)
    key = load_or_create_key(path, "root key", make, _LENGTH + 1)
    if len(key) != _LENGTH:
        raise ConfigurationError(
            f"The root key file {path} does not hold 32 bytes; restore it from a backup,"
            " for without it nothing in the database can be read."
        )
    return key
