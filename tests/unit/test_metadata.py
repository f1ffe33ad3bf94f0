"""What may be kept in clear, and what a database may be asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain.catalog import TokenFormat
from vault_service.domain.detection import looks_like_card_number
from vault_service.domain.metadata import fit_to_ask
from vault_service.domain.tokens import new_opaque, new_tokens

CARD = "4111111111111111"
# Few letters, many digits and every sign that groups digits: what comes near a card.
NEAR_CARDS = st.text(alphabet="0123456789411155ab_-. \n%", max_size=40)


def test_fresh_tokens_of_every_format_may_be_asked_for() -> None:
    tokens = new_opaque("pan", 2000)
    assert fit_to_ask(tokens) == tokens
    for shape in TokenFormat:
        fresh = new_tokens("pan", shape, [CARD] * 50)
        assert fit_to_ask(fresh) == fresh


@given(st.lists(NEAR_CARDS, max_size=6))
def test_nothing_that_looks_like_a_card_number_is_asked_for(texts: list[str]) -> None:
    asked = fit_to_ask(texts)
    assert not any(looks_like_card_number(text) for text in asked)
    assert asked == [text for text in texts if not looks_like_card_number(text)]


@pytest.mark.parametrize(
    "text",
    [
        CARD,
        f"tok_{CARD}",
        "tok_4111_1111_1111_1111",
        f"tok_pan_{CARD}abcdefghjkm",
        "tok 4111 1111 1111 1111",
    ],
)
def test_one_card_number_among_tokens_is_left_out(text: str) -> None:
    tokens = new_opaque("pan", 3)
    assert looks_like_card_number(text)
    assert fit_to_ask([*tokens[:2], text, tokens[2]]) == tokens


@pytest.mark.parametrize("text", ["a" * 129, "tok_\0", "\0"])
def test_what_no_token_can_be_is_left_out(text: str) -> None:
    assert fit_to_ask(["tok_x", text]) == ["tok_x"]
    assert fit_to_ask([]) == []
