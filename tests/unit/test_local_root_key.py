"""The root key file: made once, for its owner alone."""

import asyncio
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vault_service.adapters.kms import envelope
from vault_service.adapters.kms.local import UnsafeLocalRootKey
from vault_service.domain.errors import ConfigurationError

CONTEXT = dict.fromkeys(envelope.CONTEXT_KEYS, "x")


def test_is_made_for_the_owner_alone_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    old = os.umask(0)
    try:
        first = UnsafeLocalRootKey(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes()) == 32
    assert UnsafeLocalRootKey(path).reference == first.reference
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o601])
def test_refuses_a_file_that_others_can_use(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "root.key"
    UnsafeLocalRootKey(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        UnsafeLocalRootKey(path)


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_refuses_a_key_of_another_length(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "root.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="32 bytes"):
        UnsafeLocalRootKey(path)


def test_refuses_links_and_directories(tmp_path: Path) -> None:
    real, link = tmp_path / "real.key", tmp_path / "link.key"
    UnsafeLocalRootKey(real)
    link.symlink_to(real)
    (tmp_path / "folder").mkdir(mode=0o700)
    for path in (link, tmp_path / "folder", real / "root.key"):
        with pytest.raises(ConfigurationError):
            UnsafeLocalRootKey(path)


def test_makes_the_home_where_it_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "root.key"
    assert UnsafeLocalRootKey(path).reference == UnsafeLocalRootKey(path).reference
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_starters_at_the_same_time_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        paths = [tmp_path / "root.key"] * 16
        references = {key.reference for key in pool.map(UnsafeLocalRootKey, paths)}
    assert len(references) == 1


def test_says_nothing_of_the_key(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    key = UnsafeLocalRootKey(path)
    assert path.read_bytes().hex()[:16] not in repr(key) + key.reference


async def test_messages_commit_and_store_no_context(tmp_path: Path) -> None:
    """AWS Encryption SDK message format: version 2, suite 0x0478, empty context."""
    message = await UnsafeLocalRootKey(tmp_path / "root.key").wrap(bytes(32), CONTEXT)
    assert message[0] == 2
    assert message[1:3] == bytes.fromhex("0478")
    context_length_at = 3 + 32
    assert message[context_length_at : context_length_at + 2] == b"\0\0"


@pytest.mark.parametrize(
    "context", [{}, {"tenant": "x"}, {**CONTEXT, "extra": "x"}], ids=["none", "few", "more"]
)
async def test_refuses_to_bind_to_other_facts(tmp_path: Path, context: dict[str, str]) -> None:
    key = UnsafeLocalRootKey(tmp_path / "root.key")
    with pytest.raises(ValueError, match="CONTEXT_KEYS"):
        await key.wrap(bytes(32), context)
    with pytest.raises(ValueError, match="CONTEXT_KEYS"):
        await key.unwrap(bytes(32), context)


async def test_refuses_secrets_of_another_length(tmp_path: Path) -> None:
    key = UnsafeLocalRootKey(tmp_path / "root.key")
    with pytest.raises(ValueError, match="32 bytes"):
        await key.wrap(bytes(31), CONTEXT)


async def test_wraps_in_parallel(tmp_path: Path) -> None:
    key = UnsafeLocalRootKey(tmp_path / "root.key")
    secrets = [bytes([n]) * 32 for n in range(16)]
    wrapped = await asyncio.gather(*(key.wrap(secret, CONTEXT) for secret in secrets))
    opened = await asyncio.gather(*(key.unwrap(blob, CONTEXT) for blob in wrapped))
    assert opened == secrets
