"""AWS KMS as one of its keys needs it: the key's region, and what its refusals mean."""

import re
from collections.abc import Callable
from typing import Final

from vault_service.adapters.aws_service import LASTING, PASSING, AwsService, Patience, Reason
from vault_service.domain.errors import ConfigurationError, KeyUnavailable

_CONNECT_SECONDS: Final = 0.8
_READ_SECONDS: Final = 1.2
_ATTEMPTS: Final = 2
_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:key/[A-Za-z0-9-]+")


def kms_service(
    key_arn: str,
    kind: str,
    *,
    deadline: float,
    threads: int,
    endpoint_url: str | None = None,
    prepare: Callable[[], object] = lambda: None,
) -> AwsService:
    """KMS in the region of the key ``key_arn``, which messages call ``kind`` (``wrapping
    key``); out of reach, it raises :class:`KeyUnavailable`.

    The ARN is of a key, not of an alias, which can be pointed elsewhere:
    :class:`ConfigurationError` where it is none.
    """
    match = _ARN.fullmatch(key_arn)
    if match is None:
        raise ConfigurationError(
            f"A {kind} is named by its key ARN:"
            " arn:aws:kms:<region>:<account>:key/<id>; aliases are not accepted."
        )
    return AwsService(
        "kms",
        "KMS",
        refusals=_refusals(kind),
        error=unavailable,
        patience=Patience(_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS, deadline),
        threads=threads,
        region=match[1],
        endpoint_url=endpoint_url,
        prepare=prepare,
    )


def unavailable(reason: Reason) -> KeyUnavailable:
    """The domain's error for a key that cannot be had now."""
    return KeyUnavailable(reason.detail, retry_after=reason.retry_after)


def _refusals(kind: str) -> dict[str, Reason]:
    """What KMS answers when a key is out of reach."""
    throttled = Reason("KMS throttles this account.", PASSING)
    other_kind = Reason(f"The {kind} is of another kind.", LASTING)
    credentials = Reason("KMS does not accept the AWS credentials.", LASTING)
    return {
        "ThrottlingException": throttled,
        "LimitExceededException": throttled,
        "AccessDeniedException": Reason(f"KMS denies access to the {kind}.", LASTING),
        "DisabledException": Reason(f"The {kind} is disabled.", LASTING),
        "KMSInvalidStateException": Reason(
            f"The {kind} is pending deletion or not ready.", LASTING
        ),
        "NotFoundException": Reason(f"The {kind} does not exist.", LASTING),
        "InvalidKeyUsageException": other_kind,
        "UnsupportedOperationException": other_kind,
        "ExpiredTokenException": Reason("The AWS credentials have expired.", LASTING),
        "UnrecognizedClientException": credentials,
        "InvalidSignatureException": credentials,
    }
