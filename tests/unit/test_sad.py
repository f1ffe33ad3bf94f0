"""Sensitive authentication data is recognized wherever it may arrive. PCI-DSS 3.3.1."""

import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain.luhn import luhn_valid
from vault_service.domain.sad import (
    is_sad_class_name,
    looks_like_track_data,
    sensitive_in_metadata,
)
from vault_service.domain.tokens import new_opaque

TRACKS = [
    "%B4242424242424242^DOE/JANE MRS^25121010000000000000?",
    "%B4242424242424242^DOE/JANE^^^25121010000000?",
    "%b3782 822463 10005^DOE/J^2512101?",
    "B4242424242424242^^2512101",
    "4242424242424242^DOE/JANE^2512",
    ";4242424242424242=25121010000000000?",
    ";4242424242424242=25121010000000000?;4242424242424242=2512",
    "4242424242424242=2512",
    "4242-4242-4242-4242=2512101",
    "4242424242424242==101123",
    "4242424242424242D25121010000000000F",
    "4242424242424242d2512101",
    "36227206271667D25121010000",
    "note: swiped ;4242424242424242=25121010000000000? at till 4",
    "；４２４２４２４２４２４２４２４２＝２５１２１０１００００？",
    "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢=٢٥١٢١٠١",
]

NOT_TRACKS = [
    "",
    "4242424242424242",
    "4242 4242 4242 4242 expires 12/25",
    "amount=25121010000000000",
    "a = 4242, b = 2512",
    "4242424242424243D25121010000",  # the check digit is wrong
    "4242424242424242D25131010000",  # there is no thirteenth month
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "4e424242424242424242D2512101ab",
    "Kjeld Andersen, 2512 Elm Street",
    "1234567890=2512",
    "2^10^3",
]

SAD_NAMES = [
    "cvv",
    "CVV2",
    "cvc",
    "cvc2",
    "cav2",
    "CID",
    "csc",
    "icvv",
    "cvn",
    "pin",
    "pins",
    "PIN_BLOCK",
    "pinBlock",
    "pin-block",
    "track",
    "Track_1",
    "track2",
    "track2Data",
    "full_track",
    "magstripe",
    "magnetic-stripe-data",
    "serviceCode",
    "card_security_code",
    "securityCode",
    "verification-value",
    "card-cvv",
    "Card.CVC2",
    "cardCvc",
    "billing.cvc",
    "billingCvc",
    "c.v.v",
    "cvv_encrypted",
    "customer_cvv2",
    "payment[cvv]",
    "ｃｖｖ",
    "SAD",
    "card_pin",
    "track_2_equivalent_data",
]

OTHER_NAMES = [
    "pan",
    "pan_unverified",
    "person_name",
    "email",
    "phone",
    "iban",
    "us_ssn",
    "date_of_birth",
    "postal_address",
    "ip_address",
    "national_id",
    "free_text",
    "region",
    "recvcount",
    "recv_date",
    "recv_value",
    "shipping",
    "tracking_number",
    "track_id",
    "customer_id",
    "spin",
    "acid",
    "caching",
    "team",
    "pinned",
    "cvs",
    "code",
]

CARRIERS = [
    "cvv=123",
    "cvv: 123",
    "CVV 123",
    "cvv2=1234",
    '{"cvv":"123"}',
    "card_cvv2=1234",
    "cardCvv=123",
    "customerCvv=123",
    "cvc-123",
    "cvc123",
    "CVC code is 123",
    "cav2=123",
    "security code: 123",
    "verification_value=123",
    "cid=1234",
    "csc: 123",
    "pin=1234",
    "pin: 1234",
    "PIN 123456",
    "card pin: 1234",
    "pin block 04AABBCCDDEEFF00",
    "pinblock=1234567890ABCDEF",
    "ｃｖｖ＝１２３",
    *TRACKS,
]

