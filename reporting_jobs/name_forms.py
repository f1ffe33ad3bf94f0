"""A person's name as something that can be compared across scripts and spellings.

Each word of a name is folded: written in Latin letters (anyascii), without case, accents
and punctuation, with the usual spellings of one sound made one (``sh`` and ``sch``, ``ov``
and ``off``, ``y`` and ``i``). Its skeleton is what stays without vowels: Arabic and Hebrew
write hardly any, so that a name from there has nothing else to be compared by.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from anyascii import anyascii

_ABJAD: Final = re.compile("[\u0590-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_ARABIC_ARTICLE: Final = re.compile("(?<![\\w])\u0627\u0644(?=\\w{2})")
# What anyascii writes letter by letter, and Greek spells with two.
_GREEK: Final = tuple(
    {
        "μπ": "b",
        "ντ": "d",
        "γκ": "g",
        "γγ": "ng",
        "γι": "y",
        "ου": "u",
        "αυ": "av",
        "ευ": "ev",
    }.items()
)
_SOUNDS: Final = tuple(
    {
        "shch": "s",
        "sch": "s",
        "tch": "c",
        "dzh": "j",
        "sh": "s",
        "ch": "c",
        "kh": "h",
        "zh": "j",
        "gh": "g",
        "ph": "f",
        "th": "t",
        "dh": "d",
        "ts": "c",
        "tz": "c",
        "ck": "k",
        "dj": "j",
        "q": "k",
        "x": "ks",
        "w": "v",
        "off": "ov",
        "ou": "u",
        "oo": "u",
        "ee": "i",
        "y": "i",
    }.items()
)
_ABD: Final = re.compile("abd([uaeo]+l)?")
_DOUBLED: Final = re.compile(r"(.)\1+")
_APOSTROPHES: Final = re.compile("['`’ʼʻ]")
_WORD: Final = re.compile("[a-z]+")
_NOT_VOWELS: Final = str.maketrans("", "", "aeiou")
# Articles and "son of", "daughter of", titles: some write them, some do not.
_PARTICLES: Final = frozenset(
    {
        *("al", "el", "ul", "as", "ar", "ibn", "bin", "ben", "bint"),
        *("von", "van", "der", "den", "de", "la", "le", "da", "dos", "del", "di"),
        *("mr", "mrs", "ms", "dr", "prof", "sir"),
    }
)


@dataclass(frozen=True, slots=True)
class Name:
    """The folded words of a name; ``abjad`` where it was written without vowels."""

    words: tuple[str, ...] = field(repr=False)
    abjad: bool


def fold(name: str) -> Name:
    """The name as it is compared; without words where nothing in it can be."""
    text = unicodedata.normalize("NFKD", name).casefold()
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    abjad = _ABJAD.search(text) is not None
    if abjad:
        text = _ARABIC_ARTICLE.sub("", text)
    if not text.isascii():
        for pair, latin in _GREEK:
            text = text.replace(pair, latin)
        text = anyascii(text).lower()
    words = _WORD.findall(_APOSTROPHES.sub("", text))
    kept = [word for word in words if word not in _PARTICLES] or words
    return Name(tuple(_sounded(word) for word in _servants(kept)), abjad)


def skeleton(word: str) -> str:
    """A folded word without its vowels; the word itself where nothing else stays."""
    return word.translate(_NOT_VOWELS) or word


def _servants(words: Sequence[str]) -> list[str]:
    """``Abd al-Rahman``, ``Abdul Rahman`` and ``Abdulrahman`` as one word."""
    joined: list[str] = []
    for word in words:
        if joined and _ABD.fullmatch(joined[-1]) is not None:
            joined[-1] = "abd" + word
        else:
            joined.append(word)
    return [_ABD.sub("abd", word, count=1) if word.startswith("abd") else word for word in joined]


def _sounded(word: str) -> str:
    for spelling, sound in _SOUNDS:
        if spelling in word:
            word = word.replace(spelling, sound)
    return _DOUBLED.sub(r"\1", word)
