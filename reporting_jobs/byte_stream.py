"""Pieces of bytes: as a file that is read from front to back, and watched on their way."""

import io
from collections.abc import Iterable, Iterator
from typing import BinaryIO


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def stream_of(pieces: Iterator[bytes]) -> BinaryIO:
    """A stream that holds one piece at a time."""
    return io.BufferedReader(_Pieces(pieces))


class Watched:
    """Pieces, and whether it was making them that failed, rather than what took them."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.failed = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        except Exception:
            self.failed = True
            raise
