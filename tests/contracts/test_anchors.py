"""What every place where checkpoints are kept promises: a folder, and S3."""

import asyncio
import stat
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from structlog.testing import capture_logs

from tests.fakes.checkpoints import RemovableAnchor
from tests.fakes.s3_faults import S3FaultProxy
from vault_service.adapters.anchors.file import FileAnchor
from vault_service.adapters.anchors.s3 import RETENTION_DAYS, S3Anchor
from vault_service.domain.checkpoints import Checkpoint, open_checkpoint
from vault_service.domain.errors import CheckpointConflict, Code
from vault_service.domain.merkle import MAX_SIZE, leaf_hash
from vault_service.domain.notes import NoteError, VerifierKey, sign_line
from vault_service.domain.ports import Anchor

NAME = "vault.example/audit"
PRIVATE_KEY = ec.generate_private_key(ec.SECP256R1())
KEY = VerifierKey(
    NAME, PRIVATE_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
)


def checkpoint(size: int, root: bytes = b"") -> str:
    """A signed checkpoint; each call signs anew."""
    text = Checkpoint(NAME, size, leaf_hash(root)).text()
    signature = PRIVATE_KEY.sign(text.encode(), ec.ECDSA(SHA256()))
    return f"{text}\n{sign_line(NAME, KEY.key_id, signature)}"


@dataclass
class Place:
    """A place for checkpoints, and what somebody with access to it does there."""

    anchor: Anchor
    put: Callable[[str, bytes], None]
    """Put something there by name, over what is there."""
    names: Callable[[], list[str]]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3FaultProxy]:
    with S3FaultProxy() as proxy:
        yield proxy


@pytest.fixture(params=["file", "removable", "s3", "s3 under a prefix"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    if request.param in ("file", "removable"):
        place = _folder(tmp_path / "home" / "checkpoints")
        if request.param == "removable":
            place.anchor = RemovableAnchor(place.anchor)
        yield place
        return
    s3: S3FaultProxy = request.getfixturevalue("s3")
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    bucket = s3.create_bucket()
    prefix = "logs/one" if "prefix" in request.param else ""
    # moto answers in bursts on a busy machine: this test is not about deadlines.
    anchor = S3Anchor(bucket, prefix, deadline=30)
    top = prefix and f"{prefix}/"

    def put(name: str, body: bytes) -> None:
        s3.client.put_object(Bucket=bucket, Key=top + name, Body=body)

    def names() -> list[str]:
        listed = s3.client.list_objects_v2(Bucket=bucket, Prefix=top).get("Contents", [])
        return [entry["Key"].removeprefix(top) for entry in listed]

    yield Place(anchor, put, names)
    anchor.close()


def _folder(folder: Path) -> Place:
    def put(name: str, body: bytes) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
        (folder / name).chmod(0o600)

    def names() -> list[str]:
        return sorted(path.name for path in folder.iterdir())

    return Place(FileAnchor(folder), put, names)


async def test_has_nothing_at_first(place: Place) -> None:
    assert await place.anchor.newest() is None


async def test_gives_back_what_it_kept(place: Place) -> None:
    signed = checkpoint(7)
    await place.anchor.keep(7, signed)
    assert await place.anchor.newest() == signed


@pytest.mark.parametrize("sizes", [(9, 10), (10, 9), (1000, 5, 999), (1, MAX_SIZE, 2**62)])
async def test_the_newest_is_that_of_the_largest_tree(place: Place, sizes: tuple[int, ...]) -> None:
    for size in sizes:
        await place.anchor.keep(size, checkpoint(size))
    newest = await place.anchor.newest()
    assert newest is not None
    assert open_checkpoint(newest, KEY).size == max(sizes)
    assert len(place.names()) == len(sizes)


async def test_keeping_it_again_changes_nothing(place: Place) -> None:
    signed = checkpoint(7)
    await place.anchor.keep(7, signed)
    await place.anchor.keep(7, signed)
    assert await place.anchor.newest() == signed
    assert len(place.names()) == 1


async def test_another_signature_of_the_same_text_changes_nothing(place: Place) -> None:
    """ECDSA has many signatures of one text: they say the same of the log."""
    first, second = checkpoint(7), checkpoint(7)
    assert first != second
    await place.anchor.keep(7, first)
    await place.anchor.keep(7, second)
    assert await place.anchor.newest() == first


async def test_one_that_says_something_else_is_refused_and_told(place: Place) -> None:
    """PCI-DSS 10.3.4: what was kept is not replaced, and that somebody tried is seen."""
    signed = checkpoint(7)
    await place.anchor.keep(7, signed)
    with capture_logs() as lines, pytest.raises(CheckpointConflict) as caught:
        await place.anchor.keep(7, checkpoint(7, b"another history"))
    assert caught.value.code is Code.AUDIT_UNAVAILABLE
    assert lines == [{"event": "checkpoint_conflict", "log_level": "critical", "size": 7}]
    assert await place.anchor.newest() == signed


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"half a check"])
async def test_what_is_damaged_opens_as_nothing_and_is_not_mended(
    place: Place, damage: bytes
) -> None:
    await place.anchor.keep(7, checkpoint(7))
    place.put(place.names()[0], damage)
    found = await place.anchor.newest()
    assert found is not None
    with pytest.raises(NoteError):
        open_checkpoint(found, KEY)
    with pytest.raises(CheckpointConflict):
        await place.anchor.keep(7, checkpoint(7))


