"""Validation and normalization: what is taken, in which form, and what is refused."""

from collections.abc import Callable
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mimesis import Address, Finance, Internet, Person
from mimesis.locales import Locale

from vault_service.domain.errors import (
    ConfigurationError,
    InvalidValue,
    SensitiveAuthenticationData,
)
from vault_service.domain.validation import (
    MAX_LENGTH,
    MAX_TEXT_LENGTH,
    RULES,
    Normalizer,
    normalizer,
)


def _today() -> date:
    return date(2026, 3, 1)


NORMALIZERS: dict[str, Normalizer] = {rule: normalizer(rule, _today) for rule in sorted(RULES)}
TEXT_RULES = {"name", "address", "text"}

TEST_CARDS = [
    "4111111111111111",
    "4242424242424242",
    "5555555555554444",
    "2223003122003222",
    "378282246310005",
    "36227206271667",
    "6011111111111117",
    "3566002020360505",
    "6304000000000000",
    "4222222222222",
    "630495060000000000",
    "6304900017740292441",
]

CANONICAL = [
    ("luhn", "4111 1111 1111 1111", "4111111111111111"),
    ("luhn", "3782-822463-10005", "378282246310005"),
    ("luhn", "4 1 1 1-1 1 1 1 1 1 1 1 1 1 1 1", "4111111111111111"),
    ("card_shape", "3333 2664 6953 10", "33332664695310"),
    ("card_shape", "123456789012", "123456789012"),
    ("card_shape", "1234567890123456789", "1234567890123456789"),
    ("name", "SÃ¡nchez", "SÃ¡nchez"),
    ("name", " O’Neill ", " O’Neill "),
    ("name", "Jose\u0301", "Jose\u0301"),
    ("address", "1970 Napa Ct.\n98011 Bothell", "1970 Napa Ct.\n98011 Bothell"),
    ("text", "x" * MAX_TEXT_LENGTH, "x" * MAX_TEXT_LENGTH),
    ("text", "paid with 4111 1111 1111 1111", "paid with 4111 1111 1111 1111"),
    ("email", "Jane.Doe+x@Example.COM", "jane.doe+x@example.com"),
    ("email", "someone@shop.test", "someone@shop.test"),
    ("email", "JÖRG@Bücher.example.org", "jörg@bücher.example.org"),
    ("email", "\u03aa\u0301@example.com", "\u0390@example.com"),
    ("phone", "+49 (30) 123-456", "+4930123456"),
    ("phone", "+1 202-555-0123", "+12025550123"),
    ("phone", "+39 06 698 82857", "+390669882857"),
    ("iban", "de89 3704 0044 0532 0130 00", "DE89370400440532013000"),
    ("iban", "GB82-WEST-1234-5698-7654-32", "GB82WEST12345698765432"),
    ("us_ssn", "536-90-4399", "536904399"),
    ("us_ssn", "536904399", "536904399"),
    ("date", "2000-02-29", "2000-02-29"),
    ("date", "1850-01-01", "1850-01-01"),
    ("date", "2026-03-01", "2026-03-01"),
    ("ip", "203.0.113.7", "203.0.113.7"),
    ("ip", "2001:0DB8:0:0:0:0:0:1", "2001:db8::1"),
    ("ip", "::ffff:203.0.113.7", "203.0.113.7"),
    ("national_id", "12.345.678-z", "12345678Z"),
    ("national_id", "ab 12 34 56 c", "AB123456C"),
]

REFUSED = [
    ("luhn", "4111111111111112", "luhn"),
    ("luhn", "0000000000000000", "zeros"),
    ("card_shape", "000000000000", "zeros"),
    ("luhn", "00000000000", "length"),
    ("card_shape", "12345678901", "length"),
    ("card_shape", "12345678901234567890", "length"),
    ("luhn", "4111  1111 1111 1111", "digits"),
    ("luhn", " 4111111111111111", "digits"),
    ("luhn", "4111111111111111-", "digits"),
    ("luhn", "4111111111111111\n", "digits"),
    ("luhn", "٤١١١١١١١١١١١١١١١", "digits"),
    ("luhn", "４１１１１１１１１１１１１１１１", "digits"),
    ("luhn", "4111111111111111.0", "digits"),
    ("luhn", "²111111111111111", "digits"),
    ("name", "   ", "empty"),
    ("name", "x" * (MAX_LENGTH + 1), "length"),
    ("address", "x" * (MAX_LENGTH + 1), "length"),
    ("text", "x" * (MAX_TEXT_LENGTH + 1), "length"),
    ("email", "jane@example", "email"),
    ("email", "jane@@example.com", "email"),
    ("email", " jane@example.com", "email"),
    ("email", "jane@example.com\n", "email"),
    ("email", "Jane <jane@example.com>", "email"),
    ("email", "jane@[127.0.0.1]", "email"),
    ("email", "0123@tokens.invalid", "email"),
    ("phone", "030 123456", "phone"),
    ("phone", "+1 202 555 01", "phone"),
    ("phone", "+999 1234567", "phone"),
    ("phone", "+49 30 123456 ext. 5", "phone"),
    ("phone", "tel:+4930123456", "phone"),
    ("phone", "+٤٩30123456", "phone"),
    ("phone", "+4930123456 ", "phone"),
    ("iban", "DE88370400440532013000", "iban"),
    ("iban", "ZZ89370400440532013000", "iban"),
    ("iban", "DE89 3704 0044 0532 0130 0", "iban"),
    ("iban", "DE89  370400440532013000", "iban"),
    ("iban", "ＤＥ89370400440532013000", "iban"),
    ("us_ssn", "666-12-3456", "us_ssn"),
    ("us_ssn", "000123456", "us_ssn"),
    ("us_ssn", "5369-04-399", "us_ssn"),
    ("us_ssn", "536 90 4399", "us_ssn"),
    ("us_ssn", "900-12-3456", "us_ssn"),
    ("date", "2001-02-29", "date"),
    ("date", "2026-03-02", "date"),
    ("date", "1849-12-31", "date"),
    ("date", "20000101", "date"),
    ("date", "2000-W01-1", "date"),
    ("date", "٢٠٠٠-01-01", "date"),
    ("ip", "203.0.113.07", "ip"),
    ("ip", "203.0.113.7/32", "ip"),
    ("ip", "fe80::1%eth0", "ip"),
    ("ip", "1", "ip"),
    ("national_id", "12-34", "length"),
    ("national_id", "1" * 33, "length"),
    ("national_id", "12--3456", "national_id"),
    ("national_id", "ÄB123456", "national_id"),
    ("national_id", "-123456", "national_id"),
]

