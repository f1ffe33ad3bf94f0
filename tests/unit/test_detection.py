"""Detection: what is found in text, what is not, and that no text can make it slow."""

import sys
import uuid
from collections.abc import Callable
from functools import partial
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain.catalog import TokenFormat
from vault_service.domain.detection import Confidence, Finding, Kind, find, looks_like_card_number
from vault_service.domain.detection_columns import shown
from vault_service.domain.detection_text import fold
from vault_service.domain.luhn import luhn_valid
from vault_service.domain.tokens import new_tokens

# Test numbers that the networks and payment providers publish, by network.
TEST_CARDS = {
    "visa": "4111111111111111 4012888888881881 4222222222222 4917610000000000003",
    "mastercard": "5555555555554444 5105105105105100 2223003122003222 2720990000000007",
    "american express": "378282246310005 371449635398431",
    "discover": "6011111111111117 6011000990139424 6445644564456445",
    "diners": "30569309025904 38520000023237 36227206271667 3056930009020004",
    "jcb": "3530111333300000 3566002020360505",
    "unionpay": "6200000000000005 6205500000000000004 8171999927660000",
    "maestro": "6759649826438453 6799990100000000019 630495060000000000 501800000009",
    "mir": "2200770212727079 2201382000000013",
    "rupay, elo, hipercard": "6500000000000002 6362970000457013 6062826786276634",
    "verve": "5060990580000217499 5061460410120223210 5060666666666666666",
    "troy": "9792030394440796",
    "dankort, laser, solo, switch": "5019717010103742 6304985028090561515 6331101999990016",
}
CARDS = [card for cards in TEST_CARDS.values() for card in cards.split()]
TOKEN_CLASSES = ("pan", "pan_unverified", "email", "iban")


def _grouped(card: str, separator: str) -> str:
    """As printed on the card: 4-6-5 for 15 digits, 4-6-4 for 14, else fours."""
    if len(card) in (14, 15):
        groups = [card[:4], card[4:10], card[10:]]
    elif len(card) == 13:
        groups = [card[:4], card[4:8], card[8:]]
    else:
        groups = [card[i : i + 4] for i in range(0, len(card), 4)]
    return separator.join(groups)


def _other_digits(card: str, zero: str) -> str:
    return "".join(chr(ord(zero) + int(digit)) for digit in card)


FORMATS: dict[str, Callable[[str], str]] = {
    "plain": lambda card: card,
    "float": lambda card: f"{card}.0",
    "decimal": lambda card: f"{card}.00",
    "full width": lambda card: _other_digits(card, "\uff10"),
    "arabic-indic": lambda card: _other_digits(card, "\u0660"),
    "full width, grouped": lambda card: _grouped(_other_digits(card, "\uff10"), "\u3000"),
    "spaced out": " ".join,
    "percent-encoded": lambda card: _grouped(card, "%20"),
    "percent-encoded digits": lambda card: "".join(f"%3{digit}" for digit in card),
    **{
        f"grouped by {separator!r}": partial(_grouped, separator=separator)
        for separator in (" ", "-", ".", "_", "/", " - ", "\u00a0", "\u2011", "\u2013", "\u200b")
    },
}

# Letters, signs and white space; nothing that is a digit in any script, and no plus sign,
# which makes a phone number of twelve digits.
no_digits = st.text(
    st.characters(exclude_categories=["Nd", "Nl", "No"], exclude_characters="+%."), max_size=12
)


def _kinds(text: str) -> list[Kind]:
    return [finding.kind for finding in find(text)]


def test_the_published_cards_are_what_they_claim() -> None:
    assert all(luhn_valid(card) for card in CARDS)


@pytest.mark.parametrize("form", FORMATS)
@given(card=st.sampled_from(CARDS), before=no_digits, after=no_digits)
def test_a_card_number_is_found_in_any_writing_inside_any_text(
    form: str, card: str, before: str, after: str
) -> None:
    written = FORMATS[form](card)
    text = f"{before} {written} {after}" if form == "spaced out" else before + written + after
    pans = [finding for finding in find(text) if finding.kind is Kind.PAN]

    assert len(pans) == 1
    assert looks_like_card_number(text)  # PCI-DSS 3.5.1: refused wherever it is kept in clear
    # The span covers all its digits, in the text as it was given.
    start = text.index(written)
    assert pans[0].start == start
    assert pans[0].end >= start + len(written) - len(".00")
    assert pans[0].confidence.rank >= Confidence.MEDIUM.rank


