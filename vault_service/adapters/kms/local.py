"""A root key in a file, in place of KMS: for development, tests and the demo."""

import asyncio
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from vault_service.adapters.kms import envelope
from vault_service.domain.errors import ConfigurationError, DamagedKey

_LENGTH: Final = 32
_MODE: Final = 0o600
_NAMESPACE: Final = "strongroom-local-root"


class UnsafeLocalRootKey:
    """Wraps data keys under 32 random bytes kept in the file ``path``.

    Unsafe, because whoever reads the file and the database reads everything, and
    nothing logs its use: production refuses it. The file is made on first use, with
    mode 0600, complete or not at all. :class:`ConfigurationError` where the file is
    open to others, is a link, or does not hold 32 bytes.
    """

    def __init__(self, path: Path) -> None:
        self._key = _load_or_create(path)
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


def _load_or_create(path: Path) -> bytes:
    try:
        return _load(path)
    except FileNotFoundError:
        _create(path)
        return _load(path)


def _load(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError:
        raise ConfigurationError(
            f"The root key file {path} cannot be opened; it must be a plain file that only"
            " its owner can read."
        ) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise ConfigurationError(
                f"The root key file {path} is open to other users; run: chmod 600 {path}"
            )
        key = os.read(descriptor, _LENGTH + 1)
    finally:
        os.close(descriptor)
    if len(key) != _LENGTH:
        raise ConfigurationError(
            f"The root key file {path} does not hold 32 bytes; restore it from a backup,"
            " for without it nothing in the database can be read."
        )
    return key


def _create(path: Path) -> None:
    """Write a new key beside ``path`` and link it there: two processes that start
    together agree on one key, and a crash leaves no half-written one."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    except OSError:
        raise ConfigurationError(f"The root key file {path} cannot be created.") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(secrets.token_bytes(_LENGTH))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first; its key is the key
    finally:
        draft.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
