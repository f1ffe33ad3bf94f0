"""Files of archived months in a folder. Implements
:class:`~vault_service.domain.archives.ArchiveFiles`."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vault_service.domain.archives import Month


class ArchiveFolder:
    """The folder at ``path``, made where it is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def name(self, month: Month) -> str:
        """See :class:`~vault_service.domain.archives.ArchiveFiles`."""
        return str(self._file(month))

    def open(self, month: Month) -> io.FileIO | None:
        """See :class:`~vault_service.domain.archives.ArchiveFiles`."""
        try:
            return io.FileIO(self._file(month))
        except FileNotFoundError:
            return None

    @contextmanager
    def writing(self, month: Month) -> Iterator[BinaryIO]:
        """See :class:`~vault_service.domain.archives.ArchiveFiles`. Its mode is 0600."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._file(month)
        partial = file.with_name(f".{file.name}.part")
        try:
            # What a command that was killed left there is no good, and not ours to follow.
            partial.unlink(missing_ok=True)
            with open(partial, "xb", opener=_private) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
        folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _file(self, month: Month) -> Path:
        return self._path / f"audit-{month}.ndjson"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
