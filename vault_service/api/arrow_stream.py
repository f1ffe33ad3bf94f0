"""Arrow IPC streams from outside, read so that none takes more memory than it is long.

A stream can be a bomb in many ways: compressed buffers, dictionaries that many rows
point into, columns that share one buffer, batches and columns without number. Each is
refused before anything is built from it (OWASP ASVS 5 5.2.3).
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from vault_service.api.wire import MAX_BODY, malformed
from vault_service.domain import columns
from vault_service.domain.errors import Code, VaultError
from vault_service.services.items import check_count

MAX_BATCHES: Final = 100
"""Record batches with rows in them; one is usual."""
_MAX_MESSAGES: Final = 4 * MAX_BATCHES
_DICTIONARY_BATCH: Final = 2
_RECORD_BATCH: Final = 3
# Positions of fields in the tables of Arrow's Message.fbs.
_HEADER_TYPE: Final = 1
_HEADER: Final = 2
_DICTIONARY_DATA: Final = 1
_COMPRESSION: Final = 3


def read_table(body: bytes, known: Sequence[str], required: Sequence[str]) -> "pa.Table":
    """The rows of the stream; ``invalid_request`` or ``too_many_items`` for one that is
    malformed, has other columns than ``known`` ones or not all ``required``."""
    try:
        _screen_messages(body)
        with pa.ipc.open_stream(body) as reader:
            _check_schema(reader.schema, known, required)
            return pa.Table.from_batches(list(_batches(reader, len(body))), reader.schema)
    except VaultError:
        raise
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        OverflowError,
        MemoryError,
        struct.error,
    ):
        raise malformed("arrow", "The body is no Arrow IPC stream.") from None


def texts(column: "pa.ChunkedArray") -> list[Any]:
    """The strings of a column, ``None`` for nulls. Rows that point at one entry of a
    dictionary share one string, but each is worked on: ``payload_too_large`` where they
    would not fit into a body."""
    if not pa.types.is_dictionary(column.type):
        return list(column.to_pylist())
    found: list[Any] = []
    size = 0
    for chunk in column.chunks:
        entries: dict[Any, Any] = {None: None}
        dictionary = chunk.dictionary
        for index in chunk.indices.to_pylist():
            if index not in entries:
                entries[index] = dictionary[index].as_py()
            text = entries[index]
            size += 0 if text is None else len(text)
            if size > MAX_BODY:
                raise VaultError(
                    Code.PAYLOAD_TOO_LARGE,
                    "A dictionary column has at most 16 MiB when it is written out.",
                )
            found.append(text)
    return found


def _check_schema(schema: "pa.Schema", known: Sequence[str], required: Sequence[str]) -> None:
    names = schema.names
    if len(set(names)) != len(names):
        raise malformed("duplicate_key", "A column stands twice.")
    if not set(names) <= set(known):
        raise malformed("unknown_field", "The stream has a column that is not known.")
    for name in required:
        if name not in names:
            raise malformed("required", "The column is required.", name)
    for name in names:
        kind = schema.field(name).type
        if name == columns.EXPIRES_IN:
            if not pa.types.is_integer(kind):
                raise malformed("type", "The column must hold integers.", name)
        elif name == columns.TAGS:
            if not (pa.types.is_map(kind) and _is_text(kind.key_type) and _is_text(kind.item_type)):
                raise malformed("type", "The column must be a map from string to string.", name)
        elif not _is_text(kind.value_type if pa.types.is_dictionary(kind) else kind):
            raise malformed("type", "The column must hold strings.", name)


def _is_text(kind: "pa.DataType") -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _batches(reader: "pa.RecordBatchStreamReader", length: int) -> Iterator["pa.RecordBatch"]:
    rows = size = count = 0
    for batch in reader:
        rows += batch.num_rows
        check_count(rows or 1)
        if not batch.num_rows:
            continue
        count += 1
        if count > MAX_BATCHES:
            raise malformed("batches", "Send at most 100 record batches.")
        # Offsets of a hostile stream may point anywhere: checked before use.
        batch.validate(full=True)
        size += sum(
            column.indices.nbytes if pa.types.is_dictionary(column.type) else column.nbytes
            for column in batch.columns
        )
        if size > length:
            raise malformed("arrow", "Columns must not share their buffers.")
        yield batch


def _screen_messages(body: bytes) -> None:
    """Refuse compressed buffers, and messages without number, before they are read."""
    reader = pa.ipc.MessageReader.open_stream(body)
    for _ in range(_MAX_MESSAGES):
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if _is_compressed(memoryview(message.metadata)):
            raise malformed("compression", "Send the stream uncompressed.")
    raise malformed("batches", "Send at most 100 record batches.")


def _is_compressed(message: memoryview) -> bool:
    """Whether the message, a FlatBuffers table, is a batch with compressed buffers."""
    root = _at("<I", message, 0)
    kind_at = _field(message, root, _HEADER_TYPE)
    header_at = _field(message, root, _HEADER)
    kind = _at("<B", message, kind_at) if kind_at else 0
    if not header_at or kind not in (_DICTIONARY_BATCH, _RECORD_BATCH):
        return False
    batch = header_at + _at("<I", message, header_at)
    if kind == _DICTIONARY_BATCH:
        data_at = _field(message, batch, _DICTIONARY_DATA)
        if not data_at:
            return False
        batch = data_at + _at("<I", message, data_at)
    return _field(message, batch, _COMPRESSION) != 0


def _field(message: memoryview, table: int, position: int) -> int:
    """Where the field of a FlatBuffers table stands; 0 where it is left out."""
    vtable = table - _at("<i", message, table)
    entry = 4 + 2 * position
    if entry >= _at("<H", message, vtable):
        return 0
    offset = _at("<H", message, vtable + entry)
    return table + offset if offset else 0


def _at(form: str, message: memoryview, place: int) -> int:
    if place < 0:
        raise struct.error
    found: int = struct.unpack_from(form, message, place)[0]
    return found
