"""Pieces of bytes as a file that is read from front to back."""

import io
from collections.abc import Iterator
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
