"""E-mail addresses: one spelling each, and the library's verdict also on the short way."""

import unicodedata

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain.errors import InvalidValue
from vault_service.domain.validation import normalizer

_LOCAL = st.text(alphabet=st.characters(categories=("L", "N", "M")), min_size=1, max_size=12)


@given(_LOCAL)
def test_an_address_has_one_spelling(local: str) -> None:
    normalize = normalizer("email")
    try:
        once = normalize(f"{local}@example.com")
    except InvalidValue:
        return
    assert normalize(once) == once
    assert unicodedata.is_normalized("NFC", once)


@given(
    st.text(alphabet="aZ0._+-@ \u00e9", min_size=1, max_size=70),
    st.sampled_from(["example.com", "Example.com", "shop.test", "xn--bcher-kva.example.org"]),
)
def test_an_address_at_a_domain_seen_before_is_judged_as_by_the_library(
    local: str, domain: str
) -> None:
    normalize = normalizer("email")
    normalize(f"first@{domain}")
    address = f"{local}@{domain}"
    try:
        expected = validate_email(
            address, check_deliverability=False, test_environment=True, strict=True
        )
    except EmailNotValidError:
        with pytest.raises(InvalidValue):
            normalize(address)
    else:
        assert normalize(address) == expected.normalized.lower()


@pytest.mark.parametrize(("local", "label"), [(64, 20), (65, 20), (58, 63), (59, 63)])
def test_length_limits_hold_at_a_domain_seen_before(local: int, label: int) -> None:
    domain = ".".join(["d" * label] * 3) + ".com"
    normalize = normalizer("email")
    normalize(f"a@{domain}")
    address = "a" * local + f"@{domain}"
    if local <= 64 and len(address) <= 254:
        assert normalize(address) == address
    else:
        with pytest.raises(InvalidValue):
            normalize(address)
