"""Small files that are handed to jobs beside the vault: recipients' public keys, and inputs.

A place is a folder or ``s3://bucket/prefix``. A recipient's key is looked up by its digest
(``<sha256 hex>.pem``), so that whoever can write there can withhold a key and cannot
exchange one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from reporting_jobs.byte_stream import stream_of
from reporting_jobs.failures import RunFailed
from reporting_jobs.stores import s3_client
from vault_service.domain.report_failures import FailureCode
from vault_service.domain.reports import INPUT_NAME

_MAX_KEY_BYTES: Final = 1 << 16
_CHUNK_BYTES: Final = 1 << 16


class Place(Protocol):
    """Where files lie by name."""

    def open(self, name: str) -> BinaryIO:
        """The file, to be read once; :class:`FileNotFoundError` where there is none."""


class FolderPlace:
    """Files in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def open(self, name: str) -> BinaryIO:
        return (self._directory / _checked(name)).open("rb")


class S3Place:
    """Objects in ``bucket`` under ``prefix``."""

    def __init__(self, bucket: str, prefix: str, client: Callable[[], Any] | None = None) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")
        self._make_client = client or s3_client

    def open(self, name: str) -> BinaryIO:
        client = self._make_client()
        try:
            body = client.get_object(Bucket=self._bucket, Key=self._prefix + _checked(name))["Body"]
        except client.exceptions.NoSuchKey:
            raise FileNotFoundError(name) from None
        return stream_of(body.iter_chunks(_CHUNK_BYTES))


def place(location: str, client: Callable[[], Any] | None = None) -> Place:
    """The place at a path or ``s3://bucket/prefix``."""
    if location.startswith("s3://"):
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        return S3Place(bucket, prefix, client)
    return FolderPlace(Path(location))


def public_key(at: Place | None, reference: str) -> str | None:
    """The public key (PEM) of a recipient called ``rsa:<digest>``, ``None`` for others.
    Raises ``recipient_unusable`` where no such key was put there."""
    if not reference.startswith("rsa:"):
        return None
    try:
        if at is None:
            raise FileNotFoundError
        with at.open(reference.removeprefix("rsa:") + ".pem") as file:
            return file.read(_MAX_KEY_BYTES).decode("ascii", "replace")
    except FileNotFoundError:
        raise RunFailed(
            FailureCode.RECIPIENT_UNUSABLE,
            "The recipient's public key is not at STRONGROOM_REPORT_RECIPIENTS; put it there as"
            " <digest>.pem.",
        ) from None


def _checked(name: str) -> str:
    if INPUT_NAME.fullmatch(name) is None:
        raise FileNotFoundError(name)
    return name
