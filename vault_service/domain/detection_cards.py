"""Card numbers in text: issuer ranges, Luhn, and the ways people write them.

A card number here is 12 to 19 digits that begin with the range of a card issuer, have
a length that this issuer uses, and end in their Luhn digit (ISO/IEC 7812-1). It may be
one run of digits or in the usual groups with one kind of separator throughout; it may
stand inside other text, but never inside a longer run of digits; it may have gone
through a floating-point column (``4111111111111111.0``, ``4.111111111111111E15``).
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

from vault_service.domain.luhn import luhn_valid

MIN_DIGITS: Final = 12

# Ranges of leading digits and the lengths in use. Sources: the issuer identification
# numbers in Wikipedia's "Payment card number" and the networks' own BIN rules it cites
# (Visa, Mastercard, American Express, Discover and UnionPay processing guides).
# A trailing ? marks ranges that are wide or little used, so that chance hits are likely.
_RANGES: Final = """
4               16,19                Visa
4               13                   Visa ?
2221-2720       16                   Mastercard
51-55           16                   Mastercard
34 37           15                   American Express
300-305 3095 36 38-39 14,15,16,17,18,19 Diners Club
6011 644-649 65 16,17,18,19          Discover
622126-622925   16,17,18,19          Discover
3528-3589       16,17,18,19          JCB
2131            15                   JCB
62 810-819      16,17,18,19          UnionPay
31              19                   China T-Union ?
5018 5020 5033 5038 5893 6304 6390 6703 6706 6709 6759 6761-6763 6767 6771 6799 \
                12,13,14,15,16,17,18,19 Maestro, Laser, Solo, Bancontact ?
