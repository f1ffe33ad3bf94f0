"""Places for checkpoints that fail in every way: loudly, without harm to what they hold."""

import asyncio
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.fakes.s3_faults import Mode, S3FaultProxy
from vault_service.adapters.anchors.file import FileAnchor
from vault_service.adapters.anchors.s3 import S3Anchor
from vault_service.domain.errors import CheckpointConflict, Code, ConfigurationError, VaultError

FIRST = "vault.example/audit\n1\nroot\n\n— vault.example/audit c2lnbmVk\n"
SECOND = FIRST.replace("\n1\n", "\n2\n")
SLOW = "S3 does not answer in time."
UNAVAILABLE = {
    Mode.REFUSE: "S3 cannot be reached.",
    Mode.HANG: SLOW,
    Mode.DRIP: SLOW,
    Mode.DROP: "S3 cannot be reached.",
    Mode.ACCESS_DENIED: "S3 denies access to the anchor bucket.",
    Mode.SLOW_DOWN: "S3 throttles this account.",
    Mode.SERVER_ERROR: "S3 failed.",
    Mode.IN_PROGRESS: "S3 failed.",
    Mode.GARBAGE: "S3 failed.",
    Mode.PAGE: "S3 failed.",
    Mode.EMPTY: "S3 failed.",
    Mode.EXPIRED_TOKEN: "The AWS credentials have expired.",
    Mode.OTHER_REGION: "The anchor bucket is in another region; set AWS_REGION to it.",
}
"""Modes in which neither keeping nor finding works."""

KILLED_BEFORE_THE_NAME = """
import asyncio, os, pathlib, signal, sys
os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from vault_service.adapters.anchors.file import FileAnchor
asyncio.run(FileAnchor(pathlib.Path(sys.argv[1])).keep(2, sys.argv[2]))
"""
NO_ROOM = """
import asyncio, pathlib, resource, sys
from vault_service.adapters.anchors.file import FileAnchor
from vault_service.domain.errors import VaultError
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
try:
    asyncio.run(FileAnchor(pathlib.Path(sys.argv[1])).keep(2, sys.argv[2]))
except VaultError as error:
    sys.exit(7 if error.code == "audit_unavailable" else 8)
"""


def run(program: str, folder: Path, signed: str) -> int:
    command = [sys.executable, "-c", program, str(folder), signed]
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode


@pytest.fixture(scope="module")
def server() -> Iterator[S3FaultProxy]:
    with S3FaultProxy() as proxy:
        yield proxy


@pytest.fixture
def s3(server: S3FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3FaultProxy]:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    yield server
    server.mode = Mode.OK


@pytest.fixture
async def anchor(s3: S3FaultProxy) -> S3Anchor:
    """An anchor that has been used, and holds one checkpoint."""
    anchor = S3Anchor(s3.create_bucket())
    await anchor.keep(1, FIRST)
    return anchor


@pytest.mark.parametrize("mode", UNAVAILABLE)
async def test_s3_out_of_reach_is_audit_unavailable_until_it_is_back(
    s3: S3FaultProxy, anchor: S3Anchor, mode: Mode
) -> None:
    s3.mode = mode
    for call in (anchor.keep(2, SECOND), anchor.newest()):
        with capture_logs() as lines, pytest.raises(VaultError) as caught:
            await call
        assert caught.value.code is Code.AUDIT_UNAVAILABLE
        assert caught.value.retry_after is not None
        assert caught.value.detail == UNAVAILABLE[mode]
        said = {"event": "anchor_bucket_failed", "log_level": "error"}
        assert {**said, "reason": UNAVAILABLE[mode]} in lines
        assert not [line for line in lines if "vault.example" in str(line)]
    s3.mode = Mode.OK
    # S3 may have kept it, and its answer came too late.
    assert await anchor.newest() in (FIRST, SECOND)
    await anchor.keep(2, SECOND)
    assert await anchor.newest() == SECOND
    anchor.close()


@pytest.mark.parametrize("mode", [Mode.GARBAGE, Mode.PAGE, Mode.EMPTY])
async def test_a_gateway_in_between_shows_no_object_lock(s3: S3FaultProxy, mode: Mode) -> None:
    anchor = S3Anchor(s3.create_bucket())
    s3.mode = mode
    for call in (anchor.keep(1, FIRST), anchor.newest()):
        with pytest.raises(VaultError) as caught:
            await call
        assert caught.value.code is Code.AUDIT_UNAVAILABLE
    s3.mode = Mode.OK
    await anchor.keep(1, FIRST)
    assert await anchor.newest() == FIRST
    anchor.close()


async def test_kept_though_the_answer_was_lost(s3: S3FaultProxy, anchor: S3Anchor) -> None:
    """The second attempt finds the object of the first, which says the same."""
    s3.mode = Mode.LOSE_ANSWER
    await anchor.keep(2, SECOND)
    assert s3.mode is Mode.OK
    assert await anchor.newest() == SECOND
    anchor.close()


async def test_a_bucket_without_object_lock_is_refused(s3: S3FaultProxy) -> None:
    """PCI-DSS 10.3.3: what could be deleted there is no copy."""
    bucket = s3.create_bucket(locked=False)
    anchor = S3Anchor(bucket)
    for call in (anchor.keep(1, FIRST), anchor.newest()):
        with pytest.raises(VaultError) as caught:
            await call
        assert caught.value.code is Code.AUDIT_UNAVAILABLE
        assert "has no Object Lock" in caught.value.detail
    assert "Contents" not in s3.client.list_objects_v2(Bucket=bucket)
    anchor.close()


