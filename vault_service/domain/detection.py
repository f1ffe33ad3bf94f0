"""What a scan looks for: card numbers and personal data left in clear text.

:func:`find` looks at one piece of text; ``detection_columns`` judges a whole column by
its name and values. A finding says what, where and how sure, and never holds the value.
:func:`looks_like_card_number` is the same judgement for what the vault keeps or logs in
clear, and is cheap enough for each such string of each request (PCI-DSS 3.4.1, 3.5.1).

All of it takes time linear in the length of the text, whatever the text is.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from vault_service.domain.detection_cards import MIN_DIGITS, CardMatch, card_matches
from vault_service.domain.detection_personal import (
    emails,
    ibans,
    phones,
    social_security_numbers,
)
from vault_service.domain.detection_text import fold

_NO_DIGITS: Final = bytes(set(range(256)) - set(b"0123456789"))
# An IBAN of Belarus may have as few; anything else but an email address has more.
_MIN_ANY_DIGITS: Final = 6
_PERCENT: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")


class Kind(StrEnum):
    """What a finding is."""

    PAN = "pan"
    IBAN = "iban"
    EMAIL = "email"
    PHONE = "phone"
    US_SSN = "us_ssn"


class Confidence(StrEnum):
    """How sure a finding is. ``rank`` orders them, 0 for ``low``."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0, 1 or 2; a higher rank is surer."""
        return _RANKS[self]


_RANKS: Final = {Confidence.LOW: 0, Confidence.MEDIUM: 1, Confidence.HIGH: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One find: ``text[start:end]`` is a ``kind``. The text itself is not held."""

    kind: Kind
    confidence: Confidence
    start: int
    end: int


class _Span(NamedTuple):
    start: int
    end: int


NO_HINTS: Final[frozenset[Kind]] = frozenset()


def find(text: str, hints: frozenset[Kind] = NO_HINTS) -> Iterator[Finding]:
    """Every finding in ``text``, in no set order; never raises, whatever the text.

    ``hints`` are the kinds that the place suggests (a column called ``phone``): with
    them, forms count that prove nothing by themselves, such as national phone numbers
    and social security numbers without dashes.
    """
    if "@" not in text and text.isascii() and _count_digits(text) < _MIN_ANY_DIGITS:
        return
    folded = fold(text)
    if len(folded) >= MIN_DIGITS:
        accounts = [_Span(start, end) for start, end in ibans(folded)]
        for span in accounts:
            yield Finding(Kind.IBAN, Confidence.HIGH, span.start, span.end)
        for card in _cards(folded, accounts):
            yield Finding(
                Kind.PAN,
                Confidence.HIGH if card.certain else Confidence.MEDIUM,
                card.start,
                card.end,
            )
    for start, end in emails(folded):
        yield Finding(Kind.EMAIL, Confidence.HIGH, start, end)
    for start, end, rank in phones(folded, Kind.PHONE in hints):
        yield Finding(Kind.PHONE, _BY_RANK[rank], start, end)
    for start, end, rank in social_security_numbers(folded, Kind.US_SSN in hints):
        yield Finding(Kind.US_SSN, _BY_RANK[rank], start, end)


_BY_RANK: Final = (Confidence.LOW, Confidence.MEDIUM, Confidence.HIGH)


def _count_digits(text: str) -> int:
    """How many digits ASCII text has: the cheap test that spares most text the rest."""
    return len(text.encode("ascii").translate(None, _NO_DIGITS))


def looks_like_card_number(text: str) -> bool:
    """Whether a scan would call something in ``text`` a card number.

    For subjects, tags, references, cases, request ids, idempotency keys, token
    positions and URL paths, percent-encoded or not. A short string without a card
    number costs well under a microsecond.
    """
    if len(text) < MIN_DIGITS:
        return False
    if text.isascii():
        # Every writing shows twelve digits at least, percent-encoded ones too.
        if _count_digits(text) < MIN_DIGITS:
            return False
        folded = text
    else:
        folded = fold(text)
    first = next(card_matches(folded), None)
    if first is None and "%" not in folded:
        return False
    accounts = [_Span(start, end) for start, end in ibans(folded)]
    return next(_cards(folded, accounts), None) is not None


def _cards(folded: str, accounts: list[_Span]) -> Iterator[CardMatch]:
    """Card numbers outside of ``accounts``, read as they stand and percent-decoded."""
    starts = [span.start for span in accounts]
    found: list[_Span] = []
    for card in card_matches(folded):
        if not _overlaps(card, accounts, starts):
            found.append(_Span(card.start, card.end))
            yield card
    if "%" in folded and _PERCENT.search(folded) is not None:
        starts = [span.start for span in found]
        decoded = _Decoded(folded)
        for card in card_matches(decoded.text):
            last = decoded.origin(card.end - 1)
            mapped = card._replace(start=decoded.origin(card.start).start, end=last.end)
            if not _overlaps(mapped, found, starts):
                yield mapped


def _overlaps(card: CardMatch, spans: list[_Span], starts: list[int]) -> bool:
    """Whether ``card`` touches one of ``spans``, which are in order and apart."""
    at = bisect_right(starts, card.end - 1)
    return at > 0 and spans[at - 1].end > card.start


class _Decoded:
    """Text with its percent-encoding undone (RFC 3986 2.1) and folded, that knows where
    each of its characters came from."""

    def __init__(self, text: str) -> None:
        # Pieces: where they start here and there, and how far apart characters are there.
        self._starts: list[int] = []
        self._origins: list[int] = []
        self._strides: list[int] = []
        parts: list[str] = []
        length = position = 0
        for match in _PERCENT.finditer(text):
            octets = bytes.fromhex(match[0].replace("%", ""))
            decoded = octets.decode("utf-8", "surrogateescape")
            # One octet a character, or else one piece a character.
            pieces = [decoded] if len(decoded) == len(octets) else list(decoded)
            origin = match.start()
            length = self._add(length, text[position:origin], position, 1, parts)
            for piece in pieces:
                octet_count = len(piece.encode("utf-8", "surrogateescape"))
                stride = 3 * octet_count // len(piece)
                length = self._add(length, fold(piece), origin, stride, parts)
                origin += 3 * octet_count
            position = match.end()
        self._add(length, text[position:], position, 1, parts)
        self.text = "".join(parts)

    def _add(self, length: int, part: str, origin: int, stride: int, parts: list[str]) -> int:
        if part:
            parts.append(part)
            self._starts.append(length)
            self._origins.append(origin)
            self._strides.append(stride)
        return length + len(part)

    def origin(self, index: int) -> _Span:
        """Where the character at ``index`` stands in the original text."""
        at = bisect_right(self._starts, index) - 1
        stride = self._strides[at]
        start = self._origins[at] + (index - self._starts[at]) * stride
        return _Span(start, start + stride)
