"""A batch of card numbers judged at once is judged as its numbers are one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.synthetic import cards
from vault_service.domain.card_batches import all_canonical
from vault_service.domain.errors import VaultError
from vault_service.domain.validation import normalizer

RULES = ("luhn", "card_shape")
CARDS = cards(40, seed=1)
ODD = (
    *("", "0" * 16, "4111111111111112", "4111 1111 1111 1111", "\u0664" * 16, "4" * 11, "4" * 20),
    *(
        "411111111111111\0",
        "=111111111111111",
        "4111111111111111\n",
        "\ud800" * 16,
        "378282246310005",
    ),
)


def _each(rule: str, values: list[str]) -> bool:
    try:
        return [normalizer(rule)(value) for value in values] == values
    except VaultError:
        return False


@pytest.mark.parametrize("rule", RULES)
def test_a_usual_batch_is_taken_at_once(rule: str) -> None:
    assert all_canonical(rule)(CARDS)
    assert _each(rule, CARDS)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("place", [0, 20, 39])
def test_one_odd_value_is_never_overlooked(rule: str, odd: str, place: int) -> None:
    values = [*CARDS[:place], odd, *CARDS[place + 1 :]]
    if all_canonical(rule)(values):
        assert _each(rule, values)


@given(
    st.sampled_from(RULES),
    st.lists(st.text(alphabet="0123456789 -=D\u0661", min_size=11, max_size=20), max_size=40),
    st.integers(0, 40),
)
def test_what_is_taken_at_once_would_be_taken_one_by_one(
    rule: str, odd: list[str], usual: int
) -> None:
    values = [*CARDS[:usual], *odd]
    if all_canonical(rule)(values):
        assert _each(rule, values)


def test_other_rules_look_at_each_value() -> None:
    assert not all_canonical("email")(["jane@example.com"] * 40)
