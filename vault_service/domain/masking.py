"""How much of a value a reveal shows: masks, and the forms that a class may declare.

All work on canonical values (``domain/validation.py``). Asterisks stand for what is
hidden; where the number hidden would itself tell something, their count is fixed. A
value too short for its mask is hidden whole: no mask ever shows a complete value.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from vault_service.domain.catalog import DataClass
from vault_service.domain.errors import Code, ConfigurationError, VaultError

Form = Callable[[str], str]
"""Takes a canonical value and gives what may be shown of it."""

_HIDDEN: Final = "********"
_CARD_HIDDEN: Final = 6
_USUAL_CARD: Final = 16
_BIN_LENGTH: Final = 6
_LAST_FOUR: Final = 4
_PHONE_HIDDEN: Final = 4
_SHORTEST_IBAN: Final = 15
_SHORTEST_ID: Final = 6
_SSN: Final = re.compile(r"[0-9]{9}")
_IPV4: Final = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _card(value: str) -> str:
    """At most the first six and the last four digits (PCI-DSS 3.4.1), and never fewer
    than six hidden: what a number shorter than 16 lacks is taken from the front, as
    people tell cards by their last four. Six hidden digits leave 100,000 numbers that
    fit the Luhn digit."""
    length = len(value)
    if length == _USUAL_CARD:
        # Nearly all cards, and a batch masks one after another.
        return f"{value[:_BIN_LENGTH]}******{value[-_LAST_FOUR:]}"
    front = min(_BIN_LENGTH, length - _CARD_HIDDEN - _LAST_FOUR)
    if front < 0:
        return _HIDDEN
    return f"{value[:front]}{'*' * (length - front - _LAST_FOUR)}{value[-_LAST_FOUR:]}"


def _name(value: str) -> str:
    """The first letter, unless that is the whole name: ``J***``."""
    return f"{value[0]}***" if len(value) > 1 and value[0].isalpha() else "***"


def _email(value: str) -> str:
    """First character and domain: ``j***@example.com``."""
    local, _, domain = value.rpartition("@")
    if not local or not domain:
        return _HIDDEN
    return f"{local[0]}***@{domain}" if len(local) > 1 else f"***@{domain}"


def _phone() -> Form:
    """Country code and last three digits: ``+49*****123``; five stars always."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    # ITU-T E.164: country codes are one to three digits, none the start of another.
    codes = frozenset(str(code) for code in COUNTRY_CODE_TO_REGION_CODE)

    def mask(value: str) -> str:
        code = next((value[1:end] for end in (2, 3, 4) if value[1:end] in codes), "")
        hidden = len(value) - 1 - len(code)
        if not value.startswith("+") or not code or hidden < _PHONE_HIDDEN:
            return _HIDDEN
        return f"+{code}*****{value[-3:] if hidden - 3 >= _PHONE_HIDDEN else ''}"

    return mask


def _iban(value: str) -> str:
    """Country and last four characters: ``DE******3000``."""
    return f"{value[:2]}******{value[-4:]}" if len(value) >= _SHORTEST_IBAN else _HIDDEN


def _ssn(value: str) -> str:
    """The serial number: ``***-**-1234``."""
    return f"***-**-{value[-4:]}" if _SSN.fullmatch(value) else _HIDDEN


def _date(value: str) -> str:
    """Nothing: a year of birth is the form ``year`` alone."""
    return "****-**-**"


def _ip(value: str) -> str:
    """The first number of the address: ``203.*.*.*``, ``2001:*``."""
    if ":" in value:
        first, _, rest = value.partition(":")
        return f"{first}:*" if first and rest.strip(":") else "*:*"
    return f"{value.partition('.')[0]}.*.*.*" if _IPV4.fullmatch(value) else _HIDDEN


def _id(value: str) -> str:
    """The last two characters: ``******56``."""
    return f"******{value[-2:]}" if len(value) >= _SHORTEST_ID else _HIDDEN


def _text(value: str) -> str:
    """Nothing, not even the length."""
    return _HIDDEN


_MASKS: Final[Mapping[str, Callable[[], Form]]] = {
    "card": lambda: _card,
    "name": lambda: _name,
    "email": lambda: _email,
    "phone": _phone,
    "iban": lambda: _iban,
    "ssn": lambda: _ssn,
    "date": lambda: _date,
    "ip": lambda: _ip,
    "id": lambda: _id,
    "text": lambda: _text,
}

MASKS: Final = frozenset(_MASKS)
"""The mask rules that a catalog may name."""

_DEFAULT_MASKS: Final[Mapping[str, str]] = {
    "luhn": "card",
    "card_shape": "card",
    "name": "name",
    "email": "email",
    "phone": "phone",
    "iban": "iban",
    "us_ssn": "ssn",
    "date": "date",
    "ip": "ip",
    "national_id": "id",
}


def default_mask(rule: str) -> str:
    """The mask of a class that names none: its validation rule's, else ``text``."""
    return _DEFAULT_MASKS.get(rule, "text")


def masker(mask: str) -> Form:
    """The mask of that name, one of :data:`MASKS`.

    Raises :class:`ConfigurationError` for another. Ask once and keep the answer.
    """
    try:
        make = _MASKS[mask]
    except KeyError:
        raise ConfigurationError(
            "The catalog names an unknown mask; known are: " + ", ".join(sorted(MASKS))
        ) from None
    return make()


def _plain(value: str) -> str:
    return value


def _bin(value: str) -> str:
    # Six digits even for issuers with eight: with last4 beside it, eight would pass
    # the ten digits of PCI-DSS 3.4.1.
    return value[:_BIN_LENGTH]


def _last4(value: str) -> str:
    return value[-_LAST_FOUR:]


def _domain(value: str) -> str:
    return value.rpartition("@")[2]


def _year(value: str) -> str:
    return value[:4] if _DATE.fullmatch(value) else "****"


_CARD_RULES: Final = frozenset({"luhn", "card_shape"})
_PARTS: Final[Mapping[str, tuple[Form, frozenset[str]]]] = {
    "bin": (_bin, _CARD_RULES),
    "last4": (_last4, _CARD_RULES | {"iban", "us_ssn"}),
    "domain": (_domain, frozenset({"email"})),
    "year": (_year, frozenset({"date"})),
}

FORMS: Final = ("masked", "plain", *_PARTS)
"""The forms that a catalog may name."""


def form_fits(form: str, rule: str) -> bool:
    """Whether the form means something for values of this validation rule."""
    if form in ("masked", "plain"):
        return True
    return form in _PARTS and rule in _PARTS[form][1]


def reveal_form(data_class: DataClass, form: str) -> Form:
    """What shows a value of ``data_class`` in ``form``.

    Raises ``invalid_request`` where the class does not declare the form, and
    :class:`ConfigurationError` where it declares one that its values do not have.
    """
    if form not in data_class.forms and form != "masked":
        raise VaultError(
            Code.INVALID_REQUEST,
            "The data class does not declare this form; GET /v1/catalog lists its forms.",
        )
    if not form_fits(form, data_class.validation):
        raise ConfigurationError("The catalog declares a form that values of the class lack.")
    if form == "masked":
        return masker(data_class.mask)
    return _plain if form == "plain" else _PARTS[form][0]
