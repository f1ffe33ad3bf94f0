"""The signing key file: made once, for its owner alone, and never exchanged silently."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from structlog.testing import capture_logs

from vault_service.adapters.signing.local import UnsafeLocalSigningKey
from vault_service.domain.errors import ConfigurationError

NAME = "vault.example/audit"


def pem(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


P256 = pem(ec.generate_private_key(ec.SECP256R1()))
NOT_KEYS = {
    "nothing": b"",
    "text": b"not a key",
    "cut short": P256[: len(P256) // 2],
    "another curve": pem(ec.generate_private_key(ec.SECP384R1())),
    "another algorithm": pem(ed25519.Ed25519PrivateKey.generate()),
    "encrypted": pem(
        ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"a passphrase")
    ),
}


def test_is_made_for_the_owner_alone_and_kept(tmp_path: Path) -> None:
    """PCI-DSS 3.6.1.2."""
    path = tmp_path / "home" / "signing.pem"
    old = os.umask(0)
    try:
        first = UnsafeLocalSigningKey(path, NAME)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert UnsafeLocalSigningKey(path, NAME).key == first.key
    assert list(path.parent.iterdir()) == [path]


def test_takes_a_key_that_was_made_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    path.write_bytes(P256)
    path.chmod(0o600)
    key = load_pem_private_key(P256, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    text = b"signed by the same key\n"
    UnsafeLocalSigningKey(path, NAME).key.check(text, key.sign(text, ec.ECDSA(SHA256())))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o601])
def test_refuses_a_file_that_others_can_use(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "signing.pem"
    UnsafeLocalSigningKey(path, NAME)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"signing key .* chmod 600 {path}"):
        UnsafeLocalSigningKey(path, NAME)


def test_refuses_links_folders_and_pipes(tmp_path: Path) -> None:
    real, link = tmp_path / "real.pem", tmp_path / "link.pem"
    UnsafeLocalSigningKey(real, NAME)
    link.symlink_to(real)
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (link, tmp_path / "folder", tmp_path / "pipe", real / "signing.pem"):
        with pytest.raises(ConfigurationError, match="signing key file"):
            UnsafeLocalSigningKey(path, NAME)


@pytest.mark.parametrize("content", NOT_KEYS.values(), ids=NOT_KEYS.keys())
def test_refuses_what_is_no_p256_key_and_leaves_it_there(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "signing.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="restore it from a backup"):
        UnsafeLocalSigningKey(path, NAME)
    assert path.read_bytes() == content


def test_starters_at_the_same_time_agree_on_one_key(tmp_path: Path) -> None:
    def start(_: int) -> str:
        return UnsafeLocalSigningKey(tmp_path / "signing.pem", NAME).key.encode()

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(start, range(16)))) == 1


async def test_says_nothing_of_the_private_key(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    with capture_logs() as lines:
        signer = UnsafeLocalSigningKey(path, NAME)
        await signer.sign(b"text\n")
    assert lines == []
    private = path.read_text().splitlines()[1]
    assert private not in repr(signer) + repr(vars(signer))
