"""Columns: what their names and the whole of their values say; names fit to be shown."""

import re
from random import Random

import pytest

from vault_service.domain.catalog import TokenFormat
from vault_service.domain.detection import Confidence, Kind
from vault_service.domain.detection_columns import ColumnScan, name_hints, shown
from vault_service.domain.luhn import luhn_valid
from vault_service.domain.tokens import new_tokens


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("cardnumber", {Kind.PAN}),
        ("CardNumber", {Kind.PAN}),
        ("card_no", {Kind.PAN}),
        ("PAN", {Kind.PAN}),
        ("cc_num", {Kind.PAN}),
        ("customer credit card", {Kind.PAN}),
        ("creditcardid", set()),
        ("cardtype", set()),
        ("japan", set()),
        ("company", set()),
        ("phone_number", {Kind.PHONE}),
        ("MobilePhone", {Kind.PHONE}),
        ("phone_type", set()),
        ("cancelled", set()),
        ("ssn", {Kind.US_SSN}),
        ("Social Security Number", {Kind.US_SSN}),
        ("classname", set()),
        ("", set()),
    ],
)
def test_names_that_hint(name: str, kinds: set[Kind]) -> None:
    assert name_hints(name) == kinds


Summary = list[tuple[Kind, Confidence, int, tuple[int, ...]]]


def _column(name: str, values: list[str], minimum: Confidence = Confidence.MEDIUM) -> Summary:
    scan = ColumnScan(name)
    for line, value in enumerate(values, start=2):
        scan.add(value, [line])
    return [(f.kind, f.confidence, f.count, f.lines) for f in scan.findings(minimum)]


def test_a_column_called_card_number_counts_without_check_digits() -> None:
    values = ["33332664695310", "5555 2127 2497 22", "1111", "", "77771220960729.0"]
    assert _column("cardnumber", values) == [(Kind.PAN, Confidence.MEDIUM, 3, (2, 3, 6))]
    assert _column("reading", values) == []


def test_a_column_of_issuer_ranges_counts_without_check_digits_or_name() -> None:
    random = Random(3)
    values = [f"5{random.randint(1, 5)}{random.randrange(10**14):014d}" for _ in range(100)]
    [(kind, confidence, count, lines)] = _column("reading", values)
    assert (kind, count, lines) == (Kind.PAN, 100, (2, 3, 4, 5, 6))
    assert confidence is Confidence.HIGH  # a tenth of them has the check digit as well


def test_ids_that_pass_luhn_by_chance_are_of_low_confidence() -> None:
    random = Random(5)
    values = [f"6{random.randrange(10**17):017d}" for _ in range(400)]
    assert 10 < sum(map(luhn_valid, values)) < 100
    assert _column("order", values) == []
    [(kind, confidence, _, _)] = _column("order", values, Confidence.LOW)
    assert (kind, confidence) == (Kind.PAN, Confidence.LOW)


def test_a_token_column_called_card_number_is_clean() -> None:
    random = Random(9).randbytes
    for token_format in (TokenFormat.OPAQUE, TokenFormat.DIGITS, TokenFormat.UUID):
        tokens = new_tokens("pan", token_format, ["4111111111111111"] * 500, random)
        assert _column("cardnumber", tokens, Confidence.LOW) == []


@pytest.mark.parametrize(
    "name", ["4111111111111111", "33332664695310", "a@example.com", "x\x1b[1m"]
)
def test_a_shown_name_holds_no_value_and_no_control_character(name: str) -> None:
    assert shown(name) != name
    assert shown(name).isprintable()
    assert re.search(r"\d{9}|example", shown(name)) is None


def test_an_ordinary_name_is_shown_as_it_is() -> None:
    assert shown("creditcard_2024-01-15.csv") == "creditcard_2024-01-15.csv"