50 56-58 60-61 63 66-69 16,17,18,19  Maestro ?
4903 4905 4911 4936 564182 633110 6333 16,18,19 Switch
636             16,17,18,19          InterPayment
637-639         16                   InstaPayment
2200-2205       16,17,18,19          Mir, BORICA
60 65 81-82 508 353 356 16           RuPay
506099-506198 507865-507964 650002-650027 16,18,19 Verve
65 9792         16                   Troy
401178-401179 431274 438935 451416 457393 457631-457632 504175 506699-506778 \
509000-509999 627780 636297 636368 650031-650033 650035-650051 650405-650439 \
650485-650538 650541-650598 650700-650718 650720-650727 650901-650978 \
651652-651679 655000-655019 655021-655058 16 Elo
384100 384140 384160 606282 637095 637568 637599 637609 637612 16,19 Hipercard
384100 384140 384160 13              Hipercard ?
589562 589657 600691 604201-604244   16 Naranja, Cabal
5019 4571       16                   Dankort
5610 560221-560225 16                Bankcard
8600 9860       16                   UzCard, Humo
357111          16                   LankaPay
6054740-6054744 16                   NPS Pridnestrovie
604001-604200   16                   UkrCard
9704            16,19                NAPAS
"""
_SURE_LENGTHS: Final = frozenset({14, 15, 16})
_PREFIX: Final = 6


def _compile_ranges() -> tuple[list[int], list[tuple[int, int]]]:
    """The table as sorted six-digit breakpoints, and for the stretch from each to the
    next two bit masks of lengths: all that are in use, and those that are surely so."""
    rows: list[tuple[int, int, int, int]] = []
    for line in _RANGES.strip().splitlines():
        words = line.split()
        at = next(i for i, w in enumerate(words) if "," in w or (w in _LENGTH_WORDS and i))
        lengths = {int(n) for n in words[at].split(",")}
        sure = set() if words[-1] == "?" else lengths & _SURE_LENGTHS
        for word in words[:at]:
            low, _, high = word.partition("-")
            rows.append(
                (
                    int(low[:_PREFIX].ljust(_PREFIX, "0")),
                    int((high or low)[:_PREFIX].ljust(_PREFIX, "9")) + 1,
                    sum(1 << n for n in lengths),
                    sum(1 << n for n in sure),
                )
            )
    breaks = sorted({0, *(row[0] for row in rows), *(row[1] for row in rows)})
    masks = []
    for point in breaks:
        used = sure_mask = 0
        for low_end, high_end, all_lengths, sure_lengths in rows:
            if low_end <= point < high_end:
                used |= all_lengths
                sure_mask |= sure_lengths
        masks.append((used, sure_mask))
    return breaks, masks


_LENGTH_WORDS: Final = frozenset(str(n) for n in range(12, 20))
_BREAKS, _MASKS = _compile_ranges()


class CardMatch(NamedTuple):
    """Where a card number stands. ``certain``: a length and range where chance hits
    are rare; else one number in ten of that shape would pass by chance."""

    start: int
    end: int
    certain: bool


def issuer_range(digits: str) -> bool | None:
    """Whether the leading digits and the length are an issuer's: ``None`` if not,
    else whether surely so (a network's main length and a narrow range)."""
    used, sure = _MASKS[bisect_right(_BREAKS, int(digits[:_PREFIX])) - 1]
    bit = 1 << len(digits)
    return None if not used & bit else bool(sure & bit)


_S: Final = r"[ \-._/\t]"
# Beginning with a plain character class lets the engine skip to the next digit quickly;
# every alternative is bounded, so the search is linear whatever the text.
_CANDIDATE: Final = re.compile(
    rf"""[2-9](?<!\d\d)(?:
      \d{{11,18}}                                                     # one run
    | \.\d{{9,18}}[eE]\+?(?P<exponent>1[1-8])                         # 4.111111111111111E15
    | \d{{3}}(?P<a>{_S}{{1,3}})\d{{4}}(?P=a)\d{{4}}
        (?:(?P=a)\d{{1,4}}(?:(?P=a)\d{{1,3}})?)?                      # 4-4-4-4, 4-4-4-4-3
    | \d{{3}}(?P<b>{_S}{{1,3}})\d{{6}}(?P=b)\d{{4,5}}                 # 4-6-5, 4-6-4
    | \d{{3}}(?P<c>{_S}{{1,3}})\d{{4}}(?P=c)\d{{5}}                   # 4-4-5
    | \d{{7}}{_S}{{1,3}}\d{{8}}                                       # 8-8
    | \d{{5}}{_S}{{1,3}}\d{{10}}(?:\d{{3}})?                          # 6-10, 6-13
    | (?<!\d{_S}.)(?P<d>{_S}{{1,3}})\d(?:(?P=d)\d){{10,17}}(?!(?P=d)\d)    # 4 1 1 1 …
    | \d(?<!\d{_S}..)(?P<e>{_S}{{1,3}})\d\d(?:(?P=e)\d\d){{4,7}}(?!(?P=e)\d) # 41 11 …
    )(?!\d)""",
    re.VERBOSE | re.ASCII,
)
_NOT_DIGIT: Final = re.compile(r"[^0-9]+")
_FRACTION: Final = re.compile(r"\.(\d+)", re.ASCII)
_FLOAT_ZERO: Final = re.compile(r"\.0{1,2}(?![\d.])", re.ASCII)
_UUID: Final = re.compile(
    r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
    r"(?![0-9A-Za-z])"
)
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_UUID_REACH: Final = 37
_MIN_HEX_WORD: Final = 32


def card_matches(text: str) -> Iterator[CardMatch]:
    """Card numbers in ``text``, which is folded (``detection_text.fold``), in order."""
    position = 0
    while (match := _CANDIDATE.search(text, position)) is not None:
        found = _judge(text, match)
        if found is None:
            position = match.start() + 1
        else:
            position = found.end
            yield found


def _judge(text: str, match: re.Match[str]) -> CardMatch | None:
    start, end = match.span()
    written = match[0]
    if match["exponent"] is not None:
        return _scientific(written, int(match["exponent"]), start, end)
    if written.isdigit():
        return _one_run(text, written, start, end)
    while True:
        digits = _NOT_DIGIT.sub("", written)
        if len(digits) < MIN_DIGITS:
            return None
        certain = issuer_range(digits)
        if certain is not None and luhn_valid(digits):
            if _inside_uuid(text, start, start + len(written)):
                return None
            # Numbers side by side may look like groups of one number.
            usual = match["a"] is not None or match["b"] is not None
            return CardMatch(start, start + len(written), certain and usual)
        if match["a"] is None:
            return None
        # 4111 1111 1111 1111 123: the last group may be something else.
        written = written[: written.rfind(match["a"])]


def _one_run(text: str, digits: str, start: int, end: int) -> CardMatch | None:
    certain = issuer_range(digits)
    if certain is None:
        return None
    if not luhn_valid(digits):
        # A 16-digit integer that became a float is hardly anything but a card number,
        # and a long way through spreadsheets often costs it its last digit. Tokens in
        # the form of digits begin with 9.
        whole = certain and digits[0] != "9" and not _is_fraction(text, start)
        if whole and _FLOAT_ZERO.match(text, end) is not None:
            return CardMatch(start, end, False)
        return None
    if _is_fraction(text, start) or _inside_uuid(text, start, end) or _inside_hex(text, start, end):
        return None
    fraction = _FRACTION.match(text, end)
    if fraction is not None and fraction[1].strip("0"):
        if len(digits) < 14:  # an amount in a small currency
            return None
        certain = False
    if not certain and text[start - 1 : start] == "+":  # E.164
        return None
    return CardMatch(start, end, certain)


def _scientific(written: str, exponent: int, start: int, end: int) -> CardMatch | None:
    mantissa = written[0] + written[2 : written.lower().index("e")]
    if len(mantissa.rstrip("0")) > exponent + 1:
        return None
    digits = mantissa[: exponent + 1].ljust(exponent + 1, "0")
    certain = issuer_range(digits)
    if certain is None or not luhn_valid(digits):
        return None
    return CardMatch(start, end, certain)


def _is_fraction(text: str, start: int) -> bool:
    """Whether the run is what follows a decimal point: ``0.4111111111111111``."""
    return start >= 2 and text[start - 1] == "." and text[start - 2] in "0123456789"


def _inside_uuid(text: str, start: int, end: int) -> bool:
    """Whether the digits are part of a UUID (RFC 9562 4)."""
    return any(
        match.start() < end and match.end() > start
        for match in _UUID.finditer(text, max(0, start - _UUID_REACH), end + _UUID_REACH)
    )


def _inside_hex(text: str, start: int, end: int) -> bool:
    """Whether the run of digits is part of a long hexadecimal word, such as a digest."""
    left, right = start, end
    while left > 0 and start - left < _MIN_HEX_WORD and text[left - 1] in _HEX:
        left -= 1
    while right < len(text) and right - end < _MIN_HEX_WORD and text[right] in _HEX:
        right += 1
    return right - left >= _MIN_HEX_WORD
