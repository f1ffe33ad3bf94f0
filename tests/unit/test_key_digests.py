"""Blind indexes and request digests: HMAC-SHA-256 as the library computes it."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain.ciphertext import length_prefixed
from vault_service.services.key_digests import index_key, request_key

KEY = bytes(range(32))
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.binary(min_size=32, max_size=32), TEXT, TEXT)
def test_blind_index_is_hmac_over_label_class_and_value(
    secret: bytes, data_class: str, value: str
) -> None:
    message = length_prefixed(b"strongroom-index-v1", data_class.encode(), value.encode())
    expected = hmac.digest(secret, message, "sha256")
    assert index_key(1, secret, data_class).digest(value) == expected


@given(st.binary(min_size=32, max_size=32), st.binary())
def test_request_digest_is_hmac_over_label_and_body(secret: bytes, body: bytes) -> None:
    expected = hmac.digest(secret, length_prefixed(b"strongroom-request-v1") + body, "sha256")
    assert request_key(1, secret).digest(body) == expected


def test_known_answers() -> None:
    """Stored indexes must be found by every later release."""
    assert index_key(1, KEY, "pan").digest("4111111111111111").hex() == (
        "1190319959aa9464d7f3767cf3130e14c0b6da4926ea189bce974c25b428f861"
    )
    assert request_key(1, KEY).digest(b"{}").hex() == (
        "09bf7a40eecf29e940bdd3f113f9caf7833010b1eb533b04baa284f22424106c"
    )


def test_a_digest_leaves_the_key_as_it_was() -> None:
    key = index_key(1, KEY, "email")
    first = key.digest("a@example.com")
    key.digest("b@example.com")
    assert key.digest("a@example.com") == first


def test_classes_and_keys_do_not_share_indexes() -> None:
    digests = {
        index_key(1, KEY, "email").digest("x"),
        index_key(1, KEY, "phone").digest("x"),
        index_key(1, bytes(32), "email").digest("x"),
        request_key(1, KEY).digest(b"x"),
    }
    assert len(digests) == 4


def test_says_nothing_of_the_key() -> None:
    assert repr(index_key(7, KEY, "pan")) == "IndexKey(id=7)"
    assert repr(request_key(7, KEY)) == "RequestKey(id=7)"


@pytest.mark.parametrize("length", [0, 31, 33])
def test_refuses_keys_of_another_length(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        request_key(1, bytes(length))
