"""One person against the list: how alike names and birth dates are, as one score."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Final

from reporting_jobs.birth_dates import AGREES, agreement
from reporting_jobs.name_index import NameIndex
from reporting_jobs.sanctions_list import ListEntry

MOST: Final = 100.0


class Screening:
    """Screens people, one after the other. Holds the list and an index of its names."""

    def __init__(self, entries: Sequence[ListEntry], threshold: int) -> None:
        self._entries = entries
        self._index = NameIndex(entry.names for entry in entries)
        self._threshold = threshold

    def hits(self, name: str, born: Collection[date]) -> list[tuple[str, float]]:
        """Ids of the entries that the person may be with their scores (to one decimal),
        best first: the names' likeness, and what the birth dates add to it or take from it."""
        found = []
        for alike in self._index.alike(name, self._threshold - AGREES):
            entry = self._entries[alike.entry]
            dates = agreement(born, entry.dates, entry.years)
            score = round(min(alike.score + dates, MOST), 1)
            if score >= self._threshold:
                found.append((entry.id, score))
        return sorted(found, key=lambda hit: (-hit[1], hit[0]))
