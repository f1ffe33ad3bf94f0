"""One spelling for digits, spaces and dashes, position by position.

Card numbers come with full-width or Arabic-Indic digits, no-break spaces and
typographic dashes. :func:`fold` gives each its ASCII likeness without moving anything,
so that a place in the folded text is the same place in the original.
"""

import unicodedata
from functools import cache
from typing import Final

_SPACES: Final = "\u00a0\u1680\u2000-\u200d\u202f\u205f\u2060\u3000\ufeff\u00ad"
_DASHES: Final = "\u2010-\u2015\u2212\ufe58\ufe63\uff0d\u058a\u30fc"
_DOTS: Final = "\u00b7\u2022\u2024\u2027\u2219\u22c5\u30fb\uff0e\uff61"
# All decimal digits so far are in the first two planes (Unicode 17.0 has none above).
_PLANES: Final = 0x20000
_FULL_WIDTH: Final = range(0xFF01, 0xFF5F)


def _expand(characters: str) -> list[int]:
    """The code points of ``characters``, where ``a-b`` is a range."""
    points: list[int] = []
    at = 0
    while at < len(characters):
        if characters[at + 1 : at + 2] == "-":
            points.extend(range(ord(characters[at]), ord(characters[at + 2]) + 1))
            at += 3
        else:
            points.append(ord(characters[at]))
            at += 1
    return points


@cache
def _likeness() -> dict[int, str]:
    """Built at first use: only text beyond ASCII needs it."""
    table = {point: chr(point - 0xFEE0) for point in _FULL_WIDTH}
    for point in range(128, _PLANES):
        digit = unicodedata.decimal(chr(point), None)
        if digit is not None:
            table[point] = str(digit)
    for likeness, characters in ((" ", _SPACES), ("-", _DASHES), (".", _DOTS)):
        table.update(dict.fromkeys(_expand(characters), likeness))
    return table


def fold(text: str) -> str:
    """``text`` with every decimal digit, space, dash, dot and full-width character
    replaced by its ASCII likeness; the same length, other characters unchanged."""
    return text if text.isascii() else text.translate(_likeness())
