"""Encrypted records: bound to their row, and to nothing but their row. PCI-DSS 3.5.1."""

import dataclasses
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain.access import Tags
from vault_service.domain.ciphertext import (
    MAX_KEY_AGE_DAYS,
    MAX_KEY_USES,
    NONCE_LENGTH,
    VERSION,
    DataKey,
    RecordCipher,
    length_prefixed,
    tags_digest,
)
from vault_service.domain.errors import Code, IntegrityFailure

SECRET = bytes(range(32))
NONCE = bytes(range(100, 112))
TOKEN = "tok_pan_0123456789abcdefghjkmnpqrs0"
TAGS: Tags = (("brand", "x"), ("region", "eu"))
VALUE = "4111111111111111"

tags_strategy = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4).map(
    lambda tags: tuple(sorted(tags.items()))
)
encodable = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80)


def _cipher(
    environment: str = "test",
    key_id: int = 7,
    tenant: str = "main",
    data_class: str = "pan",
    secret: bytes = SECRET,
) -> RecordCipher:
    return RecordCipher(environment, DataKey.from_secret(key_id, tenant, data_class, secret))


@given(
    encodable,
    st.text(alphabet="abc_", max_size=20),
    tags_strategy,
    st.binary(min_size=12, max_size=12),
)
def test_a_record_gives_its_value_back(value: str, token: str, tags: Tags, nonce: bytes) -> None:
    record = _cipher().encrypt(value, token, tags, nonce)
    assert _cipher().decrypt(record, token, tags) == value
    assert record[:13] == VERSION + nonce
    assert len(record) == 1 + NONCE_LENGTH + len(value.encode()) + 16


def test_a_known_record_decrypts_in_every_later_version() -> None:
    """Known answer: record format 1."""
    record = bytes.fromhex(
        "016465666768696a6b6c6d6e6f7c2aef5748d867af0f536ed9eb545bcc3c4916cc8f54dace8604d1d85465a05a"
    )
    assert _cipher().encrypt(VALUE, TOKEN, TAGS, NONCE) == record
    assert _cipher().decrypt(record, TOKEN, TAGS) == VALUE


def test_any_flipped_bit_is_an_integrity_failure() -> None:
    record = _cipher().encrypt(VALUE, TOKEN, TAGS, NONCE)
    for bit in range(len(record) * 8):
        damaged = bytearray(record)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityFailure):
            _cipher().decrypt(bytes(damaged), TOKEN, TAGS)


def test_many_records_are_what_each_is_and_one_that_is_damaged_harms_no_other() -> None:
    values = [VALUE, "", "Zo\u00eb", VALUE * 9]
    tokens = [TOKEN, "t", "tok_\u00e9", TOKEN + "x"]
    nonces = bytes(range(NONCE_LENGTH * len(values)))
    records = _cipher().encrypt_all(values, tokens, TAGS, nonces)
    for place, record in enumerate(records):
        nonce = nonces[place * NONCE_LENGTH :][:NONCE_LENGTH]
        assert record == _cipher().encrypt(values[place], tokens[place], TAGS, nonce)
    assert _cipher().decrypt_all(records, tokens, TAGS) == values
    damaged = [records[1], records[1][:28], records[2], b"\x02" + records[3][1:]]
    assert _cipher().decrypt_all(damaged, tokens, TAGS) == [None, None, "Zo\u00eb", None]


@pytest.mark.parametrize("length", [0, 11, 13, 24])
def test_every_record_takes_a_nonce_of_its_own(length: int) -> None:
    with pytest.raises(ValueError, match="nonce"):
        _cipher().encrypt_all([VALUE], [TOKEN], (), bytes(length))


@pytest.mark.parametrize("tokens", [[], [TOKEN, TOKEN]])
def test_every_record_takes_a_token_of_its_own(tokens: list[str]) -> None:
    with pytest.raises(ValueError, match="token"):
        _cipher().encrypt_all([VALUE], tokens, (), NONCE)
    record = _cipher().encrypt(VALUE, TOKEN, (), NONCE)
    with pytest.raises(ValueError, match="token"):
        _cipher().decrypt_all([record], tokens, ())


@pytest.mark.parametrize("length", range(45))
def test_a_record_cut_short_is_an_integrity_failure(length: int) -> None:
    record = _cipher().encrypt(VALUE, TOKEN, TAGS, NONCE)
    assert len(record) == 45
    with pytest.raises(IntegrityFailure):
        _cipher().decrypt(record[:length], TOKEN, TAGS)


@given(st.binary(max_size=120))
def test_any_other_bytes_are_an_integrity_failure(record: bytes) -> None:
    for candidate in (record, VERSION + record):
        with pytest.raises(IntegrityFailure) as failure:
            _cipher().decrypt(candidate, TOKEN, TAGS)
        assert failure.value.code is Code.INTERNAL
        assert str(failure.value) == "internal"