async def test_object_lock_is_looked_at_once(s3: S3FaultProxy) -> None:
    anchor = S3Anchor(s3.create_bucket())
    await anchor.keep(1, FIRST)
    before = s3.calls.copy()
    await anchor.keep(2, SECOND)
    assert s3.calls - before == {"PUT": 1}
    anchor.close()


async def test_a_bucket_that_is_not_there_is_told(s3: S3FaultProxy) -> None:
    anchor = S3Anchor("no-such-bucket")
    with pytest.raises(VaultError) as caught:
        await anchor.newest()
    assert caught.value.detail == "The anchor bucket does not exist."
    anchor.close()


async def test_no_credentials_is_audit_unavailable(
    s3: S3FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(VaultError) as caught:
        await S3Anchor(s3.create_bucket()).keep(1, FIRST)
    assert caught.value.detail == "There are no AWS credentials."


async def test_more_callers_than_threads_all_get_an_answer(
    s3: S3FaultProxy, anchor: S3Anchor
) -> None:
    s3.mode = Mode.HANG
    answers = await asyncio.gather(
        *(anchor.keep(2, SECOND) for _ in range(20)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {VaultError}
    s3.mode = Mode.OK
    await anchor.keep(2, SECOND)
    anchor.close()


async def test_nothing_of_a_checkpoint_reaches_the_log_at_debug_level(
    s3: S3FaultProxy, anchor: S3Anchor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await anchor.keep(2, SECOND)
        await anchor.newest()
        with pytest.raises(CheckpointConflict):
            await anchor.keep(2, SECOND.replace("root", "another"))
    assert "vault.example" not in caplog.text
    assert not [line for line in caplog.records if line.name.startswith(("boto", "urllib3"))]
    anchor.close()


@pytest.mark.parametrize("location", ["", "s3://", "UPPER", "a", "s3://bucket/with space", "a/b"])
def test_places_that_are_no_bucket_are_refused(location: str) -> None:
    with pytest.raises(ConfigurationError, match="s3://bucket/prefix"):
        S3Anchor.at(location)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("bucket", "s3://bucket/"),
        ("s3://bucket", "s3://bucket/"),
        ("s3://bucket/", "s3://bucket/"),
        ("s3://bucket/logs/one", "s3://bucket/logs/one/"),
        ("bucket/logs/one/", "s3://bucket/logs/one/"),
    ],
)
def test_a_place_is_written_in_either_way(location: str, shown: str) -> None:
    assert repr(S3Anchor.at(location)) == f"S3Anchor({shown})"


@pytest.mark.parametrize("days", [-1, 0, 36_501])
def test_days_that_s3_does_not_know_are_refused(days: int) -> None:
    with pytest.raises(ConfigurationError, match="1 to 36500 days"):
        S3Anchor("bucket", retention_days=days)


async def test_killed_before_a_file_has_its_name_leaves_what_was_kept(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    anchor = FileAnchor(folder)
    await anchor.keep(1, FIRST)
    assert run(KILLED_BEFORE_THE_NAME, folder, SECOND) == -signal.SIGKILL
    assert len(list(folder.iterdir())) == 2  # the draft was left behind
    assert await anchor.newest() == FIRST
    await anchor.keep(2, SECOND)
    assert await anchor.newest() == SECOND


async def test_no_room_is_audit_unavailable_and_leaves_what_was_kept(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    anchor = FileAnchor(folder)
    await anchor.keep(1, FIRST)
    assert run(NO_ROOM, folder, SECOND) == 7
    assert len(list(folder.iterdir())) == 1
    assert await anchor.newest() == FIRST


async def test_a_folder_that_cannot_be_made_is_audit_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    anchor = FileAnchor(tmp_path / "file" / "checkpoints")
    for call in (anchor.keep(1, FIRST), anchor.newest()):
        with capture_logs() as lines, pytest.raises(VaultError) as caught:
            await call
        assert caught.value.code is Code.AUDIT_UNAVAILABLE
        assert lines == [
            {"event": "anchor_folder_failed", "log_level": "error", "errno": "ENOTDIR"}
        ]
    (tmp_path / "file").unlink()
    await anchor.keep(1, FIRST)
    assert await anchor.newest() == FIRST


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o750, 0o701])
async def test_a_folder_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """PCI-DSS 10.3.2: they could take checkpoints out of it."""
    folder = tmp_path / "checkpoints"
    anchor = FileAnchor(folder)
    await anchor.keep(1, FIRST)
    folder.chmod(mode)
    for call in (anchor.keep(2, SECOND), anchor.newest()):
        with capture_logs() as lines, pytest.raises(VaultError, match="audit_unavailable"):
            await call
        assert [line["event"] for line in lines] == ["anchor_not_private"]
    folder.chmod(0o700)
    assert await anchor.newest() == FIRST


async def test_links_are_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    await FileAnchor(elsewhere).keep(1, FIRST)
    (tmp_path / "link").symlink_to(elsewhere)
    folder = tmp_path / "checkpoints"
    folder.mkdir(mode=0o700)
    (folder / f"{1:019d}.checkpoint").symlink_to(elsewhere / f"{1:019d}.checkpoint")
    for place in (tmp_path / "link", folder):
        for call in (FileAnchor(place).keep(1, FIRST), FileAnchor(place).newest()):
            with pytest.raises(VaultError) as caught:
                await call
            assert caught.value.code is Code.AUDIT_UNAVAILABLE


async def test_a_file_that_others_can_change_is_refused(tmp_path: Path) -> None:
    anchor = FileAnchor(tmp_path / "checkpoints")
    await anchor.keep(1, FIRST)
    (tmp_path / "checkpoints" / f"{1:019d}.checkpoint").chmod(0o666)
    with pytest.raises(VaultError) as caught:
        await anchor.newest()
    assert "chmod 600" in caught.value.detail
