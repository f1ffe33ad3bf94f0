"""Where sealed outputs are kept.

Each store takes a file piece by piece, shows nothing of it before it is whole, and leaves
nothing of it where it is given up. The name of a file is that of the run, of the part where
there are parts, and of the attempt, so that no attempt replaces what another made.

- :class:`S3Store`: a bucket with Object Lock (PCI-DSS 10.3.3).
- :class:`FolderStore`: a folder, outside AWS.
"""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from reporting_jobs.byte_stream import Watched
from reporting_jobs.failures import RunFailed
from vault_service.domain.report_failures import FailureCode

PART_BYTES: Final = 8 << 20
"""A part of a multipart upload: at 10,000 parts, outputs of 78 GiB."""
RETENTION_DAYS: Final = 400
"""PCI-DSS 10.5.1 asks for twelve months; the rest is room for whoever is late."""
SUFFIX: Final = ".sealed"
_NAME: Final = re.compile(r"[a-z0-9_]{1,64}/[a-z0-9_-]{1,64}(/part-[0-9]{4})?/[0-9]{1,6}")


class Store(Protocol):
    """Keeps sealed files."""

    def keep(self, name: str, pieces: Iterable[bytes]) -> str:
        """Keep the file under ``name`` (report/run/attempt, or report/run/part/attempt); its
        name below the place of outputs. What making the pieces raises passes through, with
        nothing kept; ``store_failed`` where it cannot be kept, or a file of this name is
        there."""

    def holds(self, location: str, length: int) -> bool:
        """Whether the file that an attempt before this one was to keep is there, whole, with
        so many bytes. Where it is not, no process that still lives can keep it any more.
        Raises ``store_failed``."""


class S3Store:
    """Objects in ``bucket`` under ``prefix``, in compliance mode for ``retention_days``:
    until then nobody, the account's root user included, can delete or replace them.

    Each part goes with its SHA-256, which S3 compares. Parts that killed attempts of the
    run have left are taken away before a new one begins. ``client`` makes boto3's S3
    client.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        retention_days: int = RETENTION_DAYS,
        *,
        client: Callable[[], Any] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")
        self._retention = timedelta(days=retention_days)
        self._make_client = client or s3_client
        self._clock = clock

    def __repr__(self) -> str:
        return f"S3Store(s3://{self._bucket}/{self._prefix})"

    def keep(self, name: str, pieces: Iterable[bytes]) -> str:
        key = self._prefix + location_of(_checked(name))
        source = Watched(pieces)
        try:
            client = self._make_client()
            self._clear(client, key.rpartition("/")[0] + "/")
            self._upload(client, key, source)
        except Exception as error:
            if source.failed:
                raise
            raise _translated(error) from None
        return location_of(name)

    def holds(self, location: str, length: int) -> bool:
        key = self._prefix + location
        try:
            client = self._make_client()
            self._clear(client, key.rpartition("/")[0] + "/")
            return self._is_there(client, key, length)
        except Exception as error:  # noqa: BLE001  # botocore documents no closed set
            raise _translated(error) from None

    def _is_there(self, client: Any, key: str, length: int) -> bool:
        found = client.list_objects_v2(Bucket=self._bucket, Prefix=key).get("Contents", ())
        return any((each["Key"], each["Size"]) == (key, length) for each in found)

    def _clear(self, client: Any, prefix: str) -> None:
        found = client.list_multipart_uploads(Bucket=self._bucket, Prefix=prefix)
        for upload in found.get("Uploads", ()):
            self._abort(client, upload["Key"], upload["UploadId"])

    def _upload(self, client: Any, key: str, pieces: Iterable[bytes]) -> None:
        upload = client.create_multipart_upload(
            Bucket=self._bucket,
            Key=key,
            ContentType="application/octet-stream",
            ChecksumAlgorithm="SHA256",
            ObjectLockMode="COMPLIANCE",
            ObjectLockRetainUntilDate=self._clock() + self._retention,
        )["UploadId"]
        try:
            parts, length = [], 0
            for number, body in enumerate(_parts(pieces), start=1):
                parts.append(self._part(client, key, upload, number, body))
                length += len(body)
            self._complete(client, key, upload, parts, length)
        except BaseException:
            self._abort(client, key, upload)
            raise

    def _complete(
        self, client: Any, key: str, upload: str, parts: list[dict[str, str | int]], length: int
    ) -> None:
        try:
            client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
                IfNoneMatch="*",
            )
        except Exception:
            # A try whose answer was lost may have done it: nobody else has this name.
            if not self._is_there(client, key, length):
                raise

    def _part(
        self, client: Any, key: str, upload: str, number: int, body: bytes
    ) -> dict[str, str | int]:
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        answer = client.upload_part(
            Bucket=self._bucket,
            Key=key,
            UploadId=upload,
            PartNumber=number,
            Body=body,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=checksum,
        )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

    def _abort(self, client: Any, key: str, upload: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)
        except (BotoCoreError, ClientError):
            # It is there for the next attempt, or the bucket's lifecycle, to take away; what
            # went wrong first is what has to be told.
            return


class FolderStore:
    """Files in ``directory``, for their owner alone (mode 0600)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __repr__(self) -> str:
        return "FolderStore()"

    def keep(self, name: str, pieces: Iterable[bytes]) -> str:
        path = self._directory / location_of(_checked(name))
        part = path.with_suffix(".part")
        source = Watched(pieces)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Of this attempt's name there is one process at a time; a rest is a killed one's.
            part.unlink(missing_ok=True)
            try:
                _write(part, source)
                # Unlike a rename, a link replaces nothing.
                os.link(part, path)
                _sync_directory(path.parent)
            finally:
                part.unlink(missing_ok=True)
        except OSError:
            if source.failed:
                raise
            raise _folder_failed() from None
        return location_of(name)

    def holds(self, location: str, length: int) -> bool:
        path = self._directory / location
        try:
            # Who was at work on it finds nothing to publish any more.
            path.with_suffix(".part").unlink(missing_ok=True)
            return path.stat().st_size == length
        except FileNotFoundError:
            return False
        except OSError:
            raise _folder_failed() from None


def s3_client() -> Any:
    """A client of S3; region, endpoint and credentials are boto3's own settings."""
    from boto3.session import Session
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": 4}
    return Session().client(
        "s3", config=Config(connect_timeout=3, read_timeout=30, retries=retries)
    )


def location_of(name: str) -> str:
    """Where the file of this name lies, below the place of outputs."""
    return name + SUFFIX


def _folder_failed() -> RunFailed:
    return RunFailed(
        FailureCode.STORE_FAILED,
        "The folder of outputs cannot be used; it must be writable, on a disk with room.",
        passing=True,
    )


def _checked(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError("a file is named by report, run, part and attempt")
    return name


def _parts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= PART_BYTES:
            yield bytes(waiting[:PART_BYTES])
            del waiting[:PART_BYTES]
    yield bytes(waiting)


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _translated(error: Exception) -> RunFailed:
    from botocore.exceptions import ClientError

    lasting = {"AccessDenied", "NoSuchBucket", "InvalidRequest", "PreconditionFailed"}
    code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
    return RunFailed(
        FailureCode.STORE_FAILED,
        "S3 does not keep the output; see that the bucket has Object Lock and the job may write.",
        passing=code not in lasting,
    )
