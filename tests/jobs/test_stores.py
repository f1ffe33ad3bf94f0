"""A store shows whole files alone, keeps what it has, and leaves nothing of what failed."""

import base64
import hashlib
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reporting_jobs.failures import RunFailed
from reporting_jobs.places import place, public_key
from reporting_jobs.stores import PART_BYTES, FolderStore, S3Store
from tests.jobs.conftest import Aws, RsaPair
from vault_service.domain.report_failures import FailureCode

NAME = "tiny/run_1/1"
NOW = datetime(2026, 11, 25, tzinfo=UTC)


class Broken(Exception):
    """Making the pieces fails."""


def breaking(after: int) -> Iterator[bytes]:
    yield b"x" * after
    raise Broken


class Sent:
    """An S3 client that tells what it was asked for."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.calls: list[tuple[str, dict[str, Any]]] = []
        client.meta.events.register("provide-client-params.s3", self._saw)

    def _saw(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls.append((model.name, params))

    def of(self, operation: str) -> list[dict[str, Any]]:
        return [params for name, params in self.calls if name == operation]


@pytest.fixture
def bucket(aws: Aws) -> str:
    return aws.bucket()


@pytest.fixture
def sent(aws: Aws) -> Sent:
    return Sent(aws.client("s3"))


@pytest.fixture
def s3(sent: Sent, bucket: str) -> S3Store:
    return S3Store(bucket, "outputs", 30, client=lambda: sent.client, clock=lambda: NOW)


def keys(sent: Sent, bucket: str) -> list[str]:
    found = sent.client.list_object_versions(Bucket=bucket).get("Versions", ())
    return [entry["Key"] for entry in found]


def uploads(sent: Sent, bucket: str) -> list[Any]:
    return list(sent.client.list_multipart_uploads(Bucket=bucket).get("Uploads", ()))


@pytest.mark.parametrize("length", [0, 1, PART_BYTES, PART_BYTES + 1])
def test_s3_keeps_a_file_of_any_length_in_parts(
    s3: S3Store, sent: Sent, bucket: str, length: int
) -> None:
    pieces = (b"x" * min(100_000, length - at) for at in range(0, length, 100_000))
    assert s3.keep(NAME, pieces) == f"{NAME}.sealed"
    body = sent.client.get_object(Bucket=bucket, Key=f"outputs/{NAME}.sealed")["Body"].read()
    assert body == b"x" * length
    assert uploads(sent, bucket) == []


def test_s3_is_told_to_lock_the_object_and_to_compare_each_part(s3: S3Store, sent: Sent) -> None:
    s3.keep(NAME, [b"x" * PART_BYTES, b"y"])
    (created,) = sent.of("CreateMultipartUpload")
    assert created["ObjectLockMode"] == "COMPLIANCE"
    assert created["ObjectLockRetainUntilDate"] == NOW + timedelta(days=30)
    sums = [
        base64.b64encode(hashlib.sha256(body).digest()).decode()
        for body in (b"x" * PART_BYTES, b"y")
    ]
    assert [part["ChecksumSHA256"] for part in sent.of("UploadPart")] == sums
    (done,) = sent.of("CompleteMultipartUpload")
    assert [part["ChecksumSHA256"] for part in done["MultipartUpload"]["Parts"]] == sums
    assert done["IfNoneMatch"] == "*"


@pytest.mark.parametrize("after", [10, PART_BYTES + 1])
def test_s3_keeps_nothing_of_a_file_that_was_given_up(
    s3: S3Store, sent: Sent, bucket: str, after: int
) -> None:
    with pytest.raises(Broken):
        s3.keep(NAME, breaking(after))
    assert keys(sent, bucket) == []
    assert uploads(sent, bucket) == []


def test_s3_takes_away_what_killed_attempts_of_the_run_have_left(
    s3: S3Store, sent: Sent, bucket: str
) -> None:
    for name in ("tiny/run_1/1", "tiny/run_2/1"):
        sent.client.create_multipart_upload(Bucket=bucket, Key=f"outputs/{name}.sealed")
    s3.keep("tiny/run_1/2", [b"x"])
    assert [upload["Key"] for upload in uploads(sent, bucket)] == ["outputs/tiny/run_2/1.sealed"]


def test_s3_tells_what_an_attempt_that_was_killed_had_published(
    s3: S3Store, sent: Sent, bucket: str
) -> None:
    location = s3.keep(NAME, [b"x" * 10])
    assert s3.holds(location, 10)
    assert not s3.holds(location, 11)
    assert not s3.holds("tiny/run_1/2.sealed", 10)
    assert not s3.holds("tiny/run_1/1", 10)


def test_s3_whose_last_answer_is_lost_has_kept_the_file(
    s3: S3Store, sent: Sent, bucket: str
) -> None:
    """Asked again it refuses what it has done: that is no failure."""
    from botocore.exceptions import ConnectionClosedError
    from botocore.httpsession import URLLib3Session

    def lost(request: Any, **_: Any) -> None:
        sent.client.meta.events.unregister("before-send.s3.CompleteMultipartUpload", lost)
        assert URLLib3Session().send(request).status_code == 200
        raise ConnectionClosedError(endpoint_url=request.url)

    sent.client.meta.events.register("before-send.s3.CompleteMultipartUpload", lost)
    assert s3.keep(NAME, [b"x" * 10]) == f"{NAME}.sealed"
    assert keys(sent, bucket) == [f"outputs/{NAME}.sealed"]
    with pytest.raises(RunFailed):
        s3.keep(NAME, [b"y"])
    assert keys(sent, bucket) == [f"outputs/{NAME}.sealed"]


def test_s3_lets_nobody_publish_any_more_once_it_was_asked(
    s3: S3Store, sent: Sent, bucket: str
) -> None:
    """A process that lost its lease, at work on the last byte, is too late."""
    found: list[bool] = []

    def pieces() -> Iterator[bytes]:
        yield b"x" * 10
        found.append(s3.holds(f"{NAME}.sealed", 10))

    with pytest.raises(RunFailed) as late:
        s3.keep(NAME, pieces())
    assert (late.value.code, found) == (FailureCode.STORE_FAILED, [False])
    assert keys(sent, bucket) == []
    assert s3.keep("tiny/run_1/2", [b"y"]) == "tiny/run_1/2.sealed"


def test_s3_keeps_the_parts_of_a_run_apart(s3: S3Store, sent: Sent, bucket: str) -> None:
    """Beginning one part takes nothing away from another."""

    def pieces() -> Iterator[bytes]:
        yield b"x" * 10
        s3.keep("tiny/run_1/part-0002/1", [b"y"])
        assert not s3.holds("tiny/run_1/part-0003/1.sealed", 1)

    s3.keep("tiny/run_1/part-0001/1", pieces())
    assert keys(sent, bucket) == [
        f"outputs/tiny/run_1/part-000{number}/1.sealed" for number in (1, 2)
    ]


def test_s3_that_refuses_is_told_apart_from_s3_that_is_away(aws: Aws, sent: Sent) -> None:
    with pytest.raises(RunFailed) as refused:
        S3Store("no-such-bucket", client=lambda: sent.client).keep(NAME, [b"x"])
    assert (refused.value.code, refused.value.passing) == (FailureCode.STORE_FAILED, False)
    away = aws.client("s3")
    away.meta.events.register("before-send.s3", lambda **_: _fail())
    with pytest.raises(RunFailed) as gone:
        S3Store("outputs", client=lambda: away).keep(NAME, [b"x"])
    assert (gone.value.code, gone.value.passing) == (FailureCode.STORE_FAILED, True)


def _fail() -> None:
    from botocore.exceptions import EndpointConnectionError

    raise EndpointConnectionError(endpoint_url="s3")


def test_a_folder_keeps_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    assert FolderStore(tmp_path / "out").keep(NAME, [b"a", b"b"]) == f"{NAME}.sealed"
    path = tmp_path / "out" / f"{NAME}.sealed"
    assert path.read_bytes() == b"ab"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_folder_keeps_nothing_of_a_file_that_was_given_up(tmp_path: Path) -> None:
    with pytest.raises(Broken):
        FolderStore(tmp_path).keep(NAME, breaking(10))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_replaces_nothing_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    part = tmp_path / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"left by a kill")
    store.keep(NAME, [b"first"])
    with pytest.raises(RunFailed) as refused:
        store.keep(NAME, [b"second"])
    assert refused.value.code == FailureCode.STORE_FAILED
    assert [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] == [b"first"]


def test_a_folder_tells_what_was_published_and_lets_nobody_publish_after(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    found: list[bool] = []

    def pieces() -> Iterator[bytes]:
        yield b"x" * 10
        found.append(store.holds(f"{NAME}.sealed", 10))

    with pytest.raises(RunFailed) as late:
        store.keep(NAME, pieces())
    assert (late.value.code, found) == (FailureCode.STORE_FAILED, [False])
    location = store.keep(NAME, [b"x" * 10])
    assert store.holds(location, 10)
    assert not store.holds(location, 9)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["1.sealed"]


def test_a_name_with_a_way_out_is_refused(tmp_path: Path) -> None:
    for name in ("../x/1", "a/b/c", "/etc/x/1", "a/b", "a/b/part-1/1", "a/b/../1"):
        with pytest.raises(ValueError, match="named"):
            FolderStore(tmp_path).keep(name, [b"x"])


def test_keys_and_inputs_are_found_in_a_folder_and_in_s3(
    aws: Aws, tmp_path: Path, reader: RsaPair
) -> None:
    digest = reader.recipient.name.removeprefix("rsa:")
    bucket = aws.bucket()
    (tmp_path / f"{digest}.pem").write_text(reader.public)
    aws.client("s3").put_object(
        Bucket=bucket, Key=f"keys/{digest}.pem", Body=reader.public.encode()
    )
    for location in (str(tmp_path), f"s3://{bucket}/keys"):
        there = place(location)
        assert public_key(there, reader.recipient.name) == reader.public
        assert public_key(there, "arn:aws:kms:eu-west-1:111122223333:key/x") is None
        with pytest.raises(RunFailed, match="STRONGROOM_REPORT_RECIPIENTS"):
            public_key(there, "rsa:" + "0" * 64)
        with pytest.raises(FileNotFoundError):
            there.open("../outside")
