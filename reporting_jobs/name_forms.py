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
from functools import lru_cache
from typing import Final

from anyascii import anyascii

_ABJAD: Final = re.compile("[\u0590-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_ARABIC_ARTICLE: Final = re.compile("(?<![\\w])\u0627\u0644(?=\\w{2})")
_ARABIC_FINAL_H: Final = re.compile("\u0629(?![\\w])")
# What Greek spells with two letters and anyascii writes letter by letter.
_GREEK: Final = (("ου", "u"), ("αυ", "av"), ("ευ", "ev"), ("χ", "h"))
# Longest first: the usual spellings of one sound.
_SOUNDS: Final = (
    *(("tsch", "h"), ("shch", "s"), ("sch", "s"), ("tch", "h"), ("dzh", "j"), ("sh", "s")),
    *(("ch", "h"), ("kh", "h"), ("zh", "j"), ("gh", "g"), ("ph", "f"), ("th", "t"), ("dh", "d")),
    *(("ts", "z"), ("tz", "z"), ("ck", "k"), ("dj", "j"), ("q", "k"), ("x", "ks"), ("w", "v")),
    *(("off", "ov"), ("ou", "u"), ("oo", "u"), ("ee", "i"), ("y", "i")),
)
_SOFT_C: Final = re.compile("c(?=[eiv])")
# Only at the beginning of a word does Greek write b, d and g so.
_INITIAL: Final = {"mp": "b", "nt": "d", "gk": "g"}
_FINAL_H: Final = re.compile("(?<=[aeiou])h$")
_ARTICLE: Final = re.compile("[ae]l(?=[a-z]{4})")
_ABD: Final = re.compile("abd([uaeo]+l)?")
_DOUBLED: Final = re.compile(r"(.)\1+")
_APOSTROPHES: Final = re.compile("['`’ʼʻ]")
_WORD: Final = re.compile("[a-z]+")
_NOT_VOWELS: Final = str.maketrans("", "", "aeiou")
_CACHED_WORDS: Final = 1 << 16
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
    text = name.casefold()
    if text.isascii():
        return Name(_latin_words(text), abjad=False)
    text = unicodedata.normalize("NFKD", text)
    text = "".join([letter for letter in text if not unicodedata.combining(letter)])
    if _ABJAD.search(text) is not None:
        text = _ARABIC_FINAL_H.sub("", _ARABIC_ARTICLE.sub("", text))
        return Name(tuple(filter(None, map(_abjad_word, text.split()))), abjad=True)
    for pair, latin in _GREEK:
        text = text.replace(pair, latin)
    return Name(_latin_words(anyascii(text).lower()), abjad=False)


def forms(word: str, *, abjad: bool) -> tuple[tuple[str, str], ...]:
    """What a folded word may be found by: itself and its skeleton; without the article that
    it may have grown together with (Alghamdi); and, from where letters stand for consonants
    and long vowels alike, without those that may be vowels (Nvr, Nour)."""
    found = [(word, skeleton(word))]
    if abjad:
        without = word[:1] + word[1:].replace("v", "")
        if without != word:
            found.append((without, skeleton(without)))
    elif _ARTICLE.match(word) is not None:
        found.append((word[2:], skeleton(word[2:])))
    return tuple(found)


def skeleton(word: str) -> str:
    """A folded word without its vowels and doubled letters; the word itself where nothing
    else stays."""
    return _DOUBLED.sub(r"\1", word.translate(_NOT_VOWELS)) or word


def _latin_words(text: str) -> tuple[str, ...]:
    words = _WORD.findall(_APOSTROPHES.sub("", text))
    kept = [word for word in words if word not in _PARTICLES] or words
    return tuple(map(_sounded, _servants(kept)))


def _abjad_word(text: str) -> str:
    # Letter by letter: a z before an h is not zh.
    letters = [_APOSTROPHES.sub("", anyascii(letter)).lower() for letter in text]
    word = "".join([_sounded(letter) for letter in letters if letter.isalpha()])
    return _DOUBLED.sub(r"\1", word)


def _servants(words: Sequence[str]) -> list[str]:
    """``Abd al-Rahman``, ``Abdul Rahman`` and ``Abdulrahman`` as one word."""
    joined: list[str] = []
    for word in words:
        if joined and _ABD.fullmatch(joined[-1]) is not None:
            joined[-1] = "abd" + word
        else:
            joined.append(word)
    return [_ABD.sub("abd", word, count=1) if word.startswith("abd") else word for word in joined]


@lru_cache(_CACHED_WORDS)
def _sounded(word: str) -> str:
    word = _INITIAL.get(word[:2], word[:2]) + word[2:]
    for spelling, sound in _SOUNDS:
        if spelling in word:
            word = word.replace(spelling, sound)
    word = _SOFT_C.sub("z", word).replace("c", "k")
    return _DOUBLED.sub(r"\1", _FINAL_H.sub("", word))
