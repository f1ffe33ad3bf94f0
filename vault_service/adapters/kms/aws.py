"""A wrapping key in AWS KMS.

The key never leaves KMS; each wrap is one ``GenerateDataKey`` call and each unwrap one
``Decrypt`` call, with the row's facts as encryption context, so that CloudTrail shows
which tenant and class a key was opened for (PCI-DSS 3.6.1.2, 3.6.1.3).

KMS that is slow is treated as KMS that is away: whatever it does, a call ends within
``DEADLINE`` seconds.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from vault_service.adapters.aws_service import AwsService
from vault_service.adapters.kms import envelope
from vault_service.adapters.kms.service import kms_service
from vault_service.domain.errors import DamagedKey, VaultError

DEADLINE: Final = 3.0
"""Seconds that a caller waits for one wrap or unwrap at the most."""
_THREADS: Final = 8
_DAMAGED: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
"""What KMS answers when a blob is not the one it made for this context."""


class AwsKmsWrapper:
    """Wraps data keys under the symmetric KMS key ``key_arn``.

    ``key_arn`` is the ARN of a key, not of an alias (an alias can be pointed
    elsewhere), and tells the region. ``endpoint_url`` and credentials are boto3's own
    settings unless given here. :class:`ConfigurationError` for an unusable ARN.
    """

    def __init__(
        self, key_arn: str, *, endpoint_url: str | None = None, deadline: float = DEADLINE
    ) -> None:
        self._arn = key_arn
        self._kms = kms_service(
            key_arn,
            "wrapping key",
            deadline=deadline,
            threads=_THREADS,
            endpoint_url=endpoint_url,
            prepare=envelope.load_sdk,
        )

    def __repr__(self) -> str:
        return f"AwsKmsWrapper({self._arn})"

    @property
    def reference(self) -> str:
        """The ARN of the wrapping key."""
        return self._arn

    async def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """The 32 secret bytes as an Encryption SDK message bound to ``context``;
        :class:`KeyUnavailable` when KMS does not give a key within the deadline."""
        return await self._run(self._seal, secret, context)

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The 32 secret bytes; :class:`KeyUnavailable` when KMS does not open the
        message within the deadline, :class:`DamagedKey` when it is not intact or bound
        to another context, or when KMS answers with another plaintext."""
        return await self._run(self._unseal, wrapped, context)

    async def _run(
        self,
        step: Callable[[Any, bytes, Mapping[str, str]], bytes],
        data: bytes,
        context: Mapping[str, str],
    ) -> bytes:
        envelope.check_context(context)
        return await self._kms.run(lambda client: step(client, data, context))

    def _seal(self, client: Any, secret: bytes, context: Mapping[str, str]) -> bytes:
        calls = _WatchedClient(client, self._kms)
        try:
            return envelope.seal(self._keyring_maker(calls), secret, context)
        except Exception:  # noqa: BLE001  # the SDK documents no errors
            # Nothing is stored yet, so nothing is damaged: KMS gave no usable key.
            failure = calls.failure
            if failure is None or isinstance(failure, DamagedKey):
                failure = self._kms.failed()
            raise failure from None

    def _unseal(self, client: Any, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        calls = _WatchedClient(client, self._kms)
        try:
            return envelope.unseal(self._keyring_maker(calls), wrapped, context)
        except DamagedKey:
            raise
        except Exception:  # noqa: BLE001  # the SDK documents no errors
            raise (
                calls.failure
                or DamagedKey("A stored key does not belong to its row or its wrapping key.")
            ) from None

    def _keyring_maker(self, client: "_WatchedClient") -> envelope.MakeKeyring:
        def make(providers: Any) -> Any:
            from aws_cryptographic_material_providers.mpl.models import (
                CreateAwsKmsKeyringInput,
            )

            return providers.create_aws_kms_keyring(
                CreateAwsKmsKeyringInput(kms_key_id=self._arn, kms_client=client)
            )

        return make

    def close(self) -> None:
        """Let the worker threads end; calls under way end by their own timeouts."""
        self._kms.close()


class _WatchedClient:
    """The KMS client of one call, which remembers how KMS failed.

    The material providers flatten what KMS said into text that differs by version, so
    the reason is taken here, where it is still a code.
    """

    def __init__(self, client: Any, kms: AwsService) -> None:
        self._client = client
        self._kms = kms
        self.meta = client.meta
        self.failure: VaultError | None = None

    def generate_data_key(self, **request: Any) -> Any:
        return self._watched(self._client.generate_data_key, request, "CiphertextBlob")

    def encrypt(self, **request: Any) -> Any:
        return self._watched(self._client.encrypt, request, "CiphertextBlob")

    def decrypt(self, **request: Any) -> Any:
        return self._watched(self._client.decrypt, request, "Plaintext")

    def _watched(
        self, operation: Callable[..., Any], request: dict[str, Any], expected: str
    ) -> Any:
        try:
            answer = operation(**request)
        except Exception as error:
            self.failure = _translated(error, self._kms)
            raise
        if expected not in answer:
            # A proxy's error page, say: botocore reads it as an answer without fields.
            self.failure = self._kms.failed()
            raise self.failure
        return answer


def _translated(error: Exception, kms: AwsService) -> VaultError:
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        if code in _DAMAGED:
            return DamagedKey("KMS does not recognize a stored key in its context.")
    return kms.translated(error)
