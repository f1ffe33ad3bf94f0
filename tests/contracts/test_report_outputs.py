"""What every place of sealed outputs promises: a folder, and S3."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.s3_faults import Mode, S3FaultProxy
from vault_service.adapters.outputs.file import FileOutputs
from vault_service.adapters.outputs.s3 import S3Outputs
from vault_service.domain.errors import Code, ConfigurationError, VaultError
from vault_service.domain.report_ports import OutputStore

CONTENT = bytes(range(256)) * 4096


@dataclass
class Place:
    outputs: OutputStore
    put: Callable[[str, bytes], None]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3FaultProxy]:
    with S3FaultProxy() as proxy:
        yield proxy


@pytest.fixture(params=["file", "s3", "s3 under a prefix"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    if request.param == "file":
        folder = tmp_path / "reports"

        def write(name: str, content: bytes) -> None:
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_bytes(content)

        yield Place(FileOutputs(folder), write)
        return
    proxy: S3FaultProxy = request.getfixturevalue("s3")
    for name, value in proxy.environment().items():
        monkeypatch.setenv(name, value)
    bucket = proxy.create_bucket()
    prefix = "reports/main/" if "prefix" in request.param else ""
    outputs = S3Outputs(f"s3://{bucket}/{prefix}", deadline=30)

    def put(name: str, content: bytes) -> None:
        proxy.client.put_object(Bucket=bucket, Key=prefix + name, Body=content)

    yield Place(outputs, put)
    outputs.close()


async def read(outputs: OutputStore, name: str) -> list[bytes]:
    return [piece async for piece in outputs.read(name)]


async def test_gives_what_lies_there_piece_by_piece(place: Place) -> None:
    place.put("run_1/output.sealed", CONTENT)
    pieces = await read(place.outputs, "run_1/output.sealed")
    assert b"".join(pieces) == CONTENT
    assert len(pieces) == 4
    assert {len(piece) for piece in pieces} == {1 << 18}


async def test_what_is_not_there_is_not_found(place: Place) -> None:
    with pytest.raises(VaultError) as caught:
        await read(place.outputs, "run_1/missing.sealed")
    assert caught.value.code is Code.NOT_FOUND


async def test_a_folder_gives_nothing_of_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to(tmp_path)
    for name in ("../secret", "link", "up/secret", str(tmp_path / "secret")):
        with pytest.raises(VaultError):
            await read(FileOutputs(folder), name)


@pytest.mark.parametrize("mode", [Mode.ACCESS_DENIED, Mode.SERVER_ERROR])
async def test_a_bucket_that_cannot_be_read_is_told_apart(
    s3: S3FaultProxy, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    outputs = S3Outputs(s3.create_bucket())
    s3.mode = mode
    try:
        with pytest.raises(VaultError) as caught:
            await read(outputs, "run_1/output.sealed")
    finally:
        s3.mode = Mode.OK
        outputs.close()
    assert caught.value.code is Code.DATABASE_UNAVAILABLE
    assert caught.value.retry_after is not None


@pytest.mark.parametrize("location", ["", "s3://", "s3://A", "https://bucket/x", "s3://b/ü"])
def test_an_unusable_bucket_name(location: str) -> None:
    with pytest.raises(ConfigurationError):
        S3Outputs(location)
