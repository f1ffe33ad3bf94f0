"""Whether a whole batch of card numbers is as it should be, told at once.

One by one, looking at the numbers of a batch takes as long as encrypting them. Nearly
all batches hold digits alone, of one length, and those are told together.
"""

from collections.abc import Callable, Sequence
from typing import Final

from vault_service.domain.luhn import all_luhn_valid

_MANY: Final = 16

AllCanonical = Callable[[Sequence[str]], bool]
"""``True`` where every value is in its canonical form and acceptable. ``False`` says
nothing: the rule's normalizer then looks at each."""


def _cards(check_digit: bool) -> AllCanonical:
    """For card numbers (ISO/IEC 7812-1): 12 to 19 ASCII digits, not all zeros."""

    def all_canonical(values: Sequence[str]) -> bool:
        if len(values) < _MANY:
            return False
        length = len(values[0])
        if not 12 <= length <= 19 or set(map(len, values)) != {length}:
            return False
        text = "".join(values)
        if not text.isascii():
            return False
        digits = text.encode("ascii")
        return (
            digits.isdigit()
            and "0" * length not in values
            and (not check_digit or all_luhn_valid(digits, length))
        )

    return all_canonical


_RULES: Final = {"luhn": _cards(check_digit=True), "card_shape": _cards(check_digit=False)}


def all_canonical(rule: str) -> AllCanonical:
    """The test for a catalog ``validation`` rule; one that never says yes for rules
    that have none."""
    return _RULES.get(rule, lambda values: False)
