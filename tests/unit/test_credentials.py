"""The API key format, role names and throttle sources."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain.credentials import (
    API_KEY_PATTERN,
    api_key_id,
    hash_api_key,
    new_api_key,
    role_key,
    source_key,
)
from vault_service.domain.tokens import ALPHABET

# A key made once from fixed bytes: the format is a promise to secret scanners.
VECTOR = "srk_0123456789ab_" + "cdefghjkmnpqrstvwxyz" + ALPHABET + "0g2p6fg"


def test_format_is_as_published() -> None:
    key = new_api_key(lambda count: bytes(range(count)))
    assert key.secret.reveal() == VECTOR
    assert key.id == "0123456789ab"
    assert re.fullmatch(API_KEY_PATTERN, VECTOR)


def test_secret_has_at_least_256_random_bits() -> None:
    drawn: list[int] = []

    def randomness(count: int) -> bytes:
        drawn.append(count)
        return bytes(count)

    new_api_key(randomness)
    # Five bits a character; the first twelve are the id, which is no secret.
    assert (sum(drawn) - 12) * 5 >= 256  # PCI-DSS 8.3.2


def test_keys_differ_and_verify_offline() -> None:
    keys = {new_api_key().secret.reveal() for _ in range(200)}
    assert len(keys) == 200
    assert all(api_key_id(key) == key[4:16] for key in keys)


def test_stored_hash_is_sha256_of_the_whole_key() -> None:
    key = new_api_key()
    assert key.key_hash == hashlib.sha256(key.secret.reveal().encode()).digest()
    assert key.key_hash == hash_api_key(key.secret.reveal())


def test_repr_shows_neither_secret_nor_hash() -> None:
    key = new_api_key()
    assert key.secret.reveal() not in repr(key)
    assert key.key_hash.hex() not in repr(key)
    assert repr(key.key_hash) not in repr(key)


@given(st.integers(4, len(VECTOR) - 1), st.sampled_from(ALPHABET))
def test_every_single_typo_is_noticed(position: int, character: str) -> None:
    typo = VECTOR[:position] + character + VECTOR[position + 1 :]
    assert (api_key_id(typo) is None) == (typo != VECTOR)


@given(st.integers(17, len(VECTOR) - 2))
def test_every_swap_of_neighbours_is_noticed(position: int) -> None:
    a, b = VECTOR[position], VECTOR[position + 1]
    typo = VECTOR[:position] + b + a + VECTOR[position + 2 :]
    assert (api_key_id(typo) is None) == (a != b)


@given(st.text(max_size=100))
def test_other_text_is_no_key(text: str) -> None:
    assert api_key_id(text) is None
    assert len(hash_api_key(text)) == 32


@pytest.mark.parametrize("text", [VECTOR + "\n", " " + VECTOR, VECTOR.upper(), VECTOR[:-1], ""])
def test_near_misses_are_no_keys(text: str) -> None:
    assert api_key_id(text) is None


@pytest.mark.parametrize(
    ("arn", "key"),
    [
        ("arn:aws:iam::123456789012:role/app", "arn:aws:iam::123456789012:role/app"),
        ("arn:aws:iam::123456789012:role/team/x/app", "arn:aws:iam::123456789012:role/app"),
        ("arn:aws-us-gov:iam::123456789012:role/app", "arn:aws-us-gov:iam::123456789012:role/app"),
        ("arn:aws:iam::123456789012:user/app", None),
        ("arn:aws:iam::123456789012:root", None),
        ("arn:aws:sts::123456789012:assumed-role/app/s", None),
        ("arn:aws:iam::12345678901:role/app", None),
        ("arn:aws:iam::123456789012:role/app\n", None),
        ("arn:aws:iam::123456789012:role/", None),
    ],
)
def test_role_key(arn: str, key: str | None) -> None:
    assert role_key(arn) == key


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("x" * 500, "x" * 64),
    ],
)
def test_source_key(address: str, key: str) -> None:
    assert source_key(address) == key
