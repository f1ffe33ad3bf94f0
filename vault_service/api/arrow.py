"""Arrow bodies (``application/vnd.apache.arrow.stream``) of the batch routes.

Columns are named as the fields of the JSON items; see ``domain/columns.py``.
"""

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

from vault_service.api.arrow_stream import read_table, texts
from vault_service.api.wire import DetokenizeBody, TokenizeBody, malformed
from vault_service.domain import columns
from vault_service.services.items import (
    DetokenizeItem,
    RevealedItem,
    TokenizedItem,
    TokenizeItem,
)

_STRING: Final = "string"


def read_tokenize(body: bytes) -> TokenizeBody:
    """The tokenize request in a stream; ``invalid_request`` names the broken rule."""
    table = read_table(body, columns.TOKENIZE_COLUMNS, (columns.DATA_CLASS, columns.VALUE))
    metadata = _metadata(table, (columns.MODE_KEY,))
    items = [
        TokenizeItem(*row)
        for row in zip(
            _strings(table, columns.DATA_CLASS, required=True),
            _strings(table, columns.VALUE, required=True),
            _strings(table, columns.REFERENCE),
            _strings(table, columns.SUBJECT),
            _tags(table),
            _integers(table, columns.EXPIRES_IN),
            strict=True,
        )
    ]
    return TokenizeBody(items, metadata.get(columns.MODE_KEY, "partial"))


def read_detokenize(body: bytes) -> DetokenizeBody:
    """The detokenize request in a stream; ``invalid_request`` names the broken rule."""
    table = read_table(body, columns.DETOKENIZE_COLUMNS, (columns.TOKEN,))
    metadata = _metadata(table, (columns.PURPOSE_KEY, columns.CASE_KEY))
    items = [
        DetokenizeItem(token, form or "masked", reference)
        for token, form, reference in zip(
            _strings(table, columns.TOKEN, required=True),
            _strings(table, columns.FORM),
            _strings(table, columns.REFERENCE),
            strict=True,
        )
    ]
    return DetokenizeBody(items, metadata.get(columns.PURPOSE_KEY), metadata.get(columns.CASE_KEY))


def write_tokenized(items: Sequence[TokenizedItem], request_id: str, event_id: str) -> bytes:
    """The answer to a tokenize request as a stream."""
    fields = {
        columns.TOKEN: pa.array([item.token for item in items], pa.string()),
        columns.MASKED: pa.array([item.masked for item in items], pa.string()),
    }
    return _write(items, fields, request_id, event_id)


def write_revealed(items: Sequence[RevealedItem], request_id: str, event_id: str) -> bytes:
    """The answer to a detokenize request as a stream."""
    fields = {
        columns.FORM: pa.array([item.form for item in items], pa.string()),
        columns.VALUE: pa.array([item.value for item in items], pa.string()),
    }
    return _write(items, fields, request_id, event_id)


def _write(
    items: Sequence[Any], fields: dict[str, "pa.Array"], request_id: str, event_id: str
) -> bytes:
    errors = [item.error for item in items]
    table = pa.table(
        {
            columns.INDEX: pa.array([item.index for item in items], pa.int64()),
            columns.REFERENCE: pa.array([item.reference for item in items], pa.string()),
            columns.STATUS: pa.array([item.status for item in items], pa.string()),
            columns.DATA_CLASS: pa.array([item.data_class for item in items], pa.string()),
            **fields,
            columns.ERROR_CODE: pa.array(
                [None if e is None else e.code.value for e in errors], pa.string()
            ),
            columns.ERROR_DETAIL: pa.array(
                [None if e is None else e.detail for e in errors], pa.string()
            ),
            columns.ERROR_RETRYABLE: pa.array(
                [None if e is None else e.retryable for e in errors], pa.bool_()
            ),
        }
    ).replace_schema_metadata({columns.REQUEST_ID_KEY: request_id, columns.EVENT_ID_KEY: event_id})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _metadata(table: "pa.Table", known: Sequence[bytes]) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for key in known:
        value = (table.schema.metadata or {}).get(key)
        if value is not None:
            try:
                found[key] = value.decode()
            except UnicodeDecodeError:
                raise malformed("encoding", "Metadata must be UTF-8.", key.decode()) from None
    return found


def _strings(table: "pa.Table", name: str, *, required: bool = False) -> list[Any]:
    if name not in table.column_names:
        return [None] * table.num_rows
    column = table.column(name)
    try:
        found = texts(column)
    except (pa.ArrowException, UnicodeDecodeError):
        raise malformed("encoding", "The column must hold UTF-8 strings.", name) from None
    if required and None in found:
        raise malformed("type", "The column must hold no nulls.", name)
    return found


def _integers(table: "pa.Table", name: str) -> list[Any]:
    if name not in table.column_names:
        return [None] * table.num_rows
    return list(table.column(name).to_pylist())


def _tags(table: "pa.Table") -> list[Any]:
    if columns.TAGS not in table.column_names:
        return [None] * table.num_rows
    found: list[Any] = []
    for pairs in table.column(columns.TAGS).to_pylist():
        if pairs is None:
            found.append(None)
            continue
        tags = dict(pairs)
        if len(tags) != len(pairs):
            raise malformed("duplicate_key", "A tag stands twice.", columns.TAGS)
        if None in tags.values():
            raise malformed("type", "A tag must have a value.", columns.TAGS)
        found.append(tags)
    return found
