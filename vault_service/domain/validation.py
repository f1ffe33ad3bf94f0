"""What a raw value of a data class must look like, and its one canonical form.

The canonical form is what is stored, what the blind index is computed over and what a
plain reveal gives back, so that value and token of a deterministic class are one to
one. Normalizing a canonical form leaves it as it is.

Every rule refuses NUL, lone surrogates, over-long values and anything around the
value, and track data whatever the class (PCI-DSS 3.3.1.1). No error carries any part
of the value.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final

from vault_service.domain.errors import (
    ConfigurationError,
    InvalidValue,
    SensitiveAuthenticationData,
)
from vault_service.domain.luhn import luhn_valid
from vault_service.domain.sad import looks_like_track_data

__all__ = [
    "MAX_LENGTH",
    "MAX_TEXT_LENGTH",
    "RULES",
    "Normalizer",
    "luhn_valid",
    "normalizer",
]

MAX_LENGTH: Final = 4096
MAX_TEXT_LENGTH: Final = 65536
"""The most characters a value may have, and a free text."""

Normalizer = Callable[[str], str]
"""From raw to canonical; raises ``InvalidValue`` or ``SensitiveAuthenticationData``."""

# Single separators between groups; no two ways to match, so no backtracking.
_CARD: Final = re.compile(r"[0-9]+(?:[ -][0-9]+)*")
_CARD_SEPARATORS: Final = str.maketrans("", "", " -")
_PLAIN_LOCAL_PART: Final = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*")
_LONGEST_LOCAL_PART: Final = 64  # RFC 5321 4.5.3.1.1
_LONGEST_EMAIL: Final = 254
_KNOWN_DOMAINS: Final = 1024
_PHONE: Final = re.compile(r"\+[0-9](?:[ ().-]{0,2}[0-9]){2,40}")
_IBAN: Final = re.compile(r"[A-Za-z0-9]+(?:[ -][A-Za-z0-9]+)*")
_SSN: Final = re.compile(r"[0-9]{3}-[0-9]{2}-[0-9]{4}|[0-9]{9}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NATIONAL_ID: Final = re.compile(r"[0-9A-Za-z]+(?:[-./ ][0-9A-Za-z]+)*")
_NATIONAL_ID_SEPARATORS: Final = str.maketrans("", "", "-./ ")
_EARLIEST_BIRTH: Final = date(1850, 1, 1)


def _today() -> date:
    """The latest date anywhere on earth (UTC+14)."""
    return (datetime.now(UTC) + timedelta(hours=14)).date()


def normalizer(rule: str, today: Callable[[], date] = _today) -> Normalizer:
    """The normalizer of a catalog ``validation`` rule, one of :data:`RULES`.

    ``today`` gives the last date that is not in the future. Raises
    :class:`ConfigurationError` for a rule that does not exist. Ask once and keep the
    answer: the libraries behind some rules are loaded here.
    """
    if rule == "date":
        return _date(today)
    if rule not in _MAKERS:
        raise ConfigurationError(
            "The catalog names an unknown validation rule; known are: " + ", ".join(sorted(RULES))
        )
    return _MAKERS[rule]()


def _screen(value: str, max_length: int = MAX_LENGTH) -> None:
    """What holds for every class."""
    if not value:
        raise InvalidValue("empty", "The value is empty.")
    if len(value) > max_length:
        raise InvalidValue("length", "The value is longer than its data class allows.")
    if "\0" in value:
        raise InvalidValue("nul", "The value contains a NUL character.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidValue("unicode", "The value contains a lone surrogate.") from None
    if looks_like_track_data(value):
        raise SensitiveAuthenticationData(
            "track_data", "The value looks like track data, which is never stored."
        )


def _card(check_digit: bool) -> Normalizer:
    """Card numbers: 12 to 19 ASCII digits (ISO/IEC 7812-1), with or without Luhn."""

    def normalize(value: str) -> str:
        # The hot path: digits alone need no screening, as none of what is screened
        # for is made of digits. ``isdigit`` by itself takes digits of other scripts.
        if not (value.isascii() and value.isdigit()):
            _screen(value)
            if _CARD.fullmatch(value) is None:
                raise InvalidValue(
                    "digits",
                    "A card number is ASCII digits, with single spaces or dashes between groups.",
                )
            value = value.translate(_CARD_SEPARATORS)
        if not 12 <= len(value) <= 19:
            raise InvalidValue("length", "A card number has 12 to 19 digits.")
        if check_digit and not luhn_valid(value):
            raise InvalidValue("luhn", "The card number's check digit is wrong.")
        if value[0] == "0" and not value.strip("0"):
            raise InvalidValue("zeros", "A card number is not all zeros.")
        return value

    return normalize


def _text(max_length: int) -> Normalizer:
    """Text that is kept byte for byte, mangled encodings included."""

    def normalize(value: str) -> str:
        _screen(value, max_length)
        if value.isspace():
            raise InvalidValue("empty", "The value is blank.")
        return value

    return normalize


def _email() -> Normalizer:
    """Addresses of RFC 5321/5322 as email-validator reads them, lower-cased whole."""
    from email_validator import EmailNotValidError, validate_email

    # Domains that the library has taken, and gives back, as they stand. It spends 20 µs
    # an address, nearly all on the domain, and customers share a few of those.
    known: set[str] = set()

    def normalize(value: str) -> str:
        _screen(value)
        local, _, domain = value.rpartition("@")
        if (
            domain in known
            and len(local) <= _LONGEST_LOCAL_PART
            and len(value) <= _LONGEST_EMAIL
            and _PLAIN_LOCAL_PART.fullmatch(local) is not None
        ):
            return value.lower()
        try:
            # The test environment admits .test only; .invalid, where our own tokens
            # live, stays refused. No name is looked up.
            parts = validate_email(
                value, check_deliverability=False, test_environment=True, strict=True
            )
        except EmailNotValidError:
            # The library's own message quotes the address.
            raise InvalidValue("email", "The value is not an e-mail address.") from None
        if parts.domain == domain and domain.isascii() and len(known) < _KNOWN_DOMAINS:
            known.add(domain)
        # Lower case may decompose what was composed.
        return unicodedata.normalize("NFC", parts.normalized.lower())

    return normalize


def _phone() -> Normalizer:
    """International numbers, to E.164 (ITU-T E.164)."""
    import phonenumbers

    possible = phonenumbers.ValidationResult.IS_POSSIBLE
    e164 = phonenumbers.PhoneNumberFormat.E164

    def normalize(value: str) -> str:
        _screen(value)
        if _PHONE.fullmatch(value) is None:
            raise InvalidValue("phone", "A phone number starts with + and its country code.")
        try:
            number = phonenumbers.parse(value, None)
        except phonenumbers.NumberParseException:
            raise InvalidValue("phone", "The value is not a phone number.") from None
        # Lengths and country codes hold for decades; which blocks are assigned changes
        # every month, and a vault must not lose a real number to an old table.
        if phonenumbers.is_possible_number_with_reason(number) != possible:
            raise InvalidValue("phone", "The country has no phone numbers of this length.")
        return str(phonenumbers.format_number(number, e164))

    return normalize


def _iban() -> Normalizer:
    """Account numbers of ISO 13616: country's structure and mod-97, compact upper case."""
    from stdnum import iban
    from stdnum.exceptions import ValidationError

    def normalize(value: str) -> str:
        _screen(value)
        if _IBAN.fullmatch(value) is None:
            raise InvalidValue("iban", "An IBAN is letters and digits, with single spaces.")
        try:
            return iban.validate(value)
        except ValidationError:
            raise InvalidValue("iban", "The IBAN's structure or check digits are wrong.") from None

    return normalize


