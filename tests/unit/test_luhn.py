"""The Luhn check digit gives the answers of the library whose place it takes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn

from vault_service.domain.luhn import all_luhn_valid, luhn_valid


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


@given(st.integers(1, 28), st.integers(0, 300), st.integers(0, 10**6), st.data())
def test_many_are_judged_as_each_is(
    length: int, count: int, seed: int, data: st.DataObject
) -> None:
    """Valid numbers, then one of them with its last digit changed, wherever it stands."""
    source = random.Random(seed)
    numbers = [_valid(source, length) for _ in range(count)]
    assert all_luhn_valid("".join(numbers).encode(), length)
    if numbers:
        place = data.draw(st.integers(0, count - 1))
        last = int(numbers[place][-1])
        numbers[place] = f"{numbers[place][:-1]}{(last + data.draw(st.integers(1, 9))) % 10}"
        assert not all_luhn_valid("".join(numbers).encode(), length)


def test_the_largest_sums_do_not_run_over() -> None:
    """28 nines add up to 252, the most a byte takes; its neighbours must not notice."""
    for low in ("0" * 28, "0" * 27 + "1"):
        numbers = [low, "9" * 28, low, "9" * 28]
        assert all_luhn_valid("".join(numbers).encode(), 28) is all(map(luhn.is_valid, numbers))


@pytest.mark.parametrize("length", [0, 3, 29])
def test_numbers_that_do_not_fit_the_length_are_an_error(length: int) -> None:
    with pytest.raises(ValueError, match="one length"):
        all_luhn_valid(b"4111111111111111", length)


def _valid(source: random.Random, length: int) -> str:
    payload = "".join(source.choices("0123456789", k=length - 1))
    return payload + next(digit for digit in "0123456789" if luhn.is_valid(payload + digit))
