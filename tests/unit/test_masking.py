"""Masks and forms: what may be shown of a value, and that it is never all of it."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain.catalog import DataClass, TokenFormat
from vault_service.domain.errors import Code, ConfigurationError, VaultError
from vault_service.domain.masking import (
    FORMS,
    MASKS,
    default_mask,
    form_fits,
    masker,
    reveal_form,
)
from vault_service.domain.validation import RULES

MASKED = [
    ("card", "4111111111111111", "411111******1111"),
    ("card", "6304900017740292441", "630490*********2441"),
    ("card", "378282246310005", "37828******0005"),
    ("card", "33332664695310", "3333******5310"),
    ("card", "4222222222222", "422******2222"),
    ("card", "123456789012", "12******9012"),
    ("card", "1234567890", "******7890"),
    ("card", "123456789", "********"),
    ("name", "Jane Doe", "J***"),
    ("name", "李小龍", "李***"),
    ("name", "Ã¡nchez", "Ã***"),
    ("name", "J", "***"),
    ("name", "4111", "***"),
    ("name", " Jane", "***"),
    ("email", "jane@example.com", "j***@example.com"),
    ("email", "j@example.com", "***@example.com"),
    ("email", '"a@b"@example.com', '"***@example.com'),
    ("email", "@example.com", "********"),
    ("email", "jane", "********"),
    ("email", "jane@", "********"),
    ("phone", "+4930123456", "+49*****456"),
    ("phone", "+12025550123", "+1*****123"),
    ("phone", "+3585012345", "+358*****345"),
    ("phone", "+290123456", "+290*****"),
    ("phone", "+290123", "********"),
    ("phone", "+999123456", "********"),
    ("phone", "030123456", "********"),
    ("iban", "DE89370400440532013000", "DE******3000"),
    ("iban", "NO9386011117947", "NO******7947"),
    ("iban", "NO938601111794", "********"),
    ("ssn", "536904399", "***-**-4399"),
    ("ssn", "4399", "********"),
    ("date", "1990-02-28", "****-**-**"),
    ("ip", "203.0.113.7", "203.*.*.*"),
    ("ip", "2001:db8::1", "2001:*"),
    ("ip", "::1", "*:*"),
    ("ip", "2001::", "*:*"),
    ("ip", "7", "********"),
    ("ip", "7.", "********"),
    ("id", "12345678Z", "******8Z"),
    ("id", "12345", "********"),
    ("text", "a", "********"),
    ("text", "a" * 5000, "********"),
]

ALL_FORMS = tuple(FORMS)


def _class(rule: str, mask: str, forms: tuple[str, ...] = ALL_FORMS) -> DataClass:
    return DataClass(
        name="sample",
        tags=frozenset({"pii"}),
        validation=rule,
        deterministic=True,
        token_format=TokenFormat.OPAQUE,
        forms=forms,
        mask=mask,
    )


@pytest.mark.parametrize(("mask", "value", "masked"), MASKED)
def test_a_mask_shows_this_much(mask: str, value: str, masked: str) -> None:
    assert masker(mask)(value) == masked


# PCI-DSS 3.4.1
@given(st.text(alphabet=string.digits, min_size=12, max_size=19))
def test_a_masked_card_shows_at_most_six_and_four_and_hides_six(card: str) -> None:
    masked = masker("card")(card)
    shown_before, stars, shown_after = masked.partition("*" * masked.count("*"))
    assert len(masked) == len(card)
    assert len(stars) >= 6
    assert len(shown_before) <= 6
    assert len(shown_after) == 4
    assert card.startswith(shown_before)
    assert card.endswith(shown_after)


_VALUES = st.one_of(
    st.text(alphabet="A9é", min_size=1, max_size=30),
    st.from_regex(r"\+[1-9][0-9]{1,14}", fullmatch=True),
    st.from_regex(r"[a-z0-9]{1,9}@[a-z0-9]{1,9}\.com", fullmatch=True),
    st.ip_addresses().map(str),
)


@given(st.sampled_from(sorted(MASKS)), _VALUES)
def test_no_mask_shows_a_whole_value(mask: str, value: str) -> None:
    masked = masker(mask)(value)
    assert "*" in masked
    telling = sum(character.isalnum() for character in value)
    assert sum(character.isalnum() for character in masked) < max(telling, 1)


@given(st.sampled_from(sorted(MASKS)), st.text(alphabet="AB", min_size=1, max_size=12))
def test_no_mask_shows_a_whole_short_value(mask: str, value: str) -> None:
    assert value not in masker(mask)(value)


@given(
    st.sampled_from(["name", "phone", "iban", "ssn", "date", "id", "text"]),
    st.text(alphabet=string.digits, min_size=16, max_size=40),
)
def test_only_card_masks_tell_the_length(mask: str, value: str) -> None:
    other = value[:8] + value[8:-4] * 2 + value[-4:]
    assert len(masker(mask)(value)) == len(masker(mask)(other))


@given(st.sampled_from(sorted(MASKS)), st.text(alphabet=string.digits, min_size=12, max_size=19))
def test_no_mask_shows_more_of_a_card_than_the_card_mask_may(mask: str, card: str) -> None:
    """A catalog that gives a card class the wrong mask still keeps within 3.4.1."""
    shown = sum(character.isdigit() for character in masker(mask)(card))
    assert shown <= min(10, len(card) - 6)


def test_an_unknown_mask_is_a_configuration_error_that_lists_the_masks() -> None:
    with pytest.raises(ConfigurationError, match="card, date, email"):
        masker("none")


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_validation_rule_has_a_default_mask(rule: str) -> None:
    assert default_mask(rule) in MASKS
    if rule not in {"text", "address"}:
        assert default_mask(rule) != "text"


@pytest.mark.parametrize(
    ("rule", "form", "value", "shown"),
    [
        ("luhn", "masked", "4111111111111111", "411111******1111"),
        ("luhn", "plain", "4111111111111111", "4111111111111111"),
        ("luhn", "last4", "4111111111111111", "1111"),
        ("card_shape", "bin", "33332664695310", "333326"),
        ("iban", "last4", "DE89370400440532013000", "3000"),
        ("us_ssn", "last4", "536904399", "4399"),
        ("email", "domain", "jane@example.com", "example.com"),
        ("email", "domain", '"a@b"@example.com', "example.com"),
        ("date", "year", "1990-02-28", "1990"),
    ],
)
def test_a_form_shows_this_much(rule: str, form: str, value: str, shown: str) -> None:
    assert reveal_form(_class(rule, default_mask(rule)), form)(value) == shown


@pytest.mark.parametrize("form", ["plain", "bin", "last4", "", "Masked", "plain ", "bin8"])
def test_an_undeclared_form_is_refused_without_repeating_it(form: str) -> None:
    with pytest.raises(VaultError) as refusal:
        reveal_form(_class("luhn", "card", ("masked",)), form)
    assert refusal.value.code is Code.INVALID_REQUEST
    assert form == "" or form not in refusal.value.detail.split()


def test_masked_needs_no_declaration() -> None:
    assert reveal_form(_class("text", "text", ()), "masked")("note") == "********"


@pytest.mark.parametrize(
    ("form", "rule"),
    [("bin", "email"), ("last4", "name"), ("last4", "phone"), ("domain", "luhn"), ("year", "iban")],
)
def test_a_form_that_values_do_not_have_is_a_configuration_error(form: str, rule: str) -> None:
    assert not form_fits(form, rule)
    with pytest.raises(ConfigurationError):
        reveal_form(_class(rule, default_mask(rule)), form)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_masked_and_plain_fit_every_rule(rule: str) -> None:
    assert form_fits("masked", rule)
    assert form_fits("plain", rule)


@pytest.mark.parametrize("form", ["everything", "", "cvv"])
def test_an_unknown_form_fits_nothing(form: str) -> None:
    assert not any(form_fits(form, rule) for rule in RULES)
