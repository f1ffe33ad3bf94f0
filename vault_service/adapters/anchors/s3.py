"""Checkpoints in an S3 bucket with Object Lock.

Each is an object under compliance mode: until its date nobody, the account's root user
included, can delete it, shorten its time or replace it (PCI-DSS 10.3.3, 10.3.4). Keys
begin with what is left from the tree's size up to the largest size there can be, so that
the first key of a listing is that of the largest tree.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import structlog

from vault_service.adapters.anchors.kept import READ_LIMIT, compare, decoded
from vault_service.adapters.aws_service import LASTING, PASSING, AwsService, Patience, Reason
from vault_service.domain.errors import Code, ConfigurationError, VaultError
from vault_service.domain.merkle import MAX_SIZE
from vault_service.domain.ports import Clock

RETENTION_DAYS: Final = 400
"""PCI-DSS 10.5.1 asks for twelve months; the rest is room for whoever is late."""
DEADLINE: Final = 6.0
"""Seconds that a caller waits for a checkpoint to be kept or found at the most."""
_CONNECT_SECONDS: Final = 1.0
_READ_SECONDS: Final = 2.0
_ATTEMPTS: Final = 2
_THREADS: Final = 2
_LONGEST_DAYS: Final = 36_500  # what S3 allows
_PAGE: Final = 10
_LOCATION: Final = re.compile(r"([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/[A-Za-z0-9!_.*'()/-]{0,512}")
_T = TypeVar("_T")

_NOT_LOCKED: Final = Reason(
    "The anchor bucket has no Object Lock, so that what it keeps could be deleted; set one"
    " that has, or switch it on.",
    LASTING,
)
_THROTTLED: Final = Reason("S3 throttles this account.", PASSING)
_CREDENTIALS: Final = Reason("S3 does not accept the AWS credentials.", LASTING)
_REFUSALS: Final = {
    "AccessDenied": Reason("S3 denies access to the anchor bucket.", LASTING),
    "NoSuchBucket": Reason("The anchor bucket does not exist.", LASTING),
    "ObjectLockConfigurationNotFoundError": _NOT_LOCKED,
    "PermanentRedirect": Reason(
        "The anchor bucket is in another region; set AWS_REGION to it.", LASTING
    ),
    "SlowDown": _THROTTLED,
    "RequestLimitExceeded": _THROTTLED,
    "ThrottlingException": _THROTTLED,
    "ExpiredToken": Reason("The AWS credentials have expired.", LASTING),
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "RequestTimeTooSkewed": Reason("The clock of this machine is wrong.", LASTING),
}
"""What S3 answers when the bucket is out of reach."""

_log = structlog.get_logger("strongroom.anchors")


class S3Anchor:
    """One object a checkpoint in ``bucket``, under ``prefix`` (empty: at the top), kept for
    ``retention_days``.

    Region, endpoint and credentials are boto3's own settings unless given. That the bucket
    has Object Lock is looked at once, at the first use. :class:`ConfigurationError` where
    the names or the days are unusable; S3 is not asked yet.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        retention_days: int = RETENTION_DAYS,
        *,
        clock: Clock = lambda: datetime.now(UTC),
        endpoint_url: str | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        if not 1 <= retention_days <= _LONGEST_DAYS:
            raise ConfigurationError(
                "Checkpoints are kept for 1 to 36500 days; set at least 365 (PCI-DSS 10.5.1)."
            )
        location = _LOCATION.fullmatch(f"{bucket}/{prefix}")
        if location is None or location[1] != bucket:
            raise ConfigurationError(
                "Checkpoints are kept in an S3 bucket named like s3://bucket/prefix or bucket."
            )
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")
        self._retention = timedelta(days=retention_days)
        self._clock = clock
        self._locked = False
        self._key = re.compile(re.escape(self._prefix) + r"[0-9]{19}-[0-9]{1,19}")
        self._s3 = AwsService(
            "s3",
            "S3",
            refusals=_REFUSALS,
            error=_unavailable,
            patience=Patience(_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS, deadline),
            threads=_THREADS,
            endpoint_url=endpoint_url,
        )

    @classmethod
    def at(cls, location: str, retention_days: int = RETENTION_DAYS) -> "S3Anchor":
        """The anchor at ``s3://bucket/prefix``, ``s3://bucket`` or ``bucket``."""
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        return cls(bucket, prefix, retention_days)

    def __repr__(self) -> str:
        return f"S3Anchor(s3://{self._bucket}/{self._prefix})"

    async def newest(self) -> str | None:
        """The signed checkpoint of the largest tree that was kept, if any was;
        ``audit_unavailable`` when S3 does not give it within the deadline."""
        return await self._s3.run(lambda client: self._reported(self._newest, client))

    async def keep(self, size: int, signed: str) -> None:
        """Keep the signed checkpoint of ``size`` leaves. ``audit_unavailable`` when S3 does
        not take it within the deadline, or could not keep it from being deleted;
        ``CheckpointConflict`` where the one that is there says something else."""
        await self._s3.run(
            lambda client: self._reported(lambda s3: self._keep(s3, size, signed), client)
        )

    def close(self) -> None:
        """Let the worker threads end; calls under way end by their own timeouts."""
        self._s3.close()

    def _reported(self, step: Callable[[Any], _T], client: Any) -> _T:
        try:
            self._check_lock(client)
            return step(client)
        except VaultError:
            raise
        except Exception as error:  # noqa: BLE001  # botocore documents no closed set
            raise self._s3.translated(error) from None

    def _check_lock(self, client: Any) -> None:
        if self._locked:
            return
        answer = client.get_object_lock_configuration(Bucket=self._bucket)
        lock = answer.get("ObjectLockConfiguration", {})
        if lock.get("ObjectLockEnabled") != "Enabled":
            raise _unavailable(_NOT_LOCKED)
        self._locked = True

    def _newest(self, client: Any) -> str | None:
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix, PaginationConfig={"PageSize": _PAGE}
        )
        for page in pages:
            for entry in page.get("Contents", ()):
                if self._key.fullmatch(entry["Key"]):
                    return decoded(self._read(client, entry["Key"]))
        return None

    def _keep(self, client: Any, size: int, signed: str) -> None:
        from botocore.exceptions import ClientError

        key = f"{self._prefix}{MAX_SIZE - size:019d}-{size}"
        body = signed.encode()
        try:
            client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType="text/plain; charset=utf-8",
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=base64.b64encode(hashlib.sha256(body).digest()).decode(),
                IfNoneMatch="*",
                ObjectLockMode="COMPLIANCE",
                ObjectLockRetainUntilDate=self._clock() + self._retention,
            )
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "PreconditionFailed":
                raise
            # It is there: from before, or from a first attempt whose answer was lost.
            compare(size, self._read(client, key), signed)

    def _read(self, client: Any, key: str) -> bytes:
        with client.get_object(Bucket=self._bucket, Key=key)["Body"] as body:
            return bytes(body.read(READ_LIMIT))


def _unavailable(reason: Reason) -> VaultError:
    _log.error("anchor_bucket_failed", reason=reason.detail)
    return VaultError(Code.AUDIT_UNAVAILABLE, reason.detail, retry_after=reason.retry_after)
