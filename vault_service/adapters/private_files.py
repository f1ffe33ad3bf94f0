"""Small files for their owner alone: complete or not there, and never written again.

What is made here has mode 0600. What others can use, and what is reached by a link or is
no plain file, is refused (PCI-DSS 3.6.1.2, 10.3.2).
"""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from vault_service.domain.errors import ConfigurationError

_MODE: Final = 0o600
OPEN_TO_OTHERS: Final = 0o027
"""The bits of a mode that a secret's file must not have: the group may read, no more."""


class NotPrivate(Exception):
    """Others can use the file, or it is no plain file."""


def read_private(path: Path, limit: int) -> bytes:
    """The first ``limit`` bytes of the file. Raises :class:`NotPrivate`, and ``OSError``
    where it cannot be opened or is a link."""
    # Without O_NONBLOCK, opening a pipe would wait for whoever writes to it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise NotPrivate
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def read_secret(path: Path, limit: int) -> bytes:
    """The first ``limit`` bytes of a file that somebody else put there, such as a mounted
    secret: links are followed, and the group may read it. Raises :class:`NotPrivate`, and
    ``OSError`` where it cannot be opened."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & OPEN_TO_OTHERS:
            raise NotPrivate
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def write_once(path: Path, content: bytes) -> bool:
    """Make the file with this content, durably; whether this call made it. One that is
    there stays as it is. Raises ``OSError``, and leaves nothing half-written at ``path``
    whatever happens.

    The content is written beside ``path`` and linked there, so that of several writers at
    the same time exactly one makes the file.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    made = True
    try:
        with os.fdopen(os.open(draft, flags, _MODE), "wb") as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            made = False
    finally:
        draft.unlink(missing_ok=True)
    _sync_directory(path.parent)
    return made


def load_or_create_key(path: Path, kind: str, make: Callable[[], bytes], limit: int) -> bytes:
    """The first ``limit`` bytes of the key file, made with what ``make`` gives where there
    is none. ``kind`` names it in messages (``root key``). :class:`ConfigurationError` where
    it cannot be had, or others could have it."""
    try:
        return _load_key(path, kind, limit)
    except FileNotFoundError:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_once(path, make())
        except OSError:
            raise ConfigurationError(
                f"The {kind} file {path} cannot be created; its folder must be writable, on"
                " a disk with room."
            ) from None
        return _load_key(path, kind, limit)


def _load_key(path: Path, kind: str, limit: int) -> bytes:
    try:
        return read_private(path, limit)
    except FileNotFoundError:
        raise
    except OSError:
        raise ConfigurationError(
            f"The {kind} file {path} cannot be opened; it must be a plain file that only its"
            " owner can read."
        ) from None
    except NotPrivate:
        raise ConfigurationError(
            f"The {kind} file {path} is not a plain file, or open to other users; run:"
            f" chmod 600 {path}"
        ) from None


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
