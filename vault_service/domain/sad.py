"""Sensitive authentication data (SAD): what must never be stored, not even encrypted.

PCI-DSS 3.3.1 forbids keeping full track data, card verification codes and PINs or PIN
blocks after authorization. The vault therefore refuses them wherever they may arrive:
as the name of a data class, as a value of any class, and in what is kept in clear
(tags, references, subjects, cases).

A bare ``123`` cannot be told from any other number: a verification code or PIN is
refused by what it is called, track data by its shape (ISO/IEC 7813).
"""

import re
import unicodedata
from typing import Final

from vault_service.domain.luhn import luhn_valid

# PCI-DSS 3.3.1.1: track 1 (PAN ^ name ^ expiry or ^) and track 2 (PAN = expiry, service
# code, discretionary data; a second = stands for an expiry left out), anywhere in a
# text, with or without sentinels. ``\d`` also takes digits of other scripts.
_TRACK: Final = re.compile(r"\d(?:[ -]?\d){11,18}(?:\^[^^]{0,64}\^[\d^]|=(?:\d{4}|=\d{3}))")
# Track 2 as terminals hand it over in hexadecimal, with D for the separator and F for
# padding. Hexadecimal text is common, so the month and the Luhn digit must fit too.
_TRACK_HEX: Final = re.compile(
    r"(?<![0-9A-Za-z])([0-9]{12,19})[Dd][0-9]{2}(?:0[1-9]|1[0-2])[0-9]{3,16}[Ff]?(?![0-9A-Za-z])"
)

# Whole names, without separators, in lower case. PCI-DSS 3.3.1.1 tracks, 3.3.1.2
# verification codes, 3.3.1.3 PINs. A service code is no SAD in itself, but outside of
# track data nothing has a use for it.
_NAMES: Final = frozenset(
    {
        *(
            "cvv",
            "cvv2",
            "cvv3",
            "icvv",
            "dcvv",
            "cvc",
            "cvc2",
            "cvc3",
            "cvn",
            "cvn2",
            "cvd",
        ),
        *(
            "cvd2",
            "cav",
            "cav2",
            "cid",
            "csc",
            "cvccode",
            "cvcnumber",
            "cvcvalue",
            "amexcid",
        ),
        *("pin", "pins", "pincode", "pinnumber", "pinvalue", "pindata", "encryptedpin"),
        *("track", "tracks", "track1", "track2", "track3", "magstrip", "stripedata"),
        *("swipe", "swipedata", "carddump", "servicecode", "cardservicecode"),
        *(
            "securitycode",
            "verificationcode",
            "verificationvalue",
            "verificationnumber",
        ),
        *("sad", "sensitiveauthenticationdata"),
    }
)
# These mean nothing else, so one anywhere in a compound name is enough.
_TELLING: Final = re.compile(
    r"(?<!re)cvv|cvc2|cav2|card(?:cvc|cvn|cvd|cav|cid|csc|pin|securitycode|verification|authenticationvalue)"
    r"|pinblock|pinoffset|magstripe|magneticstripe|fulltrack|track[123]?(?:data|equivalent)"
)
# A word of its own in a compound name (``billing.cvc``, ``billingCvc``), as opposed to
# letters that meet by chance (``recvcount``).
_CODE_WORD: Final = re.compile(
    r"(?:(?<![A-Za-z])(?i:cv[cnd])|(?<=[a-z])C[Vv][CcNnDd])[0-9]?(?![a-z0-9])"
)
_SEPARATORS: Final = re.compile(r"[\W_]+")

# A code behind its name. ``cid``, ``csc`` and ``pin`` also begin case numbers
# (CSC-1042), so they need more than a dash between name and number.
_CODE_TEXT: Final = re.compile(
    r"""
      (?: (?<!re)cvv[23]? | (?:(?<![a-z])|(?<=card)) (?: cvc[23]? | cvn2? | cvd2? | cav2? )
        | (?:security|verification) [\W_]* (?:code|value|number) )
      (?: [\W_]* (?:code|number|value|no) )? [\W_]{1,6} (?: is [\W_]+ )? \d{3,4} (?!\d)
    | (?<![a-z0-9]) (?: cvv[23]? | cvc[23]? | cvn2? | cvd2? | cav2? ) \d{3,4} (?![a-z0-9])
    | (?:(?<![a-z])|(?<=card)) (?: cid | csc ) [^\w:=]{0,3} [:=] [\W_]{0,3} \d{3,4} (?!\d)
    | (?:(?<![a-z])|(?<=card)) pin (?: [\W_]* (?:code|number|no) )?
      (?: [^\w:=]{0,3} [:=] [\W_]{0,3} | \s+ (?: is \s+ )? ) \d{4,12} (?!\d)
    | (?<![a-z]) pin [\W_]* block [\W_]* (?: is [\W_]+ )? [0-9a-f]{8}
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Letters without which nothing above can match (cvv, cav, cid, csc, pin, secURIty,
# verifiCATion): the cheap test that spares an ordinary reference the long pattern.
_HINT: Final = re.compile(r"[cCpPuU](?:[vV][vVcCnNdD]|[aA][vVtT]|[iI][dDnN]|[sS][cC]|[rR][iI])")
# Twelve digits, two separators and a digit of track 1 with nothing between them.
_SHORTEST_TRACK: Final = 15


def looks_like_track_data(value: str) -> bool:
    """Whether track 1 or track 2 data stands anywhere in ``value``.

    Any text is accepted, whatever its length; full-width forms are seen through.
    """
    if len(value) < _SHORTEST_TRACK:
        return False
    if not value.isascii():
        value = unicodedata.normalize("NFKC", value)
    if ("=" in value or "^" in value) and _TRACK.search(value) is not None:
        return True
    if "D" in value or "d" in value:
        return any(luhn_valid(match[1]) for match in _TRACK_HEX.finditer(value))
    return False


def is_sad_class_name(name: str) -> bool:
    """Whether ``name`` (of a data class, a tag, a column) stands for SAD, in any case
    and with any separators: ``cvv``, ``Card-CVV2``, ``pin_block``, ``track2``.
    """
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name)
    compact = (name if name.isalnum() else _SEPARATORS.sub("", name)).lower()
    if compact in _NAMES or _TELLING.search(compact) is not None:
        return True
    return "cv" in compact and _CODE_WORD.search(name) is not None


def sensitive_in_metadata(text: str) -> bool:
    """Whether ``text``, which would be kept in clear, carries SAD: track data, or a
    verification code, PIN or PIN block next to its name (``cvv=123``)."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return (
        _HINT.search(text) is not None and _CODE_TEXT.search(text) is not None
    ) or looks_like_track_data(text)