def _us_ssn() -> Normalizer:
    """US social security numbers, to nine digits without dashes."""
    from stdnum.exceptions import ValidationError
    from stdnum.us import ssn

    def normalize(value: str) -> str:
        _screen(value)
        if _SSN.fullmatch(value) is None:
            raise InvalidValue("us_ssn", "A US SSN is nine digits, or 3-2-4 digits with dashes.")
        try:
            return ssn.validate(value)
        except ValidationError:
            raise InvalidValue("us_ssn", "No such US SSN is issued.") from None

    return normalize


def _date(today: Callable[[], date]) -> Normalizer:
    """Dates of birth, ISO 8601 YYYY-MM-DD."""

    def normalize(value: str) -> str:
        _screen(value)
        if _DATE.fullmatch(value) is None:
            raise InvalidValue("date", "A date is written YYYY-MM-DD.")
        try:
            parsed = date.fromisoformat(value)
        except ValueError:
            raise InvalidValue("date", "The calendar has no such date.") from None
        if not _EARLIEST_BIRTH <= parsed <= today():
            raise InvalidValue("date", "The date is before 1850 or in the future.")
        return value

    return normalize


def _ip() -> Normalizer:
    """IPv4 and IPv6 addresses, compressed (RFC 5952)."""

    def normalize(value: str) -> str:
        _screen(value)
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            raise InvalidValue("ip", "The value is not an IPv4 or IPv6 address.") from None
        if isinstance(address, ipaddress.IPv6Address):
            if address.scope_id is not None:
                raise InvalidValue("ip", "An address with a zone means nothing elsewhere.")
            # Python versions spell mapped addresses differently, and it is the IPv4
            # address that is meant.
            if address.ipv4_mapped is not None:
                return address.ipv4_mapped.compressed
        return address.compressed

    return normalize


def _national_id() -> Normalizer:
    """Identity numbers of any country: 6 to 32 ASCII letters and digits, upper case."""

    def normalize(value: str) -> str:
        _screen(value)
        if _NATIONAL_ID.fullmatch(value) is None:
            raise InvalidValue(
                "national_id",
                "A national id is letters and digits, with single - . / or spaces.",
            )
        if not 6 <= len(value := value.translate(_NATIONAL_ID_SEPARATORS)) <= 32:
            raise InvalidValue("length", "A national id has 6 to 32 letters and digits.")
        return value.upper()

    return normalize


_MAKERS: Final[dict[str, Callable[[], Normalizer]]] = {
    "luhn": lambda: _card(check_digit=True),
    "card_shape": lambda: _card(check_digit=False),
    "name": lambda: _text(MAX_LENGTH),
    "address": lambda: _text(MAX_LENGTH),
    "text": lambda: _text(MAX_TEXT_LENGTH),
    "email": _email,
    "phone": _phone,
    "iban": _iban,
    "us_ssn": _us_ssn,
    "ip": _ip,
    "national_id": _national_id,
}

RULES: Final = frozenset(_MAKERS) | {"date"}
"""The validation rules that a catalog may name."""