ORDINARY = [
    "",
    "row-123",
    "cus_42",
    "CB-1042",
    "CSC-1042",
    "CID-1042",
    "PIN-2031",
    "spin 1234",
    "discid: 123456",
    "recvcount=1234",
    "recvvalue=1234",
    "customer_id=123",
    "case id: 1234",
    "pinned 3 items",
    "medvac 1234",
    "cvv missing",
    "pin block added",
    "cvv=12345678",
    "tok_pan_012cvv1239abcdefghjkmnpqrst",
    "tok_pan_0123456789abcdefghjkmnpqrs",
    "7d93f6a0-1b2c-4d5e-8f90-aabbccddeeff",
    "arn:aws:iam::123456789012:role/chargeback",
    "2025-01-01T00:00:00Z",
]


@pytest.mark.parametrize("value", TRACKS)
def test_track_data_is_recognized(value: str) -> None:
    assert looks_like_track_data(value)


@pytest.mark.parametrize("value", NOT_TRACKS)
def test_other_text_is_no_track_data(value: str) -> None:
    assert not looks_like_track_data(value)


_PAYLOAD = st.text(alphabet="0123456789", min_size=11, max_size=18)


@given(_PAYLOAD, st.integers(0, 99), st.integers(1, 12), st.text(alphabet="0123456789", max_size=9))
def test_any_track_2_is_recognized(payload: str, year: int, month: int, rest: str) -> None:
    card = next(payload + d for d in "0123456789" if luhn_valid(payload + d))
    expiry = f"{year:02}{month:02}"
    assert looks_like_track_data(f"{card}={expiry}{rest}")
    assert looks_like_track_data(f"x;{card}={expiry}{rest}?x")
    assert looks_like_track_data(f"{card}D{expiry}101{rest}")


@given(_PAYLOAD, st.text(alphabet=st.characters(categories=["L"]), min_size=2, max_size=26))
def test_any_track_1_is_recognized(payload: str, holder: str) -> None:
    assert looks_like_track_data(f"%B{payload}0^{holder}^2512101?")


@given(st.text(alphabet="0123456789 -", max_size=60))
def test_digits_and_separators_alone_are_no_sad(text: str) -> None:
    assert not looks_like_track_data(text)
    assert not sensitive_in_metadata(text)


@pytest.mark.parametrize("name", SAD_NAMES)
def test_names_of_sad_are_recognized(name: str) -> None:
    assert is_sad_class_name(name)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_other_names_are_not_taken_for_sad(name: str) -> None:
    assert not is_sad_class_name(name)


def test_no_class_of_the_sample_catalog_is_named_after_sad() -> None:
    catalog = Path(__file__).parents[2] / "policies" / "catalog.yml"
    names = yaml.safe_load(catalog.read_text(encoding="utf-8"))["data_classes"]
    assert [name for name in names if is_sad_class_name(name)] == []


@pytest.mark.parametrize("text", CARRIERS)
def test_metadata_that_carries_sad_is_recognized(text: str) -> None:
    assert sensitive_in_metadata(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_metadata_is_not_taken_for_sad(text: str) -> None:
    assert not sensitive_in_metadata(text)


def test_our_own_tokens_are_not_taken_for_sad() -> None:
    tokens = new_opaque("pan", 200_000, random.Random(1).randbytes)
    assert [token for token in tokens if sensitive_in_metadata(token)] == []


@given(st.text(max_size=200))
def test_any_text_is_judged_without_an_error(text: str) -> None:
    looks_like_track_data(text)
    is_sad_class_name(text)
    sensitive_in_metadata(text)


@pytest.mark.parametrize(
    "unit", ["1", "1 ", "4242424242424242^", "cvv ", "cvv      ", "pin ", "D2512", "=", "security "]
)
def test_long_texts_are_read_in_one_pass(unit: str) -> None:
    """Each is built to make a careless pattern go back over the text from every place,
    which at this length would not end."""
    text = unit * (1_000_000 // len(unit))
    looks_like_track_data(text)
    sensitive_in_metadata(text)