@pytest.mark.parametrize(
    "reader",
    [
        _cipher(environment="prod"),
        _cipher(tenant="other"),
        _cipher(data_class="pan_unverified"),
        _cipher(key_id=8),
        _cipher(secret=bytes(32)),
    ],
    ids=["environment", "tenant", "class", "key id", "key"],
)
def test_a_record_moved_elsewhere_does_not_decrypt(reader: RecordCipher) -> None:
    record = _cipher().encrypt(VALUE, TOKEN, TAGS, NONCE)
    with pytest.raises(IntegrityFailure):
        reader.decrypt(record, TOKEN, TAGS)


@pytest.mark.parametrize(
    ("token", "tags"),
    [
        ("tok_pan_tvwxyz0123456789abcdefghjkh", TAGS),
        (TOKEN + "0", TAGS),
        ("", TAGS),
        (TOKEN, ()),
        (TOKEN, TAGS[:1]),
        (TOKEN, TAGS[::-1]),
        (TOKEN, (*TAGS, ("z", ""))),
        (TOKEN, (("brand", "x"), ("region", "us"))),
        (TOKEN, (("brandx", ""), ("region", "eu"))),
    ],
)
def test_a_record_of_another_row_does_not_decrypt(token: str, tags: Tags) -> None:
    record = _cipher().encrypt(VALUE, TOKEN, TAGS, NONCE)
    with pytest.raises(IntegrityFailure):
        _cipher().decrypt(record, token, tags)


def test_two_rows_cannot_trade_their_records() -> None:
    cipher = _cipher()
    first = cipher.encrypt(VALUE, TOKEN, (), NONCE)
    second = cipher.encrypt(VALUE, TOKEN[:-1] + "z", (), NONCE[::-1])
    for record, token in ((first, TOKEN[:-1] + "z"), (second, TOKEN)):
        with pytest.raises(IntegrityFailure):
            cipher.decrypt(record, token, ())


@given(st.lists(st.binary(max_size=6), max_size=5), st.lists(st.binary(max_size=6), max_size=5))
def test_length_prefixing_gives_no_two_lists_one_encoding(
    first: list[bytes], second: list[bytes]
) -> None:
    assert (length_prefixed(*first) == length_prefixed(*second)) is (first == second)


@given(st.binary(max_size=12), st.integers(0, 12))
def test_where_one_part_ends_and_the_next_begins_is_in_the_encoding(
    joined: bytes, cut: int
) -> None:
    parts = (joined[:cut], joined[cut:])
    assert length_prefixed(*parts) != length_prefixed(joined)
    assert length_prefixed(*parts) == b"".join(
        len(part).to_bytes(4, "big") + part for part in parts
    )


@given(tags_strategy, tags_strategy)
def test_tags_digests_are_equal_for_equal_tags_alone(first: Tags, second: Tags) -> None:
    assert (tags_digest(first) == tags_digest(second)) is (first == second)
    assert len(tags_digest(first)) == 32


def test_tags_cannot_be_read_across_their_pairs() -> None:
    assert tags_digest((("a", "bc"),)) != tags_digest((("ab", "c"),))
    assert tags_digest((("a", "b"), ("c", "d"))) != tags_digest((("a", "b,c=d"),))
    assert tags_digest((("", ""),)) != tags_digest(())


def test_more_distinct_tags_than_are_remembered_change_nothing() -> None:
    cipher = _cipher()
    for number in range(600):
        tags = (("n", str(number)),)
        record = cipher.encrypt(VALUE, TOKEN, tags, NONCE)
        assert _cipher().decrypt(record, TOKEN, tags) == VALUE


def test_records_that_are_no_text_are_an_integrity_failure() -> None:
    """A right tag over bytes that are not UTF-8 can only come from another writer."""
    key = DataKey.from_secret(7, "main", "pan", SECRET)
    aad = length_prefixed(
        *(b"strongroom-record-v1", b"test", b"main", b"pan", (7).to_bytes(8, "big")),
        *(TOKEN.encode(), tags_digest(())),
    )
    record = VERSION + NONCE + key.cipher.encrypt(NONCE, b"\xff\xfe", aad)
    with pytest.raises(IntegrityFailure):
        _cipher().decrypt(record, TOKEN, ())


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33, 64])
def test_a_data_key_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes") as error:
        DataKey.from_secret(1, "main", "pan", b"\xa7" * length)
    assert "a7" not in repr(error.value)


def test_a_data_key_shows_no_secret() -> None:
    key = DataKey.from_secret(1, "main", "pan", b"\xa7" * 32)
    for text in (repr(key), str(key), f"{key}", f"{[key]!r}"):
        assert "a7" not in text
        assert "secret" not in text
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(dataclasses.FrozenInstanceError):
        key.secret = bytes(32)  # type: ignore[misc]


def test_a_key_is_retired_far_below_the_bound_for_random_nonces() -> None:
    """NIST SP 800-38D 8.3: at most 2^32 uses; PCI-DSS 3.7.4: a cryptoperiod."""
    assert MAX_KEY_USES == 2**30
    assert MAX_KEY_AGE_DAYS == 90
