"""The Luhn check digit gives the answers of the library whose place it takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn

from vault_service.domain.luhn import luhn_valid


@given(st.text(alphabet="0123456789", max_size=24))
def test_luhn_agrees_with_the_library(digits: str) -> None:
    assert luhn_valid(digits) is luhn.is_valid(digits)


@given(st.text(alphabet="0123456789", min_size=11, max_size=18))
def test_luhn_takes_exactly_one_check_digit(payload: str) -> None:
    right = [digit for digit in "0123456789" if luhn_valid(payload + digit)]
    assert right == [luhn.calc_check_digit(payload)]


@pytest.mark.parametrize("digits", ["", "-", "4111 1111 1111 1111", "٤١١١١١١١١١١١١١١١", "\ud800"])
def test_luhn_takes_ascii_digits_alone(digits: str) -> None:
    assert luhn_valid(digits) is False
