"""Sealed outputs in an S3 bucket, where jobs put them under Object Lock."""

import re
from collections.abc import AsyncGenerator
from typing import Any, Final

import structlog

from vault_service.adapters.aws_service import LASTING, PASSING, AwsService, Patience, Reason
from vault_service.domain.errors import Code, ConfigurationError, VaultError

DEADLINE: Final = 10.0
"""Seconds that a caller waits for a piece of an output at the most."""
_PIECE: Final = 1 << 18
_LOCATION: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()/-]{0,512})?")
_MISSING: Final = "The output is no longer where the job left it."
_REFUSALS: Final = {
    "AccessDenied": Reason("S3 denies access to the bucket of outputs.", LASTING),
    "NoSuchBucket": Reason("The bucket of outputs does not exist.", LASTING),
    "PermanentRedirect": Reason(
        "The bucket of outputs is in another region; set AWS_REGION to it.", LASTING
    ),
    "SlowDown": Reason("S3 throttles this account.", PASSING),
    "ExpiredToken": Reason("The AWS credentials have expired.", LASTING),
    "InvalidAccessKeyId": Reason("S3 does not accept the AWS credentials.", LASTING),
    "SignatureDoesNotMatch": Reason("S3 does not accept the AWS credentials.", LASTING),
}
_log = structlog.get_logger("strongroom.outputs")


class S3Outputs:
    """One object an output, at ``s3://bucket/prefix`` (the setting ``location``). Region,
    endpoint and credentials are boto3's own settings unless given.
    :class:`ConfigurationError` for an unusable name; S3 is not asked yet."""

    def __init__(
        self, location: str, *, endpoint_url: str | None = None, deadline: float = DEADLINE
    ) -> None:
        place = location.removeprefix("s3://")
        if _LOCATION.fullmatch(place) is None:
            raise ConfigurationError(
                "STRONGROOM_REPORT_BUCKET must look like s3://bucket/prefix or bucket"
            )
        self._bucket, _, prefix = place.partition("/")
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")
        self._s3 = AwsService(
            "s3",
            "S3",
            refusals=_REFUSALS,
            error=_away,
            patience=Patience(1.0, 5.0, 2, deadline),
            threads=4,
            endpoint_url=endpoint_url,
        )

    def __repr__(self) -> str:
        return f"S3Outputs(s3://{self._bucket}/{self._prefix})"

    def close(self) -> None:
        """Let the worker threads end."""
        self._s3.close()

    async def read(self, location: str) -> AsyncGenerator[bytes, None]:
        """The output, piece by piece; ``not_found`` where there is none of this name,
        ``database_unavailable`` where S3 does not give it in time."""
        body = await self._s3.run(lambda client: self._open(client, location))
        try:
            while piece := await self._s3.run(lambda _: self._next(body)):
                yield piece
        finally:
            body.close()

    def _open(self, client: Any, location: str) -> Any:
        from botocore.exceptions import ClientError

        try:
            answer = client.get_object(Bucket=self._bucket, Key=f"{self._prefix}{location}")
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                raise VaultError(Code.NOT_FOUND, _MISSING) from None
            raise self._s3.translated(error) from None
        except Exception as error:  # noqa: BLE001  # botocore documents no closed set
            raise self._s3.translated(error) from None
        if "Body" not in answer:
            raise self._s3.failed()
        return answer["Body"]

    def _next(self, body: Any) -> bytes:
        try:
            return bytes(body.read(_PIECE))
        except Exception as error:  # noqa: BLE001  # urllib3's errors among them
            raise self._s3.translated(error) from None


def _away(reason: Reason) -> VaultError:
    _log.error("outputs_failed", reason=reason.detail)
    return VaultError(Code.DATABASE_UNAVAILABLE, reason.detail, retry_after=reason.retry_after)
