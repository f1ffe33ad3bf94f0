"""Sealed outputs in a folder: for the embedded default."""

import asyncio
import errno
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from vault_service.domain.errors import Code, VaultError

_PIECE: Final = 1 << 18
_log = structlog.get_logger("strongroom.outputs")


class FileOutputs:
    """One file an output below ``directory``. Links are not followed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def close(self) -> None:
        """Nothing is held open."""

    async def read(self, location: str) -> AsyncGenerator[bytes, None]:
        """The output, piece by piece; ``not_found`` where there is none of this name,
        ``database_unavailable`` where the folder cannot be read."""
        file = await asyncio.to_thread(self._open, location)
        try:
            while piece := await asyncio.to_thread(file.read, _PIECE):
                yield piece
        except OSError as error:
            raise _away(error) from None
        finally:
            file.close()

    def _open(self, location: str) -> BinaryIO:
        path = self._directory / location
        root = self._directory.resolve()
        try:
            if not path.resolve(strict=True).is_relative_to(root):
                raise _missing()
            return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
        except FileNotFoundError:
            raise _missing() from None
        except OSError as error:
            raise _away(error) from None


def _missing() -> VaultError:
    return VaultError(Code.NOT_FOUND, "The output is no longer where the job left it.")


def _away(error: OSError) -> VaultError:
    _log.error("outputs_failed", errno=errno.errorcode.get(error.errno or 0, "unknown"))
    detail = "The folder of outputs cannot be read now."
    return VaultError(Code.DATABASE_UNAVAILABLE, detail, retry_after=30)
