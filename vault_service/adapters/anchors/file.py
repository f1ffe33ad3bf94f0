"""Checkpoints in a folder: for the embedded default.

Whoever owns this machine can change them: they hold against mistakes, and against whoever
has the database alone. What holds against an operator is
:class:`~vault_service.adapters.anchors.s3.S3Anchor`, or an auditor's own copy.
"""

import asyncio
import errno
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import structlog

from vault_service.adapters.anchors.kept import READ_LIMIT, compare, decoded
from vault_service.adapters.private_files import NotPrivate, read_private, write_once
from vault_service.domain.errors import Code, VaultError

_NAME: Final = re.compile(r"[0-9]{19}\.checkpoint")
_RETRY_SECONDS: Final = 30
_T = TypeVar("_T")

_log = structlog.get_logger("strongroom.anchors")


class FileAnchor:
    """One file a checkpoint in ``directory`` (made when first needed, mode 0700), named by
    the size of its tree in 19 digits, mode 0600. A file that is there is never changed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __repr__(self) -> str:
        return "FileAnchor()"

    async def newest(self) -> str | None:
        """The signed checkpoint of the largest tree that was kept, if any was;
        ``audit_unavailable`` where it cannot be read, or others could have changed it."""
        return await asyncio.to_thread(_reported, self._newest)

    async def keep(self, size: int, signed: str) -> None:
        """Keep the signed checkpoint of ``size`` leaves, durably. ``audit_unavailable``
        where that fails, ``CheckpointConflict`` where the one that is there says something
        else."""
        await asyncio.to_thread(_reported, lambda: self._keep(size, signed))

    def close(self) -> None:
        """Nothing is held open."""

    def _newest(self) -> str | None:
        try:
            self._check_directory()
            kept = [path for path in self._directory.iterdir() if _NAME.fullmatch(path.name)]
        except FileNotFoundError:
            return None
        return decoded(read_private(max(kept), READ_LIMIT)) if kept else None

    def _keep(self, size: int, signed: str) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_directory()
        path = self._directory / f"{size:019d}.checkpoint"
        if not write_once(path, signed.encode()):
            compare(size, read_private(path, READ_LIMIT), signed)

    def _check_directory(self) -> None:
        """PCI-DSS 10.3.2: nobody else may take files out, or put others in."""
        status = self._directory.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o077:
            raise NotPrivate


def _reported(step: Callable[[], _T]) -> _T:
    try:
        return step()
    except NotPrivate:
        _log.error("anchor_not_private")
        raise _unavailable(
            "The folder of checkpoints, or a file in it, is open to other users or a link; run"
            " chmod 700 on the folder and chmod 600 on its files."
        ) from None
    except OSError as error:
        _log.error("anchor_folder_failed", errno=errno.errorcode.get(error.errno or 0, "unknown"))
        raise _unavailable(
            "The folder of checkpoints cannot be used; it must be writable, on a disk with room."
        ) from None


def _unavailable(detail: str) -> VaultError:
    return VaultError(Code.AUDIT_UNAVAILABLE, detail, retry_after=_RETRY_SECONDS)