@pytest.mark.parametrize(
    "card", [card for card in CARDS if len(card) >= 14 and len(card.rstrip("0")) >= 10]
)
def test_a_card_number_is_found_in_scientific_notation(card: str) -> None:
    mantissa = f"{card[0]}.{card[1:]}".rstrip("0")
    for exponent in (f"E{len(card) - 1}", f"e+{len(card) - 1}"):
        assert _kinds(f"value {mantissa}{exponent};") == [Kind.PAN]


def test_a_float_of_a_major_network_is_found_without_its_check_digit() -> None:
    assert not luhn_valid("4344676511950444")
    assert _kinds("4344676511950444.0") == [Kind.PAN]
    assert _kinds("4344676511950444") == []


def test_an_amount_is_no_card_number_unless_it_is_too_large_for_one() -> None:
    assert luhn_valid("4222222222222")
    assert _kinds("4222222222222.50") == []
    assert [f.confidence for f in find("4111111111111111.25")] == [Confidence.MEDIUM]
    assert [f.confidence for f in find("4111111111111111.00")] == [Confidence.HIGH]


def test_every_decimal_digit_of_unicode_is_read() -> None:
    digits = [chr(p) for p in range(sys.maxunicode + 1) if chr(p).isdecimal()]
    assert "".join(map(fold, digits)) == "".join(str(int(digit)) for digit in digits)


@given(card=st.sampled_from(CARDS), digit=st.sampled_from("0123456789"))
def test_part_of_a_longer_run_of_digits_is_no_card_number(card: str, digit: str) -> None:
    padding = digit * (20 - len(card))
    assert Kind.PAN not in _kinds(card + padding)
    assert Kind.PAN not in _kinds(padding + card)


@given(card=st.sampled_from(CARDS), position=st.integers(0, 18), by=st.integers(1, 9))
def test_one_wrong_digit_is_no_card_number(card: str, position: int, by: int) -> None:
    at = position % len(card)
    wrong = card[:at] + str((int(card[at]) + by) % 10) + card[at + 1 :]
    assert Kind.PAN not in _kinds(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "row-123",
        "cus_42",
        "10-4020-000676",
        "2013-07-29 00:00:00",
        "2024-01-15T10:30:00.123456+0000",
        "20240115103000",
        "1700000000000",
        "1700000000000000000",
        "92c4279f-1207-48a3-8448-4636514eb7e2",
        "50180000-0009-4111-8111-501800000009",
        "abcdef01-5018-0000-0009-abcdef012345",
        "E6100000010CAE8BFC28BCE4474067A89189898A5EC0",
        "da39a3ee5e6b4b0d4111111111111111da39a3ee",
        "0.4111111111111111",
        "-12.5555555555554444",
        "1971.5149",
        "411111******1111",
        "4111 1111-1111 1111",
        "1111222233334444",
        "+4222222222222",
        "105041Vi84182",
    ],
)
def test_what_only_resembles_a_card_number_is_none(text: str) -> None:
    assert Kind.PAN not in _kinds(text)
    assert not looks_like_card_number(text)


@given(
    st.sampled_from(TOKEN_CLASSES),
    st.sampled_from(list(TokenFormat)),
    st.sampled_from(CARDS),
    st.integers(0, 2**64),
)
def test_tokens_are_no_findings(
    data_class: str, token_format: TokenFormat, card: str, seed: int
) -> None:
    tokens = new_tokens(data_class, token_format, [card] * 20, Random(seed).randbytes)
    assert [kind for token in tokens for kind in _kinds(token)] == []


