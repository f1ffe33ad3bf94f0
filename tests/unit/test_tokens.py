"""Tokens: their shape, what the check character catches, and that nothing shows through."""

import random
import re
import uuid
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain.catalog import TokenFormat
from vault_service.domain.tokens import (
    ALPHABET,
    BODY_LENGTH,
    MAX_TOKEN_LENGTH,
    TokenRecord,
    check_character,
    new_opaque,
    new_tokens,
    well_formed,
)
from vault_service.domain.validation import luhn_valid, normalizer

OPAQUE = re.compile(r"tok_pan_[0-9a-hjkmnp-tv-z]{27}")
CLASS_NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,39}", fullmatch=True)
BODIES = st.text(alphabet=ALPHABET, min_size=BODY_LENGTH, max_size=BODY_LENGTH)


def _seeded(seed: int = 1) -> "random.Random":
    return random.Random(seed)  # repeatable on purpose: what is tested is the encoding


def test_an_opaque_token_has_the_published_shape() -> None:
    for token in new_opaque("pan", 200):
        assert OPAQUE.fullmatch(token)
        assert well_formed(token)


@given(CLASS_NAMES, st.integers(0, 40))
def test_tokens_of_any_class_name_are_well_formed(data_class: str, count: int) -> None:
    tokens = new_opaque(data_class, count)
    assert len(set(tokens)) == count
    for token in tokens:
        assert token.startswith(f"tok_{data_class}_")
        assert len(token) <= MAX_TOKEN_LENGTH
        assert well_formed(token)


def test_the_encoding_of_known_random_bytes_is_fixed() -> None:
    """Known answer: stored tokens must stay well-formed in every later version."""
    assert new_opaque("pan", 2, lambda count: bytes(range(count))) == [
        "tok_pan_0123456789abcdefghjkmnpqrsd",
        "tok_pan_tvwxyz0123456789abcdefghjkq",
    ]


def test_the_check_character_is_luhn_mod_32_as_published() -> None:
    body, factor, total = "tvwxyz0123456789abcdefghjk", 2, 0
    for character in reversed(body):
        addend = factor * ALPHABET.index(character)
        total += addend // 32 + addend % 32
        factor = 3 - factor
    assert check_character(body) == ALPHABET[-total % 32] == "q"


def test_two_batches_have_nothing_in_common() -> None:
    first, second = new_opaque("pan", 1000), new_opaque("pan", 1000)
    assert len({*first, *second}) == 2000


def test_every_character_of_a_body_is_equally_likely() -> None:
    """Chi-square over 32 characters at each of 26 places; 31 degrees of freedom pass 75
    by chance once in 25,000."""
    tokens = new_opaque("pan", 20_000, _seeded().randbytes)
    for place in range(BODY_LENGTH):
        counts = Counter(token[8 + place] for token in tokens)
        expected = len(tokens) / 32
        assert sum((counts[c] - expected) ** 2 / expected for c in ALPHABET) < 75


@pytest.mark.parametrize("token_format", [TokenFormat.OPAQUE, TokenFormat.EMAIL])
def test_no_token_of_ours_holds_a_card_number(token_format: TokenFormat) -> None:
    """Where chance would put one into a body, the body is drawn again; its neighbours
    stay as they were."""
    card = bytes(ALPHABET.index(c) for c in "a4111111111111111bcdefghjk")
    plain = bytes(range(BODY_LENGTH))
    draws = iter([plain + card + plain, card, card[::-1], plain[::-1]])
    if token_format is TokenFormat.EMAIL:
        draws = iter([plain, card, card[::-1], plain[::-1], plain])
    tokens = new_tokens("pan", token_format, ["x"] * 3, lambda count: next(draws))
    bodies = [token.removeprefix("tok_pan_")[:BODY_LENGTH] for token in tokens]
    assert bodies == [ALPHABET[:26], ALPHABET[25::-1], ALPHABET[:26]]


@given(BODIES, st.integers(0, BODY_LENGTH), st.sampled_from(ALPHABET))
def test_every_mistyped_character_is_caught(body: str, place: int, other: str) -> None:
    token = body + check_character(body)
    changed = token[:place] + other + token[place + 1 :]
    assert well_formed(f"tok_pan_{token}")
    assert well_formed(f"tok_pan_{changed}") is (changed == token)


@given(BODIES, st.integers(0, BODY_LENGTH - 1))
def test_swapped_neighbours_are_caught_but_for_0_and_z(body: str, place: int) -> None:
    token = body + check_character(body)
    pair = token[place : place + 2]
    swapped = token[:place] + pair[::-1] + token[place + 2 :]
    escapes = pair[0] == pair[1] or set(pair) == {"0", "z"}
    assert well_formed(f"tok_pan_{swapped}") is escapes


