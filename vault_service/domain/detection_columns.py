"""What a column's name and the whole of its values say beyond the single value.

Test data and old exports are full of card numbers whose check digit is wrong, and a
column of ids has card numbers by chance: one number in ten passes Luhn. Both show only
in the column: by its name, or by how many of its values are of the kind.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from vault_service.domain.detection import Confidence, Kind, find
from vault_service.domain.detection_cards import issuer_range
from vault_service.domain.detection_text import fold

LINES_KEPT: Final = 5
"""Line numbers that a finding names; its count tells how many there are in all."""

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_CARD_NAME: Final = re.compile(
    r"(?:card|cc|creditcard|debitcard)(?:no|nr|num|number|nbr|numbers)\Z"
    r"|(?:credit|debit|payment|bank)cards?\Z|primaryaccountn(?:o|r|um|umber)\Z"
)
_CARD_WORDS: Final = frozenset({"pan", "pans", "ccn", "card", "cards"})
_PHONE_WORDS: Final = re.compile(r"(?:tele)?phone|mobile|msisdn|telefon|\Atel\Z|\Afax\Z|\Acell\Z")
_SSN_WORD: Final = re.compile(r"\Assn|ssn\Z")
# phone_type, mobile_orders, ssn_id: about such a value, but not one.
_ABOUT: Final = frozenset(
    {"id", "ids", "type", "count", "code", "token", "tokens", "verified", "at", "date", "time"}
)
_CARD_CELL: Final = re.compile(r"\s*([1-8](?:[ -]?[0-9]){11,18})(?:\.0{1,2})?\s*")
_NOT_DIGIT: Final = re.compile(r"[ -]")
_LONG_NUMBER: Final = re.compile(r"\d(?:[ .-]?\d){8,}")

_MANY: Final = 20
_MOSTLY: Final = 0.8
_CHANCE: Final = 0.3
"""Luhn holds for a tenth of arbitrary numbers; a column with less than this share of
valid ones among at least ``_MANY`` has them by chance."""

NO_KINDS: Final[frozenset[Kind]] = frozenset()


def name_hints(name: str) -> frozenset[Kind]:
    """The kinds that a column of this name is likely to hold."""
    words = [word.lower() for word in _WORDS.findall(fold(name))]
    if not words or words[-1] in _ABOUT:
        return NO_KINDS
    joined = "".join(words)
    hints = set()
    if words[-1] in _CARD_WORDS or _CARD_NAME.search(joined) is not None:
        hints.add(Kind.PAN)
    if any(_PHONE_WORDS.search(word) is not None for word in words):
        hints.add(Kind.PHONE)
    if "socialsecurity" in joined or any(_SSN_WORD.search(word) is not None for word in words):
        hints.add(Kind.US_SSN)
    return frozenset(hints)


@dataclass(frozen=True, slots=True)
class ColumnFinding:
    """``count`` values of ``kind`` in a column. ``lines`` are the first few lines."""

    kind: Kind
    confidence: Confidence
    count: int
    lines: tuple[int, ...]


@dataclass(slots=True)
class _Tally:
    count: int = 0
    lines: list[int] = field(default_factory=list)

    def add(self, lines: Sequence[int]) -> None:
        self.count += len(lines)
        self.lines = sorted({*self.lines, *lines[:LINES_KEPT]})[:LINES_KEPT]

    def join(self, other: "_Tally") -> None:
        self.lines = sorted({*self.lines, *other.lines})[:LINES_KEPT]
        self.count += other.count


class ColumnScan:
    """Gathers the evidence of one column; holds counts and line numbers, no values."""

    def __init__(self, name: str) -> None:
        self._hints = name_hints(name)
        self._certain: dict[tuple[Kind, Confidence], _Tally] = {}
        self._filled = 0
        # Values that are a card number but for the check digit, or nothing but digits
        # that might be one by chance.
        self._unchecked = _Tally()
        self._like_cards = 0
        self._doubtful = 0
        self._doubtful_valid = _Tally()

    def add(self, text: str, lines: Sequence[int]) -> None:
        """One distinct value and all the lines it stands on, in order."""
        self._filled += len(lines)
        if len(text) < 5:
            return
        card = False
        for finding in find(text, self._hints):
            if finding.kind is Kind.PAN:
                card = True
                if self._by_chance_perhaps(text, finding.confidence):
                    self._doubtful += len(lines)
                    self._doubtful_valid.add(lines)
                    continue
            self._tally(finding.kind, finding.confidence).add(lines)
        self._weigh(text, lines, card)

    def _by_chance_perhaps(self, text: str, confidence: Confidence) -> bool:
        return confidence is not Confidence.HIGH and text.isdigit()

    def _weigh(self, text: str, lines: Sequence[int], card: bool) -> None:
        if len(text) < 12:
            return
        match = _CARD_CELL.fullmatch(fold(text))
        if match is None:
            return
        digits = _NOT_DIGIT.sub("", match[1])
        certain = issuer_range(digits)
        if card:
            self._like_cards += len(lines) if certain else 0
        elif Kind.PAN in self._hints or certain:
            self._like_cards += len(lines)
            self._unchecked.add(lines)
        elif certain is not None and text.isdigit():
            self._doubtful += len(lines)

    def _tally(self, kind: Kind, confidence: Confidence) -> _Tally:
        return self._certain.setdefault((kind, confidence), _Tally())

    def findings(self, minimum: Confidence = Confidence.LOW) -> list[ColumnFinding]:
        """What the column holds, one finding a kind: all values whose confidence is at
        least ``minimum``, under the highest confidence among them."""
        tallies = {
            key: _Tally(tally.count, list(tally.lines)) for key, tally in self._certain.items()
        }

        def join(confidence: Confidence, tally: _Tally) -> None:
            if tally.count:
                tallies.setdefault((Kind.PAN, confidence), _Tally()).join(tally)

        hinted = Kind.PAN in self._hints
        chance = (
            not hinted
            and self._doubtful >= _MANY
            and self._doubtful_valid.count < _CHANCE * self._doubtful
        )
        join(Confidence.LOW if chance else Confidence.MEDIUM, self._doubtful_valid)
        mostly = self._like_cards >= max(_MANY, _MOSTLY * self._filled)
        join(Confidence.MEDIUM if hinted or mostly else Confidence.LOW, self._unchecked)
        return _strongest(tallies, minimum)


def _strongest(
    tallies: dict[tuple[Kind, Confidence], _Tally], minimum: Confidence
) -> list[ColumnFinding]:
    result = []
    for kind in Kind:
        counted = {c: t for (k, c), t in tallies.items() if k is kind and c.rank >= minimum.rank}
        if counted:
            total = _Tally()
            for tally in counted.values():
                total.join(tally)
            best = max(counted, key=lambda confidence: confidence.rank)
            result.append(ColumnFinding(kind, best, total.count, tuple(total.lines)))
    return result


def shown(name: str) -> str:
    """``name``, of a column or a file, fit to be shown: without what a scan would find
    (a file without a header line has its first values for column names), without long
    numbers, and without characters that a terminal would obey."""
    spans = [(f.start, f.end) for f in find(name)]
    spans += [match.span() for match in _LONG_NUMBER.finditer(name)]
    text = _blot(name, sorted(spans)) or "(unnamed)"
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _blot(text: str, spans: Iterable[tuple[int, int]]) -> str:
    parts = []
    position = 0
    for start, end in spans:
        if start >= position:
            parts += [text[position:start], "…"]
        position = max(position, end)
    parts.append(text[position:])
    return "".join(parts)
