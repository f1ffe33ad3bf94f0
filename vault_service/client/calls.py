"""What both clients do around the wire: arguments into requests, answers into results."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import msgspec

from vault_service.client import operations
from vault_service.client.batching import (
    MAX_ITEMS,
    AnyItem,
    Batch,
    Cut,
    cut,
    derived_key,
)
from vault_service.client.errors import BatchError, ItemFailure
from vault_service.client.exchange import Retry, Steps
from vault_service.client.operations import Outcome
from vault_service.client.results import (
    BatchResult,
    DetokenizedItem,
    DetokenizeItem,
    Item,
    ItemError,
    TokenizedItem,
    TokenizeItem,
)

Mode = Literal["partial", "atomic"]
Tags = Mapping[str, str]
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Plan(Generic[Item]):
    """The requests of one call, and how to put their outcomes together."""

    steps: list[Steps[Outcome[Item]]]
    finish: Callable[[Sequence[Outcome[Item]]], BatchResult[Item]]


def _texts(name: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, str | bytes):
        raise TypeError(f"{name} must be a list of texts, not one text")
    texts = list(values)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{index}] must be str, not {type(text).__name__}")
    return texts


def _beside(name: str, given: Iterable[V] | None, count: int) -> Sequence[V | None]:
    if given is None:
        return [None] * count
    if isinstance(given, str | bytes):
        raise TypeError(f"{name} must be a list with one entry for each value")
    entries = list(given)
    if len(entries) != count:
        raise ValueError(f"{name} has {len(entries)} entries for {count} values")
    return entries


def tokenize_items(
    data_class: str,
    values: Iterable[str],
    subjects: Iterable[str | None] | None,
    tags: Tags | Iterable[Tags | None] | None,
    references: Iterable[str | None] | None,
    expires_in: int | None,
) -> list[TokenizeItem]:
    """Items of one class; ``tags`` are for all values, or one entry for each."""
    texts = _texts("values", values)
    count = len(texts)
    each = [tags] * count if isinstance(tags, Mapping) else _beside("tags", tags, count)
    return [
        TokenizeItem(data_class, text, reference, subject, dict(tag) if tag else None, expires_in)
        for text, reference, subject, tag in zip(
            texts,
            _beside("references", references, count),
            _beside("subjects", subjects, count),
            each,
            strict=True,
        )
    ]


def detokenize_items(
    tokens: Iterable[str], form: str, references: Iterable[str | None] | None
) -> list[DetokenizeItem]:
    """Items for tokens that are all wanted in one form."""
    texts = _texts("tokens", tokens)
    beside = _beside("references", references, len(texts))
    return [
        DetokenizeItem(text, form, reference) for text, reference in zip(texts, beside, strict=True)
    ]


def _plan(
    items: Sequence[AnyItem],
    pieces: Cut,
    result: type[Item],
    send: Callable[[int, Batch], Steps[Outcome[Item]]],
) -> Plan[Item]:
    def finish(outcomes: Sequence[Outcome[Item]]) -> BatchResult[Item]:
        whole = operations.merged(outcomes)
        for position, error in pieces.unsendable.items():
            whole.items[position] = result(index=position, status="error", error=error)
        return BatchResult(
            [_placed(whole.items[position], position, items) for position in range(len(items))],
            tuple(whole.request_ids),
            tuple(whole.event_ids),
        )

    return Plan([send(number, batch) for number, batch in enumerate(pieces.batches)], finish)


def _placed(item: Item, position: int, items: Sequence[AnyItem]) -> Item:
    reference = items[position].reference
    if item.index == position and item.reference == reference:
        return item
    return msgspec.structs.replace(item, index=position, reference=reference)


def plan_tokenize(
    items: Sequence[TokenizeItem], mode: Mode, key: str | None, retry: Retry, batch_size: int
) -> Plan[TokenizedItem]:
    """Requests that store the items, each under an idempotency key derived from ``key``
    and kept over retries, or under none where ``key`` is ``None``. ``ValueError`` where
    atomic items do not fit into one request: they could not be stored together."""
    pieces = cut(items, MAX_ITEMS if mode == "atomic" else batch_size)
    if mode == "atomic" and len(pieces.batches) > 1:
        raise ValueError("atomic mode takes at most 10,000 items and 16 MiB in one call")
    if mode == "atomic" and pieces.unsendable:
        others = ItemError("invalid_request", "Nothing is stored: another item cannot be sent.")
        failed = {i: pieces.unsendable.get(i, others) for i in range(len(items))}
        pieces = Cut([], failed)

    def send(number: int, batch: Batch) -> Steps[Outcome[TokenizedItem]]:
        # The first request has the key itself, so that another call under it is noticed.
        own = key if key is None or number == 0 else derived_key(key, number)
        return operations.tokenize(batch, mode, retry, own)

    return _plan(items, pieces, TokenizedItem, send)


def plan_detokenize(
    items: Sequence[DetokenizeItem],
    purpose: str,
    case: str | None,
    retry: Retry,
    batch_size: int,
    named: Mapping[str, str] | None = None,
) -> Plan[DetokenizedItem]:
    """Requests that resolve the items, with the headers ``named``."""

    def send(number: int, batch: Batch) -> Steps[Outcome[DetokenizedItem]]:
        return operations.detokenize(batch, purpose, case, retry, named or {})

    return _plan(items, cut(items, batch_size), DetokenizedItem, send)


AnyResult = BatchResult[TokenizedItem] | BatchResult[DetokenizedItem]


def outcomes(result: AnyResult) -> list[str]:
    """Tokens or values in order; :class:`BatchError` where any item failed."""
    found = [item.outcome if item.ok else None for item in result.items]
    failures = [
        ItemFailure(
            item.index,
            item.reference,
            item.error.code if item.error else "internal",
            item.error.detail if item.error else "",
            item.error.retryable if item.error else False,
        )
        for item in result.items
        if not item.ok
    ]
    if failures:
        raise BatchError(failures, found, result.request_ids)
    return [text or "" for text in found]


def question(
    action: str,
    data_class: str | None,
    purpose: str | None,
    form: str | None,
    tags: Tags | None,
    item_count: int | None,
) -> dict[str, Any]:
    """The body of a policy question."""
    return {
        "action": action,
        "data_class": data_class,
        "purpose": purpose,
        "form": form,
        "tags": dict(tags) if tags else None,
        "item_count": item_count,
    }


_AUDIT_FILTERS = frozenset(
    {
        *("principal", "action", "outcome", "data_class", "token", "subject", "purpose"),
        *("from", "to", "limit", "cursor"),
    }
)


def audit_query(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Query fields of the audit log; ``from_`` stands for the keyword ``from``."""
    query = {("from" if name == "from_" else name): value for name, value in filters.items()}
    unknown = sorted(set(query) - _AUDIT_FILTERS)
    if unknown:
        raise TypeError(f"unknown audit filters: {', '.join(unknown)}")
    return query


def checked_batch_size(batch_size: int) -> int:
    """``batch_size`` if a request may have that many items, else ``ValueError``."""
    if not 1 <= batch_size <= MAX_ITEMS:
        raise ValueError("batch_size must be between 1 and 10,000")
    return batch_size
