"""Finds the names on a list that a name may be, fast enough for a million people.

Blocking first: words of the list are found by the skeletons that one letter less makes of
them, so that a word with a wrong, missing, doubled or exchanged consonant is still found and
hardly any other is. Only names that share enough such words are scored. Words repeat from
person to person, so that what a word is like is kept for the next one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Final

from rapidfuzz import fuzz

from reporting_jobs.name_forms import Name, fold, skeleton

_LIKE: Final = 70.0
"""Words that are less alike than this are not taken for one."""
_CACHED_WORDS: Final = 1 << 16
_MISSING: Final = 2.0
_MISSING_AT_MOST: Final = 6.0
_ONE_OF_MANY: Final = 15.0
# What the vowels of two spellings may cost; where one has none, they cost nothing.
_VOWELS: Final = 0.5
_NO_VOWELS: Final = 0.97


@dataclass(frozen=True, slots=True)
class _Listed:
    words: tuple[int, ...]
    entry: int


@dataclass(frozen=True, slots=True)
class Likeness:
    """The place of an entry, and how much a name is like one of its names: 0 to 100."""

    entry: int
    score: float


class NameIndex:
    """The names of a list. Nothing of it or of what it is asked is in its ``repr``."""

    def __init__(self, entries: Iterable[Sequence[str]]) -> None:
        """``entries`` are the names of each entry, in its order."""
        self._names: list[_Listed] = []
        self._words: dict[tuple[str, bool], int] = {}
        self._spelled: list[tuple[str, str, bool]] = []
        self._by_key: dict[str, list[int]] = {}
        self._holding: list[list[int]] = []
        for place, names in enumerate(entries):
            for name in names:
                self._add(fold(name), place)
        self._like = lru_cache(_CACHED_WORDS)(self._find_like)

    def alike(self, name: str, least: float) -> list[Likeness]:
        """The entries that the name is like, by at least ``least``, each once."""
        folded = fold(name)
        best: dict[int, float] = {}
        for words in _spellings(folded.words):
            for entry, score in self._scored(words, folded.abjad, least):
                if score > best.get(entry, 0.0):
                    best[entry] = score
        return [Likeness(entry, score) for entry, score in best.items()]

    def _add(self, name: Name, entry: int) -> None:
        for words in _spellings(name.words):
            numbers = tuple(self._number(word, name.abjad) for word in words)
            for number in set(numbers):
                self._holding[number].append(len(self._names))
            self._names.append(_Listed(numbers, entry))

    def _number(self, word: str, abjad: bool) -> int:
        number = self._words.get((word, abjad))
        if number is None:
            number = self._words[word, abjad] = len(self._spelled)
            bare = skeleton(word)
            self._spelled.append((word, bare, abjad))
            self._holding.append([])
            for key in _keys(bare):
                self._by_key.setdefault(key, []).append(number)
        return number

    def _find_like(self, word: str, abjad: bool) -> Mapping[int, float]:
        bare = skeleton(word)
        found = {}
        for number in set(chain.from_iterable(self._by_key.get(k, ()) for k in _keys(bare))):
            other, other_bare, other_abjad = self._spelled[number]
            by_skeleton = fuzz.ratio(bare, other_bare)
            if abjad != other_abjad:
                score = _NO_VOWELS * by_skeleton
            else:
                score = fuzz.ratio(word, other)
                score = max(score, _VOWELS * (score + by_skeleton))
            if score >= _LIKE:
                found[number] = score
        return found

    def _scored(
        self, words: Sequence[str], abjad: bool, least: float
    ) -> Iterator[tuple[int, float]]:
        likes = [self._like(word, abjad) for word in words]
        shared: dict[int, int] = {}
        for like in likes:
            for name in set(chain.from_iterable(map(self._holding.__getitem__, like))):
                shared[name] = shared.get(name, 0) + 1
        enough = min(2, len(words))
        for number, count in shared.items():
            listed = self._names[number]
            if count >= min(enough, len(listed.words)):
                score = self._aligned(words, likes, listed.words)
                if score >= least:
                    yield listed.entry, score

    def _aligned(
        self, words: Sequence[str], likes: Sequence[Mapping[int, float]], listed: Sequence[int]
    ) -> float:
        """The best pairs of words, whatever their order, weighed by length over the words of
        the shorter name; words that only the longer one has cost little."""
        pairs = sorted(
            (
                (like[number], mine, theirs)
                for mine, like in enumerate(likes)
                for theirs, number in enumerate(listed)
                if number in like
            ),
            reverse=True,
        )
        mine_left, theirs_left = set(range(len(words))), set(range(len(listed)))
        total = weight = 0.0
        for score, mine, theirs in pairs:
            if mine in mine_left and theirs in theirs_left:
                mine_left.remove(mine)
                theirs_left.remove(theirs)
                length = len(words[mine])
                total += score * length
                weight += length
        if len(words) <= len(listed):
            weight += sum(len(words[mine]) for mine in mine_left)
        else:
            weight += sum(len(self._spelled[listed[theirs]][0]) for theirs in theirs_left)
        beyond = abs(len(words) - len(listed))
        if beyond and min(len(words), len(listed)) == 1:
            return total / weight - _ONE_OF_MANY
        return total / weight - min(_MISSING * beyond, _MISSING_AT_MOST)


def _keys(bare: str) -> Iterator[str]:
    """The skeleton, and what it is without any one of its letters."""
    yield bare
    if len(bare) > 2:
        for place in range(len(bare)):
            yield bare[:place] + bare[place + 1 :]


def _spellings(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The words, and with neighbours as one word where three and more are: Jean-Paul and
    Jeanpaul."""
    if words:
        yield words
    if len(words) > 2:
        for place in range(len(words) - 1):
            yield (*words[:place], words[place] + words[place + 1], *words[place + 2 :])
