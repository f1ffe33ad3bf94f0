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

from reporting_jobs.name_forms import Name, fold, forms

_LIKE: Final = 70.0
"""Words that are less alike than this are not taken for one."""
_SHORT: Final = 6
_CACHED_WORDS: Final = 1 << 16
_MISSING: Final = 2.0
_MISSING_AT_MOST: Final = 6.0
_ONE_OF_MANY: Final = 15.0
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
        self._spelled: list[tuple[tuple[tuple[str, str], ...], bool]] = []
        self._by_key: dict[str, list[int]] = {}
        self._holding: dict[int, list[int]] = {}
        self._alone: dict[int, list[int]] = {}
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
            held = self._holding if len(numbers) > 1 else self._alone
            for number in set(numbers):
                held.setdefault(number, []).append(len(self._names))
            self._names.append(_Listed(numbers, entry))

    def _number(self, word: str, abjad: bool) -> int:
        number = self._words.get((word, abjad))
        if number is None:
            number = self._words[word, abjad] = len(self._spelled)
            spellings = forms(word, abjad=abjad)
            self._spelled.append((spellings, abjad))
            for key in {key for form in spellings for key in _keys(*form)}:
                self._by_key.setdefault(key, []).append(number)
        return number

    def _find_like(self, word: str, abjad: bool) -> Mapping[int, float]:
        mine = forms(word, abjad=abjad)
        keys = {key for form in mine for key in _keys(*form)}
        found = {}
        for number in set(chain.from_iterable(self._by_key.get(key, ()) for key in keys)):
            theirs, other_abjad = self._spelled[number]
            likeness = _likeness if abjad == other_abjad else _likeness_without_vowels
            score = likeness(*mine[0], *theirs[0])
            if len(mine) > 1 or len(theirs) > 1:
                score = max(likeness(*one, *other) for one in mine for other in theirs)
            if score >= _LIKE:
                found[number] = score
        return found

    def _scored(
        self, words: Sequence[str], abjad: bool, least: float
    ) -> Iterator[tuple[int, float]]:
        likes = [self._like(word, abjad) for word in words]
        for number in self._candidates(likes):
            listed = self._names[number]
            score = self._aligned(words, likes, listed.words)
            if score >= least:
                yield listed.entry, score

    def _candidates(self, likes: Sequence[Mapping[int, float]]) -> set[int]:
        """The listed names that share two words with this one, or one where either has no
        more."""
        found: set[int] = set()
        for like in likes:
            found.update(chain.from_iterable(self._alone.get(number, ()) for number in like))
        if len(likes) == 1:
            found.update(chain.from_iterable(self._holding.get(word, ()) for word in likes[0]))
            return found
        # Who shares two words shares one that is not the commonest of them.
        common = max(
            range(len(likes)), key=lambda at: sum(len(self._holding.get(n, ())) for n in likes[at])
        )
        for place, like in enumerate(likes):
            if place == common:
                continue
            others = [other for at, other in enumerate(likes) if at != place]
            for word in like:
                for number in self._holding.get(word, ()):
                    if number not in found and any(
                        other_word in other
                        for other_word in self._names[number].words
                        for other in others
                    ):
                        found.add(number)
        return found

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
            weight += sum(len(self._spelled[listed[theirs]][0][0][0]) for theirs in theirs_left)
        beyond = abs(len(words) - len(listed))
        if beyond and min(len(words), len(listed)) == 1:
            return total / weight - _ONE_OF_MANY
        return total / weight - min(_MISSING * beyond, _MISSING_AT_MOST)


def _likeness(word: str, bare: str, other: str, other_bare: str) -> float:
    """How alike two words are, 0 to 100. Vowels, which spellings differ by most, count half
    where that is more."""
    score = fuzz.ratio(word, other)
    # Skeletons cannot make up for more than that.
    if score + 100 < 2 * _LIKE:
        return score
    return max(score, (fuzz.ratio(bare, other_bare) + score) / 2)


def _likeness_without_vowels(word: str, bare: str, other: str, other_bare: str) -> float:
    """The same where only one of two words has vowels."""
    return _NO_VOWELS * fuzz.ratio(bare, other_bare)


def _keys(word: str, bare: str) -> Iterator[str]:
    """The skeleton, and what it is without any one of its letters; of a short word, whose
    skeleton says little, the same of the word."""
    yield bare
    if len(bare) > 2:
        for place in range(len(bare)):
            yield bare[:place] + bare[place + 1 :]
    if 2 < len(word) <= _SHORT:
        yield "=" + word
        for place in range(len(word)):
            yield "=" + word[:place] + word[place + 1 :]


def _spellings(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The words, and with neighbours as one word where three and more are: Jean-Paul and
    Jeanpaul."""
    if words:
        yield words
    if len(words) > 2:
        for place in range(len(words) - 1):
            yield (*words[:place], words[place] + words[place + 1], *words[place + 2 :])