def test_digits_in_random_identifiers_are_no_findings() -> None:
    random = Random(7)
    texts = [str(uuid.UUID(int=random.getrandbits(128))) for _ in range(5_000)]
    texts += [random.randbytes(32).hex() for _ in range(5_000)]
    assert [text for text in texts if Kind.PAN in _kinds(text)] == []


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("to DE89 3704 0044 0532 0130 00, please", Kind.IBAN, "DE89 3704 0044 0532 0130 00"),
        ("GB82WEST12345698765432", Kind.IBAN, "GB82WEST12345698765432"),
        ("nl91abna0417164300;", Kind.IBAN, "nl91abna0417164300"),
        ("mail a.b+c@shop.example.com.", Kind.EMAIL, "a.b+c@shop.example.com"),
        ("<j\u00f6rg@m\u00fcller.de>", Kind.EMAIL, "j\u00f6rg@m\u00fcller.de"),
        ("to:x@y.zone,z", Kind.EMAIL, "x@y.zone"),
        ("call +49 1512 3456789 now", Kind.PHONE, "+49 1512 3456789"),
        ("+14155550100", Kind.PHONE, "+14155550100"),
        ("call (212) 555-0123 now", Kind.PHONE, "(212) 555-0123"),
        ("ssn 123-45-6789.", Kind.US_SSN, "123-45-6789"),
    ],
)
def test_personal_data_is_found_where_it_stands(text: str, kind: Kind, value: str) -> None:
    found = [f for f in find(text) if f.confidence is not Confidence.LOW]
    assert [(f.kind, text[f.start : f.end]) for f in found] == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "DE88 3704 0044 0532 0130 00",
        "XX89370400440532013000",
        "DE893704004405320130001",
        "logo@2x.png",
        "a@b",
        "@handle",
        "5@ 3.20",
        "+0 123 456 789",
        "212-555-0123",
        "000-12-3456",
        "666-12-3456",
        "900-12-3456",
        "123-00-4567",
        "123-45-0000",
        "078-05-1120",
        "9123-45-67890",
        "123456789",
    ],
)
def test_what_only_resembles_personal_data_is_none(text: str) -> None:
    assert [f for f in find(text) if f.confidence is not Confidence.LOW] == []


def test_an_iban_is_not_also_a_card_number() -> None:
    # A Georgian account number is 16 digits, here those of a card.
    assert _kinds("GE36TB4111111111111111") == [Kind.IBAN]
    assert not looks_like_card_number("GE36TB4111111111111111")
    assert looks_like_card_number("GE37TB4111111111111111")


def test_a_hint_makes_bare_forms_count() -> None:
    def hinted(text: str, kind: Kind) -> list[tuple[Kind, Confidence]]:
        return [(f.kind, f.confidence) for f in find(text, frozenset({kind}))]

    assert hinted("123456789", Kind.US_SSN) == [(Kind.US_SSN, Confidence.MEDIUM)]
    assert hinted("123-45-6789", Kind.US_SSN) == [(Kind.US_SSN, Confidence.HIGH)]
    assert hinted("030 1234567", Kind.PHONE) == [(Kind.PHONE, Confidence.MEDIUM)]
    assert hinted("212-555-0123", Kind.PHONE) == [(Kind.PHONE, Confidence.MEDIUM)]


@given(st.text(st.characters(), max_size=200) | st.text("0123456789 .-+@%eE4aD", max_size=200))
def test_no_text_makes_it_fail_and_spans_are_inside(text: str) -> None:
    findings = list(find(text, frozenset(Kind)))
    assert all(0 <= f.start < f.end <= len(text) for f in findings)
    assert looks_like_card_number(text) == (Kind.PAN in {f.kind for f in findings})
    shown(text)


def test_a_finding_does_not_hold_the_value() -> None:
    finding = next(find("4111111111111111"))
    assert finding == Finding(Kind.PAN, Confidence.HIGH, 0, 16)
    assert "4111" not in repr(finding)


@pytest.mark.parametrize(
    "unit",
    [
        "4", "4 ", "44 ", "4 - ", "4444 ", "44.", "4.1", "4111 1111 1111 1112 ", "%34", "%",
        "a@", "@", "a.", ".", "+", "+1", "+4915123456789 ", "DE89", "DE89 ", "123-45-", "-",
        "00000000-", "\u0661", "\uff14", "a", "e", "4e",
    ],
)  # fmt: skip
def test_hostile_text_is_looked_at_in_linear_time(unit: str) -> None:
    """A quadratic search would not come to its end: half a million characters."""
    text = unit * (2**19 // len(unit))
    looks_like_card_number(text)
    assert sum(1 for _ in find(text, frozenset({Kind.US_SSN}))) <= len(text)
