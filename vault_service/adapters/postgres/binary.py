"""Binary array parameters, built in bulk.

psycopg dumps a list element by element in Python, about a microsecond each; a batch of
a thousand rows has several thousand. These build PostgreSQL's binary array format
(``array_recv``: dimensions, null flag, element type, then length-prefixed elements)
with one join.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

_TEXT_OID: Final = 25
_TEXT_ARRAY_OID: Final = 1009
_BYTEA_OID: Final = 17
_BYTEA_ARRAY_OID: Final = 1001
_INTEGER_OID: Final = 23
_INTEGER_ARRAY_OID: Final = 1007
_INTEGER_LENGTH: Final = 4 << 32
_NULL: Final = b"\xff\xff\xff\xff"


class TextArray:
    """A ``text[]`` parameter from strings and ``None``."""

    __slots__ = ("payload",)

    def __init__(self, items: Sequence[str | None]) -> None:
        self.payload = _array(_TEXT_OID, [None if i is None else i.encode() for i in items])


class ByteaArray:
    """A ``bytea[]`` parameter from bytes and ``None``."""

    __slots__ = ("payload",)

    def __init__(self, items: Sequence[bytes | None]) -> None:
        self.payload = _array(_BYTEA_OID, items)


class IntegerArray:
    """An ``integer[]`` parameter from whole numbers of 32 bits, taken as signed: 2**31 and
    above come out negative, as -1 for 2**32 - 1."""

    __slots__ = ("payload",)

    def __init__(self, items: Sequence[int]) -> None:
        # The length before each element and the element, as one number of 64 bits.
        elements = [_INTEGER_LENGTH | item for item in items]
        self.payload = _header(_INTEGER_OID, len(items)) + struct.pack(f">{len(items)}Q", *elements)


def _header(element: int, length: int) -> bytes:
    return b"".join(
        (
            b"\0\0\0\1\0\0\0\1",
            element.to_bytes(4, "big"),
            length.to_bytes(4, "big"),
            b"\0\0\0\1",
        )
    )


def _array(element: int, items: Sequence[bytes | None]) -> bytes:
    header = _header(element, len(items))
    if None not in items:
        lengths = set(map(len, items))  # type: ignore[arg-type]  # no None among them
        if len(lengths) == 1:
            # Tokens, nonces, digests: of one length each, so one prefix serves all.
            prefix = lengths.pop().to_bytes(4, "big")
            return header + prefix + prefix.join(items)  # type: ignore[arg-type]
    parts: list[bytes] = [header]
    for item in items:
        if item is None:
            parts.append(_NULL)
        else:
            parts += (len(item).to_bytes(4, "big"), item)
    return b"".join(parts)


class _TextArrayDumper(Dumper):
    format = Format.BINARY
    oid = _TEXT_ARRAY_OID

    def dump(self, obj: Any) -> Buffer:
        payload: bytes = obj.payload
        return payload


class _ByteaArrayDumper(_TextArrayDumper):
    oid = _BYTEA_ARRAY_OID


class _IntegerArrayDumper(_TextArrayDumper):
    oid = _INTEGER_ARRAY_OID


def register(connection: "psycopg.AsyncConnection[Any] | psycopg.Connection[Any]") -> None:
    """Teach a connection the three array types."""
    connection.adapters.register_dumper(TextArray, _TextArrayDumper)
    connection.adapters.register_dumper(ByteaArray, _ByteaArrayDumper)
    connection.adapters.register_dumper(IntegerArray, _IntegerArrayDumper)
