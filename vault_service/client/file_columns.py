"""One column of one batch of rows: what to send, and what the answer makes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from vault_service.client import calls
from vault_service.client.calls import Plan
from vault_service.client.exchange import Retry, Steps
from vault_service.client.mapping import ColumnRule
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
from vault_service.client.tables import Texts, is_clean

Sent = TypeVar("Sent", TokenizeItem, DetokenizeItem)

_REQUEST_ITEMS = 1000
_NOT_TEXT = ItemError("invalid_value", "The cell is not valid UTF-8 text.", rule="utf8")


@dataclass(slots=True)
class Cells:
    """The column after its answer: new texts, errors by row, and how many rows were
    sent."""

    texts: Texts
    errors: dict[int, ItemError] = field(default_factory=dict)
    tried: int = 0
    request_ids: tuple[str, ...] = ()


@dataclass(slots=True)
class _Gathered:
    """Where each row finds its answer: ``places[row]`` is a position among the items."""

    texts: Texts
    places: dict[int, int] = field(default_factory=dict)
    errors: dict[int, ItemError] = field(default_factory=dict)


def _gather(
    texts: Texts, make: Callable[[int, str], Sent], *, merge_equal: bool
) -> tuple[_Gathered, list[Sent]]:
    """The items of a column. Empty cells have none, equal ones share one where
    ``merge_equal``."""
    gathered = _Gathered(texts)
    items: list[Sent] = []
    known: dict[object, int] = {}
    for row, text in enumerate(texts):
        if not text:
            continue
        if not is_clean(text):
            gathered.errors[row] = _NOT_TEXT
            continue
        item = make(row, text)
        # The items themselves are not hashable, for their tags; those are the column's.
        same = (text, getattr(item, "subject", None))
        place = known.get(same) if merge_equal else None
        if place is None:
            place = known[same] = len(items)
            items.append(item)
        gathered.places[row] = place
    return gathered, items


def _spread(gathered: _Gathered, result: BatchResult[Item]) -> Cells:
    texts = list(gathered.texts)
    errors = dict(gathered.errors)
    for row, place in gathered.places.items():
        item = result.items[place]
        if item.error is None:
            texts[row] = item.outcome
        else:
            errors[row] = item.error
    return Cells(texts, errors, len(gathered.places), result.request_ids)


def _in_turn(plan: Plan[Item], gathered: _Gathered) -> Steps[Cells]:
    outcomes: list[Outcome[Item]] = []
    for steps in plan.steps:
        outcome = yield from steps
        outcomes.append(outcome)
    return _spread(gathered, plan.finish(outcomes))


def tokenize_column(
    texts: Texts,
    rule: ColumnRule,
    subjects: Sequence[str | None] | None,
    retry: Retry,
    *,
    deterministic: bool,
    key: str | None,
) -> Steps[Cells]:
    """Steps that replace the values of a column by tokens.

    With a ``deterministic`` class equal values are sent once, and no idempotency key is
    needed: repeating gives the same tokens without the service keeping the answer.
    Other classes need ``key``, the same one whenever the run is repeated.
    """
    data_class = rule.data_class or ""
    tags = rule.tags or None
    expires_in = rule.expires_in

    def make(row: int, text: str) -> TokenizeItem:
        subject = subjects[row] or None if subjects is not None else None
        return TokenizeItem(data_class, text, subject=subject, tags=tags, expires_in=expires_in)

    gathered, items = _gather(texts, make, merge_equal=deterministic)
    plan: Plan[TokenizedItem] = calls.plan_tokenize(
        items, "partial", None if deterministic else key, retry, _REQUEST_ITEMS
    )
    return _in_turn(plan, gathered)


def detokenize_column(
    texts: Texts, rule: ColumnRule, purpose: str, case: str | None, retry: Retry
) -> Steps[Cells]:
    """Steps that replace the tokens of a column by values; equal tokens are sent once,
    which also spends the reveal budget once."""
    form = rule.form or "masked"
    gathered, items = _gather(texts, lambda _, text: DetokenizeItem(text, form), merge_equal=True)
    plan: Plan[DetokenizedItem] = calls.plan_detokenize(items, purpose, case, retry, _REQUEST_ITEMS)
    return _in_turn(plan, gathered)