@pytest.mark.parametrize(
    "token",
    [
        "",
        "tok_",
        "tok_pan_",
        "tok_pan_0123456789abcdefghjkmnpqrs",
        "tok_pan_0123456789abcdefghjkmnpqrsdd",
        "tok_pan_0123456789abcdefghjkmnpqrs1",
        "tok_PAN_0123456789abcdefghjkmnpqrsd",
        "tok_pan_0123456789ABCDEFGHJKMNPQRSD",
        "tok_pan_0123456789abcdefghjkmnpqrsd\n",
        " tok_pan_0123456789abcdefghjkmnpqrsd",
        "tok_pan_i123456789abcdefghjkmnpqrsd",
        "tok_1pan_0123456789abcdefghjkmnpqrsd",
        f"tok_{'a' * 41}_0123456789abcdefghjkmnpqrsd",
        "a" * 129,
        "@tokens.invalid",
        "a b",
        "a\0b",
        "٩٩٩٩٩٩٩٩٩٩٩٩",
        "9\n",
        "a/../b",
        "\ud800",
    ],
)
def test_what_cannot_be_a_token_is_not_well_formed(token: str) -> None:
    assert not well_formed(token)


@given(st.text(max_size=160))
def test_any_string_is_judged_without_an_error(text: str) -> None:
    well_formed(text)
    well_formed("tok_" + text)


@given(st.text(alphabet="0123456789", min_size=12, max_size=19))
def test_a_digits_token_has_the_length_of_its_value_and_is_no_card_number(value: str) -> None:
    [token] = new_tokens("pan", TokenFormat.DIGITS, [value])
    assert re.fullmatch(r"9[0-9]*", token)
    assert len(token) == len(value)
    assert token != value
    assert not luhn_valid(token)
    assert well_formed(token)


def test_digits_of_a_digits_token_are_equally_likely() -> None:
    """Chi-square with 9 degrees of freedom; 40 is passed by chance once in 100,000."""
    tokens = new_tokens(
        "pan", TokenFormat.DIGITS, ["4111111111111111"] * 10_000, _seeded().randbytes
    )
    for place in range(1, 16):
        counts = Counter(token[place] for token in tokens)
        assert sum((counts[d] - 1000) ** 2 / 1000 for d in "0123456789") < 40


def test_broken_randomness_ends_in_an_error_and_not_in_a_weak_token() -> None:
    with pytest.raises(RuntimeError):
        new_tokens("pan", TokenFormat.DIGITS, ["4111111111111111"], lambda count: b"\xff" * count)


def test_an_email_token_is_an_address_that_cannot_exist() -> None:
    [token] = new_tokens("email", TokenFormat.EMAIL, ["jane@example.com"])
    assert re.fullmatch(r"[0-9a-hjkmnp-tv-z]{26}@tokens\.invalid", token)
    assert well_formed(token)


def test_a_uuid_token_is_a_random_uuid() -> None:
    [token] = new_tokens("email", TokenFormat.UUID, ["jane@example.com"])
    assert str(uuid.UUID(token)) == token
    assert uuid.UUID(token).version == 4
    assert well_formed(token)


@pytest.mark.parametrize("token_format", list(TokenFormat))
def test_tokens_come_one_for_each_value_and_do_not_depend_on_it(token_format: TokenFormat) -> None:
    """With the same randomness, other values of the same length give the same tokens."""
    first = ["4111111111111111", "5555555555554444", "4242424242424242"]
    second = ["6011111111111117", "3566002020360505", "2223003122003222"]
    tokens = new_tokens("pan", token_format, first, _seeded().randbytes)
    assert tokens == new_tokens("pan", token_format, second, _seeded().randbytes)
    assert len(set(tokens)) == 3


def test_no_format_gives_tokens_for_no_values() -> None:
    for token_format in TokenFormat:
        assert new_tokens("pan", token_format, []) == []


def test_an_email_token_is_refused_as_an_email_value() -> None:
    """So that a column is not tokenized twice by mistake."""
    [token] = new_tokens("email", TokenFormat.EMAIL, ["jane@example.com"])
    with pytest.raises(Exception, match="invalid_value"):
        normalizer("email")(token)


def test_a_stored_token_holds_its_value_only_as_ciphertext() -> None:
    assert TokenRecord.__struct_fields__ == (
        *("token", "data_class", "key_id", "ciphertext", "tags", "subject", "expires_at"),
    )
    record = TokenRecord("t", "pan", 1, b"\x01", (), None, None)
    assert record.ciphertext == b"\x01"
