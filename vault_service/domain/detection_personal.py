"""IBANs, email addresses, phone numbers and US social security numbers in text.

Every function takes folded text (``detection_text.fold``), gives spans in order, takes
time linear in the length of the text and never raises.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

import phonenumbers
from stdnum import iban as _iban
from stdnum import numdb

LOW: Final = 0
MEDIUM: Final = 1
HIGH: Final = 2

_IBAN_START: Final = re.compile(
    r"[A-Za-z](?<![0-9A-Za-z].)[A-Za-z]\d\d(?=[ -]?[0-9A-Za-z])", re.ASCII
)
_IBAN_CHARACTERS: Final = re.compile(r"[0-9A-Za-z](?:[ -]?[0-9A-Za-z]){14,33}", re.ASCII)
_COUNT: Final = re.compile(r"(\d+)!")

_LOCAL_LENGTH: Final = 64
_LOCAL: Final = re.compile(r"(?:[\w!#$%&'*+/=?^`{|}~-]+\.)*[\w!#$%&'*+/=?^`{|}~-]+\Z")
_DOMAIN: Final = re.compile(
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}([^\W\d_]{2,24}|[Xx][Nn]--[0-9A-Za-z-]{2,59})(?![\w-])"
)
_TOKEN_LOCAL: Final = re.compile(r"[0-9a-hjkmnp-tv-z]{26}")
_TOKEN_DOMAIN: Final = "tokens.invalid"
# ``logo@2x.png`` is a picture for fine screens, not an address.
_FILE_ENDINGS: Final = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js"})

_INTERNATIONAL: Final = re.compile(r"\+(?<!\w\+)(?:[ .\-/()]{0,2}\d){7,15}(?![\d])", re.ASCII)
_NORTH_AMERICAN: Final = re.compile(
    r"(?<![\d.-])(?:(\([2-9]\d\d\)[ ]?)|[2-9]\d\d[-. ])[2-9]\d\d[-. ]\d{4}(?![\d-])",
    re.ASCII,
)
_NATIONAL: Final = re.compile(r"(?<![\w+])\(?0?\d(?:[ .\-/()]{0,2}\d){5,14}(?![\d])", re.ASCII)

_SSN: Final = re.compile(r"(?<![\w-])(\d{3})([- ]?)(\d{2})\2(\d{4})(?![\w-])", re.ASCII)
# Printed in advertisements and on wallet inserts, never anybody's own.
_SSN_SPECIMENS: Final = frozenset({"078051120", "219099999", "457555462"})


@cache
def _iban_length(country: str) -> int:
    """How long an IBAN of that country is by the SWIFT registry, 0 where there is none."""
    structure = numdb.get("iban").info(country)[0][1].get("bban", "")
    counts = _COUNT.findall(structure)
    return 4 + sum(int(count) for count in counts) if counts else 0


def ibans(text: str) -> Iterator[tuple[int, int]]:
    """IBANs (ISO 13616-1): registered country and structure, mod-97 valid; compact or
    in groups parted by single spaces or dashes."""
    position = 0
    while (start := _IBAN_START.search(text, position)) is not None:
        position = start.start() + 1
        end = _iban_end(text, start.start())
        if end is not None:
            yield start.start(), end
            position = end


def _iban_end(text: str, start: int) -> int | None:
    length = _iban_length(text[start : start + 2].upper())
    match = _IBAN_CHARACTERS.match(text, start) if length else None
    if match is None:
        return None
    end, count = start, 0
    for character in match[0]:
        end += 1
        count += character not in " -"
        if count == length:
            break
    following = text[end : end + 1]
    if count < length or (following.isascii() and following.isalnum()):
        return None
    return end if _iban.is_valid(text[start:end], check_country=False) else None


def emails(text: str) -> Iterator[tuple[int, int]]:
    """Email addresses (RFC 5321 4.1.2 without quoted local parts; RFC 6531 letters).

    Tokens of the ``email`` format are none."""
    at = text.find("@")
    floor = 0
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1, at + 256)
        if domain is not None and domain[1].lower() not in _FILE_ENDINGS:
            begin = max(floor, at - _LOCAL_LENGTH)
            local = _LOCAL.search(text[begin:at])
            if local is not None:
                token = (
                    domain[0].lower() == _TOKEN_DOMAIN
                    and _TOKEN_LOCAL.fullmatch(local[0]) is not None
                )
                if not token:
                    yield begin + local.start(), domain.end()
        floor = at + 1
        at = text.find("@", at + 1)


def phones(text: str, hinted: bool) -> Iterator[tuple[int, int, int]]:
    """Phone numbers with their confidence, 0 to 2.

    High: begins with ``+`` and is valid in its country's numbering plan. Medium:
    ``(212) 555-0123``. ``hinted``, for places that are called after phones, adds what
    could be a number written the national way (medium).
    """
    ends: list[int] = [0]
    if "+" in text:
        for match in _INTERNATIONAL.finditer(text):
            rank = _international(match[0])
            if rank is not None:
                ends.append(match.end())
                yield (
                    match.start(),
                    match.end(),
                    MEDIUM if hinted and rank == LOW else rank,
                )
    if len(text) < 7:
        return
    if hinted:
        for match in _NATIONAL.finditer(text):
            if match.start() >= ends[-1]:
                yield match.start(), match.end(), MEDIUM
    elif "-" in text or "." in text or " " in text:
        for match in _NORTH_AMERICAN.finditer(text):
            if match.start() >= ends[-1]:
                yield match.start(), match.end(), MEDIUM if match[1] else LOW


def _international(written: str) -> int | None:
    try:
        number = phonenumbers.parse(written, None)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_valid_number(number):
        return HIGH
    return LOW if phonenumbers.is_possible_number(number) else None


def social_security_numbers(text: str, hinted: bool) -> Iterator[tuple[int, int, int]]:
    """US social security numbers with their confidence, 0 to 2.

    Area, group and serial are ones that are or may be issued (SSA: never 000, 666,
    9xx; 00; 0000). Dashed: medium, high when ``hinted``; with spaces or without
    separators: only when ``hinted``, medium.
    """
    if len(text) < 9 or not (hinted or "-" in text):
        return
    for match in _SSN.finditer(text):
        area, separator, group, serial = match.groups()
        if separator != "-" and not hinted:
            continue
        if area in ("000", "666") or area[0] == "9" or group == "00" or serial == "0000":
            continue
        if area + group + serial in _SSN_SPECIMENS:
            continue
        dashed = MEDIUM + hinted
        yield match.start(), match.end(), dashed if separator == "-" else MEDIUM
