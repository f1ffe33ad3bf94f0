"""What a birth date says about whether two people are one."""

from collections.abc import Collection
from datetime import date
from typing import Final

AGREES: Final = 8.0
"""Points for the same day."""
NEAR: Final = 4.0
"""For a slip of the pen: day and month exchanged, or one digit another; and for the same
year, where the list tells no more."""
DIFFERS: Final = -15.0
"""For any other date. A namesake falls below every sensible threshold by that."""


def agreement(born: Collection[date], listed: Collection[date], years: Collection[int]) -> float:
    """Points to add to a name's score for the best agreement of a person's birth dates with
    the list's ``listed`` dates and ``years``; 0 where either is not known."""
    if not born or not (listed or years):
        return 0.0
    best = DIFFERS
    for mine in born:
        for theirs in listed:
            if mine == theirs:
                return AGREES
            if _slip(mine, theirs):
                best = NEAR
        if mine.year in years:
            best = NEAR
    return best


def _slip(one: date, other: date) -> bool:
    if one.year == other.year and (one.day, one.month) == (other.month, other.day):
        return True
    digits = zip(one.isoformat(), other.isoformat(), strict=True)
    return sum(mine != theirs for mine, theirs in digits) == 1
