"""Requests and answers as Arrow streams, and the tries that one request takes.

Columns and metadata are those of ``vault_service.domain.columns``. An answer in which
all items failed is a problem document in JSON, as everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from vault_service.client import operations
from vault_service.client.batching import derived_key
from vault_service.client.errors import ItemFailure, StrongroomError, UnexpectedAnswer
from vault_service.client.exchange import Answer, Call, Retry, Steps, Tries, exchange
from vault_service.client.results import Reply, TokenizedItem
from vault_service.domain import columns
from vault_service.domain.errors import Code

_HEADERS = {"content-type": columns.MEDIA_TYPE, "accept": columns.MEDIA_TYPE}


def encode(batch: pa.RecordBatch, metadata: Mapping[bytes, str]) -> bytes:
    """An Arrow IPC stream of one record batch, with schema metadata."""
    encoded = {key: value.encode() for key, value in metadata.items()}
    batch = batch.replace_schema_metadata(encoded)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def decode(content: bytes) -> pa.Table | None:
    """The table in an Arrow IPC stream, ``None`` where it is not one."""
    try:
        with pa.ipc.open_stream(content) as reader:
            return reader.read_all()
    except pa.ArrowInvalid:
        return None


@dataclass(slots=True)
class Answers:
    """What one request's rows came to, by their place in it."""

    texts: pa.Array
    failures: list[ItemFailure] = field(default_factory=list)
    request_id: str | None = None


def _read(answer: Answer, outcome: str, rows: int) -> Answers:
    """The answer's rows; raises where the request as a whole was refused."""
    if answer.status not in (200, 207):
        # Nothing but errors is in there, which both kinds of answer have alike.
        reply = operations.read_reply(answer, Reply[TokenizedItem], rows)
        failures = [
            ItemFailure(item.index, None, item.error.code, item.error.detail, item.error.retryable)
            for item in reply.items
            if item.error is not None
        ]
        return Answers(pa.nulls(rows, pa.string()), failures, reply.request_id)
    table = decode(answer.content) if answer.media_type == columns.MEDIA_TYPE else None
    needed = {outcome, columns.INDEX, columns.STATUS, columns.ERROR_CODE, columns.ERROR_DETAIL}
    if table is None or table.num_rows != rows or not needed <= set(table.column_names):
        raise UnexpectedAnswer(answer.status, answer.headers.get("x-request-id"))
    table = table.sort_by(columns.INDEX)
    if table[columns.INDEX].to_pylist() != list(range(rows)):
        raise UnexpectedAnswer(answer.status, answer.headers.get("x-request-id"))
    failed = table.filter(pc.not_equal(table[columns.STATUS], "ok"))
    failures = [
        ItemFailure(
            row[columns.INDEX],
            row.get(columns.REFERENCE),
            row[columns.ERROR_CODE] or Code.INTERNAL,
            row[columns.ERROR_DETAIL] or "",
            bool(row.get(columns.ERROR_RETRYABLE)),
        )
        for row in failed.to_pylist()
    ]
    request_id = (table.schema.metadata or {}).get(columns.REQUEST_ID_KEY)
    texts = table[outcome].cast(pa.string()).combine_chunks()
    return Answers(texts, failures, request_id.decode() if request_id else None)


def send(
    path: str,
    outcome: str,
    batch: pa.RecordBatch,
    metadata: Mapping[bytes, str],
    retry: Retry,
    key: str | None,
) -> Steps[Answers]:
    """Sends the rows, then again those that may yet succeed."""
    tries = Tries(retry)
    headers = _HEADERS if key is None else {**_HEADERS, "idempotency-key": key}
    call = Call("POST", path, encode(batch, metadata), headers)
    answers = _read((yield from exchange(call, tries)), outcome, batch.num_rows)
    while True:
        again = [f.index for f in answers.failures if f.retryable and _soon(f.code)]
        if not again or metadata.get(columns.MODE_KEY) == "atomic":
            return answers
        pause = tries.pause()
        if pause is None:
            return answers
        if key is not None:
            headers = {**_HEADERS, "idempotency-key": derived_key(key, tries.made, *again)}
        places = pa.array(again, pa.int64())
        part = encode(batch.take(places), metadata)
        call = Call("POST", path, part, headers, pause)
        try:
            more = _read((yield from exchange(call, tries)), outcome, len(again))
        except StrongroomError:
            # What came before stands; the rows keep the errors they had.
            return answers
        answers = _merged(answers, more, again)


def _soon(code: str) -> bool:
    # Budgets refill over hours, which no pause of ours outlasts.
    return code != Code.BUDGET_EXCEEDED


def _merged(first: Answers, later: Answers, places: Sequence[int]) -> Answers:
    texts = first.texts.to_pylist()
    for place, text in zip(places, later.texts.to_pylist(), strict=True):
        texts[place] = text
    tried = set(places)
    failures = [failure for failure in first.failures if failure.index not in tried]
    failures += [
        ItemFailure(places[f.index], f.reference, f.code, f.detail, f.retryable)
        for f in later.failures
    ]
    failures.sort(key=lambda failure: failure.index)
    return Answers(pa.array(texts, pa.string()), failures, first.request_id)