TRACKS = [
    "%B4111111111111111^DOE/JANE^25121010000000000000?",
    ";4111111111111111=25121010000000000?",
    "4111111111111111=25121010000000000",
    "4111111111111111D25121010000000000F",
]


@pytest.mark.parametrize(("rule", "raw", "canonical"), CANONICAL)
def test_a_value_is_brought_into_its_canonical_form(rule: str, raw: str, canonical: str) -> None:
    assert NORMALIZERS[rule](raw) == canonical


@pytest.mark.parametrize(("rule", "raw", "canonical"), CANONICAL)
def test_a_canonical_form_stays_as_it_is(rule: str, raw: str, canonical: str) -> None:
    assert NORMALIZERS[rule](canonical) == canonical


@pytest.mark.parametrize("card", TEST_CARDS)
def test_published_test_cards_are_valid(card: str) -> None:
    assert NORMALIZERS["luhn"](card) == card


@pytest.mark.parametrize(("rule", "raw", "broken"), REFUSED)
def test_a_bad_value_is_refused_with_the_rule_it_broke(rule: str, raw: str, broken: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        NORMALIZERS[rule](raw)
    assert refusal.value.rule == broken
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (lambda value: "", "empty"),
        (lambda value: value + "\0", "nul"),
        (lambda value: "\0" + value, "nul"),
        (lambda value: value + "\ud800", "unicode"),
        (lambda value: value * 70_000, "length"),
    ],
)
def test_every_rule_refuses_what_no_value_may_hold(
    rule: str, change: Callable[[str], str], broken: str
) -> None:
    good = [canonical for name, _, canonical in CANONICAL if name == rule][-1]
    with pytest.raises(InvalidValue) as refusal:
        NORMALIZERS[rule](change(good))
    assert refusal.value.rule == broken


# PCI-DSS 3.3.1.1
@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("track", TRACKS)
def test_every_rule_refuses_track_data(rule: str, track: str) -> None:
    with pytest.raises(SensitiveAuthenticationData):
        NORMALIZERS[rule](track)


@given(st.sampled_from(sorted(RULES)), st.text(max_size=40))
def test_a_refusal_says_nothing_about_the_value(rule: str, rest: str) -> None:
    canary = "qX7~canary~" + rest
    try:
        NORMALIZERS[rule](canary)
    except (InvalidValue, SensitiveAuthenticationData) as refusal:
        said = repr(refusal) + str(refusal) + refusal.detail + refusal.rule
        assert "canary" not in said
    else:
        assert rule in TEXT_RULES


@given(
    st.text(min_size=1, max_size=200).filter(lambda text: "\0" not in text and not text.isspace())
)
def test_text_is_kept_byte_for_byte(text: str) -> None:
    for rule in TEXT_RULES:
        assert NORMALIZERS[rule](text) == text


@given(st.sampled_from(sorted(RULES)), st.text(max_size=60))
def test_normalizing_twice_changes_nothing(rule: str, raw: str) -> None:
    normalize = NORMALIZERS[rule]
    try:
        once = normalize(raw)
    except (InvalidValue, SensitiveAuthenticationData):
        return
    assert normalize(once) == once


@given(
    st.sampled_from(["luhn", "card_shape"]),
    st.sampled_from(TEST_CARDS),
    st.lists(st.sampled_from(["", " ", "-"]), min_size=18, max_size=18),
)
def test_separators_between_digits_do_not_matter(rule: str, card: str, gaps: list[str]) -> None:
    spaced = card[0] + "".join(gap + digit for gap, digit in zip(gaps, card[1:], strict=False))
    assert NORMALIZERS[rule](spaced) == card


@pytest.mark.parametrize(
    "locale", [Locale.EN, Locale.DE, Locale.JA, Locale.RU, Locale.EL, Locale.TR]
)
def test_synthetic_customers_are_taken(locale: Locale) -> None:
    person, address = Person(locale, seed=7), Address(locale, seed=7)
    internet, finance = Internet(seed=7), Finance(locale, seed=7)
    for _ in range(40):
        name = person.full_name()
        assert NORMALIZERS["name"](name) == name
        assert NORMALIZERS["email"](person.email(domains=["example.com"])).endswith("@example.com")
        assert NORMALIZERS["address"](address.address())
        assert NORMALIZERS["date"](person.birthdate(1900, 2020).isoformat())
        assert NORMALIZERS["ip"](internet.ip_v6())
        assert NORMALIZERS["ip"](internet.ip_v4())
        assert NORMALIZERS["text"](f"{name} {finance.company()}")


def test_an_unknown_rule_is_a_configuration_error_that_lists_the_rules() -> None:
    with pytest.raises(ConfigurationError, match="card_shape, date, email"):
        normalizer("luhnn")


def test_a_date_far_ahead_is_in_the_future_by_the_real_clock() -> None:
    with pytest.raises(InvalidValue):
        normalizer("date")("9999-01-01")
