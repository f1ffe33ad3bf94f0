"""A wrapping key in AWS KMS.

The key never leaves KMS; each wrap is one ``GenerateDataKey`` call and each unwrap one
``Decrypt`` call, with the row's facts as encryption context, so that CloudTrail shows
which tenant and class a key was opened for (PCI-DSS 3.6.1.2, 3.6.1.3).

KMS that is slow is treated as KMS that is away: whatever it does, a call ends within
``DEADLINE`` seconds.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from vault_service.adapters.kms import envelope
from vault_service.domain.errors import (
    ConfigurationError,
    DamagedKey,
    KeyUnavailable,
    VaultError,
)

DEADLINE: Final = 3.0
"""Seconds that a caller waits for one wrap or unwrap at the most."""
_SETUP_DEADLINE: Final = 20.0
_CONNECT_SECONDS: Final = 0.8
_READ_SECONDS: Final = 1.2
_ATTEMPTS: Final = 2
_WORKERS: Final = 8
_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:key/[A-Za-z0-9-]+")

_PASSING: Final = 5
_LASTING: Final = 30
_REFUSALS: Final[Mapping[str, tuple[str, int]]] = {
    "ThrottlingException": ("KMS throttles this account.", _PASSING),
    "LimitExceededException": ("KMS throttles this account.", _PASSING),
    "AccessDeniedException": ("KMS denies access to the wrapping key.", _LASTING),
    "DisabledException": ("The wrapping key is disabled.", _LASTING),
    "KMSInvalidStateException": ("The wrapping key is pending deletion or not ready.", _LASTING),
    "NotFoundException": ("The wrapping key does not exist.", _LASTING),
    "InvalidKeyUsageException": ("The wrapping key is of another kind.", _LASTING),
    "ExpiredTokenException": ("The AWS credentials have expired.", _LASTING),
    "UnrecognizedClientException": ("KMS does not accept the AWS credentials.", _LASTING),
    "InvalidSignatureException": ("KMS does not accept the AWS credentials.", _LASTING),
}
"""What KMS answers when a key is out of reach: constant detail, seconds to wait."""
_DAMAGED: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
"""What KMS answers when a blob is not the one it made for this context."""
_FAILED: Final = ("KMS failed.", _PASSING)
_SLOW: Final = ("KMS does not answer in time.", _PASSING)
_AWAY: Final = ("KMS cannot be reached.", _PASSING)
_NO_CREDENTIALS: Final = ("There are no AWS credentials.", _LASTING)


class AwsKmsWrapper:
    """Wraps data keys under the symmetric KMS key ``key_arn``.

    ``key_arn`` is the ARN of a key, not of an alias (an alias can be pointed
    elsewhere), and tells the region. ``endpoint_url`` and credentials are boto3's own
    settings unless given here. :class:`ConfigurationError` for an unusable ARN.
    """

    def __init__(
        self, key_arn: str, *, endpoint_url: str | None = None, deadline: float = DEADLINE
    ) -> None:
        match = _ARN.fullmatch(key_arn)
        if match is None:
            raise ConfigurationError(
                "A wrapping key is named by its key ARN:"
                " arn:aws:kms:<region>:<account>:key/<id>; aliases are not accepted."
            )
        self._arn = key_arn
        self._region = match[1]
        self._endpoint_url = endpoint_url
        self._deadline = deadline
        self._workers = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="kms")
        self._setup = threading.Lock()
        self._client: Any = None

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
        step: Callable[[bytes, Mapping[str, str]], bytes],
        data: bytes,
        context: Mapping[str, str],
    ) -> bytes:
        envelope.check_context(context)
        loop = asyncio.get_running_loop()
        try:
            if self._client is None:
                # Importing takes seconds, once; it is not KMS that is slow then.
                setup = loop.run_in_executor(self._workers, self._connect)
                await asyncio.wait_for(setup, _SETUP_DEADLINE)
            call = loop.run_in_executor(self._workers, step, data, context)
            return await asyncio.wait_for(call, self._deadline)
        except TimeoutError:
            raise _unavailable(_SLOW) from None

    def _connect(self) -> None:
        from boto3.session import Session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        envelope.load_sdk()
        with self._setup:
            if self._client is not None:
                return
            config = Config(
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                max_pool_connections=_WORKERS,
            )
            try:
                # A session of its own: boto3's default session is not thread-safe.
                self._client = Session().client(
                    "kms",
                    region_name=self._region,
                    endpoint_url=self._endpoint_url,
                    config=config,
                )
            except (BotoCoreError, ValueError):
                raise KeyUnavailable(
                    "The AWS settings do not allow a KMS client.", retry_after=_LASTING
                ) from None

    def _seal(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        calls = _WatchedClient(self._client)
        try:
            return envelope.seal(self._keyring_maker(calls), secret, context)
        except Exception:  # noqa: BLE001  # the SDK documents no errors
            # Nothing is stored yet, so nothing is damaged: KMS gave no usable key.
            failure = calls.failure
            if failure is None or isinstance(failure, DamagedKey):
                failure = _unavailable(_FAILED)
            raise failure from None

    def _unseal(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        calls = _WatchedClient(self._client)
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
        self._workers.shutdown(wait=False, cancel_futures=True)


class _WatchedClient:
    """The KMS client of one call, which remembers how KMS failed.

    The material providers flatten what KMS said into text that differs by version, so
    the reason is taken here, where it is still a code.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
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
            self.failure = _translated(error)
            raise
        if expected not in answer:
            # A proxy's error page, say: botocore reads it as an answer without fields.
            self.failure = _unavailable(_FAILED)
            raise self.failure
        return answer


def _translated(error: Exception) -> VaultError:
    from botocore import exceptions as boto

    match error:
        case boto.ClientError():
            code = error.response.get("Error", {}).get("Code", "")
            if code in _DAMAGED:
                return DamagedKey("KMS does not recognize a stored key in its context.")
            return _unavailable(_REFUSALS.get(code, _FAILED))
        case boto.ConnectTimeoutError() | boto.ReadTimeoutError():
            return _unavailable(_SLOW)
        case boto.HTTPClientError() | boto.ConnectionError():
            return _unavailable(_AWAY)
        case boto.NoCredentialsError() | boto.CredentialRetrievalError():
            return _unavailable(_NO_CREDENTIALS)
        case _:
            return _unavailable(_FAILED)


def _unavailable(reason: tuple[str, int]) -> KeyUnavailable:
    detail, retry_after = reason
    return KeyUnavailable(detail, retry_after=retry_after)
