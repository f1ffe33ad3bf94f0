"""Small groups are not shown, nor anything that they could be worked out from.

A figure about fewer people than a definition's minimum tells something about each of them.
Hiding it alone is no help where a total is shown: it is the total less the rest. So the
smallest of the other groups is hidden with it (complementary suppression), or the total
where there is none.

Whoever reads the result may know the minimum and this code. What is hidden beside a total
holds a small group and one that is not, and would look the same with the figures of the two
exchanged: so every hidden figure has at least two values that fit. A group of nobody is
shown: it is about no one.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shown:
    """What may be shown of some groups, in their order, and of their total; ``None`` stands
    for hidden."""

    groups: tuple[int | None, ...]
    total: int | None


def suppress(groups: Sequence[int], minimum: int) -> Shown:
    """What may be shown of groups of so many people each, which do not overlap, and of
    their total. ``minimum`` is the size of the smallest group that may be shown; with 1
    nothing is hidden.

    Two results may stand side by side only where they share no group and no total: of a
    table with totals both ways, one way is shown. ``ValueError`` for a negative count, and
    for a minimum that is below 1, or is 2: to hide all groups of one is to tell them.
    """
    if minimum < 1 or minimum == 2 or any(count < 0 for count in groups):
        raise ValueError("groups are counted from 0; the minimum is 1, or 3 and more")
    if not any(0 < count < minimum for count in groups):
        return Shown(tuple(groups), sum(groups))
    # All of the size that is hidden as a complement: which of them comes first must not
    # tell where the small one is.
    complement = min((count for count in groups if count >= minimum), default=None)
    hidden = (0 < count < minimum or count == complement for count in groups)
    shown = (None if hides else count for count, hides in zip(groups, hidden, strict=True))
    return Shown(tuple(shown), None if complement is None else sum(groups))
