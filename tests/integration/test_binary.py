"""Binary arrays: what is built in bulk arrives in PostgreSQL as it was."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from vault_service.adapters.postgres.binary import (
    ByteaArray,
    IntegerArray,
    TextArray,
    register,
)
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres


@pytest.fixture
def connection(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres.app_url, autocommit=True) as opened:
        register(opened)
        yield opened


@pytest.mark.parametrize(
    "items",
    [
        [],
        [""],
        [None],
        ["one"],
        ["tok_a", "tok_b", "tok_c"],
        ["short", "much longer than the first", "", None, "Sánchez", "日本"],
        ["ab", "é"],
        ["x" * 2000, "y" * 2000],
    ],
)
def test_texts_arrive_as_they_were(
    connection: psycopg.Connection[Any], items: list[str | None]
) -> None:
    row = connection.execute("SELECT %b::text[]", (TextArray(items),), binary=True).fetchone()
    assert row == (items,)


@pytest.mark.parametrize(
    "items",
    [[], [b""], [None], [b"\x00" * 32, b"\xff" * 32], [b"\x00", b"", None, bytes(range(256))]],
)
def test_bytes_arrive_as_they_were(
    connection: psycopg.Connection[Any], items: list[bytes | None]
) -> None:
    row = connection.execute("SELECT %b::bytea[]", (ByteaArray(items),), binary=True).fetchone()
    assert row == (items,)


@pytest.mark.parametrize("items", [[], [0], [1, 2**31 - 1, 2**31, 2**32 - 1], [7] * 3000])
def test_numbers_arrive_as_signed_ones_of_32_bits(
    connection: psycopg.Connection[Any], items: list[int]
) -> None:
    row = connection.execute("SELECT %b::integer[]", (IntegerArray(items),), binary=True).fetchone()
    assert row == ([n - 2**32 if n >= 2**31 else n for n in items],)