async def test_leaves_alone_what_is_not_its_own(place: Place) -> None:
    for name in ("0", "README.txt", "zzz", ".hidden", "9" * 25):
        place.put(name, checkpoint(99).encode())
    assert await place.anchor.newest() is None
    signed = checkpoint(7)
    await place.anchor.keep(7, signed)
    assert await place.anchor.newest() == signed


async def test_of_many_at_the_same_time_one_is_kept(place: Place) -> None:
    rivals = [checkpoint(7, bytes([n % 2])) for n in range(8)]
    others = [checkpoint(size) for size in range(1, 7)]

    async def outcome(work: Awaitable[None]) -> str:
        try:
            await work
        except CheckpointConflict:
            return "refused"
        return "kept"

    outcomes = await asyncio.gather(
        *(outcome(place.anchor.keep(7, signed)) for signed in rivals),
        *(outcome(place.anchor.keep(size, other)) for size, other in enumerate(others, start=1)),
    )
    newest = await place.anchor.newest()
    assert newest in rivals
    text = newest.partition("\n\n")[0]
    same = [signed.partition("\n\n")[0] == text for signed in rivals]
    assert outcomes[:8] == ["kept" if equal else "refused" for equal in same]
    assert outcomes[8:] == ["kept"] * 6
    assert len(place.names()) == 7


async def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """PCI-DSS 10.3.2."""
    folder = tmp_path / "checkpoints"
    await FileAnchor(folder).keep(7, checkpoint(7))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600]


@pytest.mark.parametrize("days", [RETENTION_DAYS, 30])
async def test_s3_holds_them_under_compliance_until_their_date(
    s3: S3FaultProxy, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """PCI-DSS 10.3.3, 10.3.4, 10.5.1: nobody deletes them, for twelve months and more
    unless told otherwise."""
    assert RETENTION_DAYS >= 366
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    bucket = s3.create_bucket()
    now = datetime.now(UTC).replace(microsecond=0)
    anchor = S3Anchor(bucket, "", days, clock=lambda: now, deadline=30)
    await anchor.keep(7, checkpoint(7))
    anchor.close()
    [version] = s3.client.list_object_versions(Bucket=bucket)["Versions"]
    named = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
    stored = s3.client.head_object(**named)
    assert stored["ObjectLockMode"] == "COMPLIANCE"
    assert stored["ObjectLockRetainUntilDate"] == now + timedelta(days=days)
    assert stored["ContentType"] == "text/plain; charset=utf-8"
    for bypass in (False, True):
        with pytest.raises(s3.client.exceptions.ClientError, match="AccessDenied"):
            s3.client.delete_object(**named, BypassGovernanceRetention=bypass)
