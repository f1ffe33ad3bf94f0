"""Pages of tokens, one entry for each of their people, with the cursor behind each."""

import zlib
from collections.abc import Sequence
from typing import Final

import msgspec

from vault_service.domain.holdings import TokenEntry

BETWEEN: Final = "\n"
"""Between token and subject in a cursor; neither may hold it."""
_EDGE: Final = 256


class Links:
    """People of tokens beside the first of each, ordered; not ``whole`` where more follow
    the last."""

    def __init__(self, pairs: Sequence[tuple[str, str]] = (), *, whole: bool = True) -> None:
        self._of: dict[str, list[str]] = {}
        for token, subject in pairs:
            self._of.setdefault(token, []).append(subject)
        self._last = None if whole else pairs[-1][0]

    def __bool__(self) -> bool:
        return bool(self._of)

    def of(self, token: str) -> tuple[list[str], bool]:
        """Those of a token, and whether that is all of them."""
        return self._of.get(token, []), self._last is None or token < self._last


class Page:
    """Entries with the cursor behind each."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: list[TokenEntry] = []
        self._cursors: list[str] = []

    def take_all(self, rows: list[TokenEntry]) -> None:
        """Take tokens that belong to one person each."""
        self._entries = rows
        self._cursors = [row.token for row in rows]

    def take(self, row: TokenEntry, links: Links, *, begun: bool) -> bool:
        """Add a token for each of its people, the first of them left out where it has
        ``begun``; whether there is room for the next token."""
        others, whole = links.of(row.token)
        if not begun:
            self._entries.append(row)
            self._cursors.append(f"{row.token}{BETWEEN}" if others or not whole else row.token)
        for subject in others:
            self._entries.append(msgspec.structs.replace(row, subject=subject))
            self._cursors.append(f"{row.token}{BETWEEN}{subject}")
        if whole and others:
            self._cursors[-1] = row.token
        return whole and len(self._entries) < self._limit

    def cut(self, following: str | None) -> tuple[Sequence[TokenEntry], str | None]:
        """The page, and where the next begins; ``following`` where all fitted in.

        A full page ends at a token that its own text picks. A job that begins again then
        meets the same pages behind a row that came or went, and what it read before is not
        counted again."""
        count = len(self._entries)
        if count < self._limit:
            return self._entries, following
        most = min(count, self._limit)
        for end in range(most, most // 2, -1):
            if zlib.crc32(self._cursors[end - 1].encode()) % _EDGE == 0:
                most = end
                break
        return self._entries[:most], self._cursors[most - 1]
