"""Sensitive authentication data (SAD): what must never be stored, not even encrypted.

PCI-DSS 3.3.1 forbids keeping full track data, card verification codes and PINs or PIN
blocks after authorization. The vault therefore refuses them wherever they may arrive:
as the name of a data class, as a value of any class, and in what is kept in clear
(tags, references, subjects, cases).

A bare ``123`` cannot be told from any other number: a verification code is refused
by what it is called, track data by its shape (ISO/IEC 7813).
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from vault_service.domain.errors import SensitiveAuthenticationData
from vault_service.domain.luhn import luhn_valid

# PCI-DSS 3.3.1.1: ISO/IEC 7813 track 1 (PAN ^ name ^ YYMM or ^) and track 2
# (PAN = YYMM, service code, discretionary data), with or without their sentinels.
# ``\d`` also takes the digits of other scripts, which NFKC leaves alone.
_TRACK: Final = re.compile(r"\d(?:[ -]?\d){11,18}(?:\^[^^]{0,64}\^[\d^]|=(?:\d{4}|\d{0,4}=))")
# Track 2 as terminals hand it over in hexadecimal, with D for the separator and F for
# padding. Hexadecimal text is common, so the month and the Luhn digit must fit too.
_TRACK_HEX: Final = re.compile(
    r"(?<![0-9A-Za-z])([0-9]{12,19})[Dd][0-9]{2}(?:0[1-9]|1[0-2])[0-9]{3,16}[Ff]?(?![0-9A-Za-z])"
)

# PCI-DSS 3.3.1.2 (codes), 3.3.1.3 (PINs), 3.3.1.1 (tracks). The service code is no SAD
# in itself, but outside of track data nothing has a use for it.
_NAMES: Final = frozenset(
    "cvv cvv2 cvv3 icvv dcvv cvc cvc2 cvc3 cvn cvn2 cvd cvd2 cvk cav cav2 cid csc cvvcode cvccode "
    "pin pins pinblock encryptedpinblock pinoffset pinnumber pincode cardpin "
    "track tracks track1 track2 track3 trackdata track1data track2data track3data "
    "track1equivalent track2equivalent track2equivalentdata fulltrack fulltrackdata "
    "magstripe magstripedata magneticstripe magneticstripedata magnetictrack stripedata swipe "
    "swipedata securitycode cardsecuritycode verificationcode cardverificationcode "
    "verificationvalue cardverificationvalue cardverificationnumber cardverification "
    "cardidentificationnumber cardauthenticationvalue servicecode cardservicecode "
    "sensitiveauthenticationdata".split()
)
# Words that mean nothing else, so one of them anywhere in a compound name is enough
# (``customer.cvv``, ``cardCvv2``). ``pin``, ``track`` and ``cid`` have other meanings there.
_TELLING: Final = re.compile(
    r"cvv|cvc2|cav2|pinblock|pinoffset|cardpin|magstripe|magneticstripe|fulltrack"
    r"|track[123]?data|track2equivalent|cardsecuritycode|cardverification"
)
_TELLING_WORDS: Final = frozenset("cvc cvn cav csc cvd track1 track2 track3".split())
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+")
_SEPARATORS: Final = re.compile(r"[\W_]+")

_CODE_TEXT: Final = re.compile(
    # A code behind its name. ``cid``, ``csc`` and ``pin`` also begin case numbers
    # (CSC-1042), so a dash does not count for them.
    r"(?:cvv[23]?|cvc[23]?|cvn2?|cvd2?|cav2?"
    r"|(?:security|verification)[\W_]*(?:code|value|number))"
    r"(?:[\W_]*(?:code|number|value|no))?[\W_]{0,6}(?:is[\W_]+)?\d{3,4}(?!\d)"
    r"|(?:cid|csc|card[\W_]*pin)[\"'\s]{0,3}[:=][\"'\s]{0,3}\d{3,4}(?!\d)"
    r"|pin(?:[\W_]*(?:code|number|no))?(?:[\"'\s]{0,3}[:=][\"'\s]{0,3}|\s+(?:is\s+)?)\d{4,12}(?!\d)"
    r"|pin[\W_]*block[\W_]*(?:is[\W_]+)?[0-9a-f]{4,}"
    r"|track[\W_]*[123]?[\W_]*(?:data)?[\W_]*[:=][\W_]*(?:b?\d{12})",
    re.IGNORECASE,
)
# Letters without which nothing above can match: the cheap test that spares an ordinary
# reference the long pattern.
_HINT: Final = re.compile(r"[cC][vVaA][vVcCnNdD]|[cCsS][iIsS][dDcC]|[pP][iI][nN]|[cC]od|[cC]OD|ifica|IFICA|[tT][rR][aA][cC][kK]")


def looks_like_track_data(value: str) -> bool:
    """Whether track 1 or track 2 data stands anywhere in ``value``.

    Any text is accepted, whatever its length; full-width forms are seen through.
    """
    if not value.isascii():
        value = unicodedata.normalize("NFKC", value)
    if ("=" in value or "^" in value) and _TRACK.search(value) is not None:
        return True
    if "D" in value or "d" in value:
        return any(luhn_valid(match[1]) for match in _TRACK_HEX.finditer(value))
    return False
