"""Whole columns through the vault as Arrow streams, without a Python object a value.

Nulls stay null and are not sent. Failed rows are raised as ``BatchError``, with row
numbers as ``index``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from vault_service.client import operations
from vault_service.client.arrow_streams import Answers, send
from vault_service.client.asynchronous import AsyncClient
from vault_service.client.batching import MAX_BODY, MAX_ITEMS, derived_key
from vault_service.client.errors import BatchError, ItemFailure
from vault_service.client.exchange import Retry, Steps
from vault_service.client.sync import Client
from vault_service.domain import columns

Column: TypeAlias = pa.Array | pa.ChunkedArray

# The schema and the stream's framing come on top of the columns.
_MAX_COLUMNS = MAX_BODY - 256 * 1024
_TAGS = pa.map_(pa.string(), pa.string())


@dataclass(frozen=True, slots=True)
class _Plan:
    """The requests for one column, and how to put the answers in their places."""

    steps: list[Steps[Answers]]
    finish: Callable[[Sequence[Answers]], pa.Array]


def _slices(batch: pa.RecordBatch, rows: int) -> list[pa.RecordBatch]:
    """Slices of at most ``rows`` rows that fit into a request."""
    slices: list[pa.RecordBatch] = []
    waiting = [batch.slice(at, rows) for at in range(0, batch.num_rows, rows)][::-1]
    while waiting:
        piece = waiting.pop()
        if piece.nbytes <= _MAX_COLUMNS:
            slices.append(piece)
        elif piece.num_rows == 1:
            raise ValueError("a row alone is larger than a request may be (16 MiB)")
        else:
            half = piece.num_rows // 2
            waiting += [piece.slice(half), piece.slice(0, half)]
    return slices


def _plan(
    path: str,
    outcome: str,
    given: Column,
    fields: Mapping[str, pa.Array],
    main: str,
    metadata: Mapping[bytes, str],
    retry: Retry,
    batch_rows: int,
    key: str | None = None,
) -> _Plan:
    column = given.combine_chunks() if isinstance(given, pa.ChunkedArray) else given
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise TypeError(f"the column must hold strings, not {column.type}")
    if not 1 <= batch_rows <= MAX_ITEMS:
        raise ValueError("batch_rows must be between 1 and 10,000")
    count = len(column)
    whole = pa.record_batch({main: column.cast(pa.string()), **fields})
    present = pc.is_valid(column)
    places = pc.indices_nonzero(present)
    batches = _slices(whole.filter(present), batch_rows)
    if metadata.get(columns.MODE_KEY) == "atomic" and len(batches) > 1:
        raise ValueError("atomic mode takes at most 10,000 items and 16 MiB in one call")

    def own(number: int) -> str | None:
        return key if key is None or number == 0 else derived_key(key, number)

    def finish(answers: Sequence[Answers]) -> pa.Array:
        texts = pa.chunked_array([answer.texts for answer in answers], pa.string())
        spread = pc.replace_with_mask(pa.nulls(count, pa.string()), present, texts.combine_chunks())
        failures: list[ItemFailure] = []
        failing: list[str] = []
        start = 0
        for answer in answers:
            failures += [
                ItemFailure(places[start + f.index].as_py(), None, f.code, f.detail, f.retryable)
                for f in answer.failures
            ]
            if answer.failures and answer.request_id:
                failing.append(answer.request_id)
            start += len(answer.texts)
        if failures:
            raise BatchError(failures, spread.to_pylist(), failing)
        return spread

    steps = [
        send(path, outcome, batch, metadata, retry, own(number))
        for number, batch in enumerate(batches)
    ]
    return _Plan(steps, finish)


def _plan_tokenize(
    retry: Retry,
    data_class: str,
    values: Column,
    subjects: Column | None,
    tags: Mapping[str, str] | None,
    expires_in: int | None,
    mode: str,
    idempotency_key: str | None,
    batch_rows: int,
) -> _Plan:
    count = len(values)
    fields = {columns.DATA_CLASS: pa.repeat(pa.scalar(data_class), count)}
    if subjects is not None:
        chunked = isinstance(subjects, pa.ChunkedArray)
        fields[columns.SUBJECT] = subjects.combine_chunks() if chunked else subjects
    if tags:
        fields[columns.TAGS] = pa.repeat(pa.scalar(list(tags.items()), _TAGS), count)
    if expires_in is not None:
        fields[columns.EXPIRES_IN] = pa.repeat(pa.scalar(expires_in, pa.int64()), count)
    return _plan(
        "/v1/tokenize",
        columns.TOKEN,
        values,
        fields,
        columns.VALUE,
        {columns.MODE_KEY: mode},
        retry,
        batch_rows,
        operations.new_key() if idempotency_key is None else idempotency_key,
    )


def _plan_detokenize(
    retry: Retry, tokens: Column, purpose: str, form: str, case: str | None, batch_rows: int
) -> _Plan:
    metadata = {columns.PURPOSE_KEY: purpose}
    if case is not None:
        metadata[columns.CASE_KEY] = case
    fields = {columns.FORM: pa.repeat(pa.scalar(form), len(tokens))}
    return _plan(
        "/v1/detokenize",
        columns.VALUE,
        tokens,
        fields,
        columns.TOKEN,
        metadata,
        retry,
        batch_rows,
    )


def tokenize_column(
    vault: Client,
    data_class: str,
    values: Column,
    *,
    subjects: Column | None = None,
    tags: Mapping[str, str] | None = None,
    expires_in: int | None = None,
    mode: str = "partial",
    idempotency_key: str | None = None,
    batch_rows: int = MAX_ITEMS,
) -> pa.Array:
    """The tokens of a column of strings, null where it is null.

    ``subjects`` is a column of the same length; ``expires_in`` is in seconds. Raises
    :class:`BatchError` where any row failed, with row numbers as ``index``, and what
    ``Client.tokenize`` raises. ``TypeError`` for a column that holds no strings.
    """
    plan = _plan_tokenize(
        vault.retry,
        data_class,
        values,
        subjects,
        tags,
        expires_in,
        mode,
        idempotency_key,
        batch_rows,
    )
    return plan.finish(vault.run_all(plan.steps))


def detokenize_column(
    vault: Client,
    tokens: Column,
    *,
    purpose: str,
    form: str = "masked",
    case: str | None = None,
    batch_rows: int = MAX_ITEMS,
) -> pa.Array:
    """The values of a column of tokens, null where it is null; errors as above."""
    plan = _plan_detokenize(vault.retry, tokens, purpose, form, case, batch_rows)
    return plan.finish(vault.run_all(plan.steps))


async def tokenize_column_async(
    vault: AsyncClient,
    data_class: str,
    values: Column,
    *,
    subjects: Column | None = None,
    tags: Mapping[str, str] | None = None,
    expires_in: int | None = None,
    mode: str = "partial",
    idempotency_key: str | None = None,
    batch_rows: int = MAX_ITEMS,
) -> pa.Array:
    """As :func:`tokenize_column`, with the asyncio client."""
    plan = _plan_tokenize(
        vault.retry,
        data_class,
        values,
        subjects,
        tags,
        expires_in,
        mode,
        idempotency_key,
        batch_rows,
    )
    return plan.finish(await vault.run_all(plan.steps))


async def detokenize_column_async(
    vault: AsyncClient,
    tokens: Column,
    *,
    purpose: str,
    form: str = "masked",
    case: str | None = None,
    batch_rows: int = MAX_ITEMS,
) -> pa.Array:
    """As :func:`detokenize_column`, with the asyncio client."""
    plan = _plan_detokenize(vault.retry, tokens, purpose, form, case, batch_rows)
    return plan.finish(await vault.run_all(plan.steps))
