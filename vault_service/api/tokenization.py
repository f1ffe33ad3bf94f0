"""``/v1/tokenize``, ``/v1/detokenize`` and ``/v1/lookup``."""

from collections import Counter
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

import msgspec

from vault_service.api import arrow
from vault_service.api.endpoint import Answer, Call
from vault_service.api.problems import MEDIA_TYPE, problem
from vault_service.api.wire import DetokenizeBody, LookupBody, TokenizeBody, decode, malformed
from vault_service.domain.access import Action
from vault_service.domain.columns import MEDIA_TYPE as ARROW
from vault_service.domain.errors import Code, FieldError, VaultError
from vault_service.domain.metadata import check_text
from vault_service.domain.sensitive import Sensitive
from vault_service.services.items import (
    ROLLED_BACK,
    DetokenizeCommand,
    ItemError,
    RevealedItem,
    TokenizeCommand,
    TokenizedItem,
)

_ARROW: Final = ARROW.encode()
_MAX_ERRORS: Final = 100
_MODES: Final = frozenset({"partial", "atomic"})
_DATA_CLASS: Final = attrgetter("data_class")
_ERROR: Final = attrgetter("error")

_encode = msgspec.json.Encoder().encode


class Summary(msgspec.Struct):
    """How many items ended how."""

    ok: int
    failed: int


class Receipt(msgspec.Struct):
    """What turns into a proof later."""

    event_id: str


class TokenizeAnswer(msgspec.Struct):
    """The answer of ``POST /v1/tokenize``."""

    items: list[TokenizedItem]
    summary: Summary
    request_id: str
    receipt: Receipt


class DetokenizeAnswer(msgspec.Struct):
    """The answer of ``POST /v1/detokenize``."""

    items: list[RevealedItem]
    summary: Summary
    request_id: str
    receipt: Receipt


class LookupAnswer(msgspec.Struct):
    """The answer of ``POST /v1/lookup``; ``token`` is null where there is none."""

    token: str | None
    data_class: str
    request_id: str
    receipt: Receipt


async def tokenize(call: Call) -> Answer:
    """Values to tokens."""
    key = call.header(b"idempotency-key")
    if key is not None:
        check_text(key, "Idempotency-Key")
    is_arrow = call.check_media_type(_ARROW)
    body = arrow.read_tokenize(call.body) if is_arrow else decode(call.body, TokenizeBody)
    if body.mode not in _MODES:
        raise malformed("enum", "mode is partial or atomic.", "mode")
    command = TokenizeCommand(
        body.items, body.mode == "atomic", key, call.body if key is not None else b""
    )
    done = await call.application.tokenize(call.context, command)
    failed = _count(call, Action.TOKENIZE, done.items)
    return _answer(call, done.items, failed, done.event_id, TokenizeAnswer, is_arrow)


async def detokenize(call: Call) -> Answer:
    """Tokens to values, in the form that policy allows."""
    is_arrow = call.check_media_type(_ARROW)
    body = arrow.read_detokenize(call.body) if is_arrow else decode(call.body, DetokenizeBody)
    command = DetokenizeCommand(body.items, body.purpose, body.case)
    done = await call.application.detokenize(call.context, command)
    failed = _count(call, Action.DETOKENIZE, done.items)
    return _answer(call, done.items, failed, done.event_id, DetokenizeAnswer, is_arrow)


async def lookup(call: Call) -> Answer:
    """The token of a value, if it is stored."""
    call.check_media_type()
    body = decode(call.body, LookupBody)
    token, event_id = await call.application.lookup(
        call.context, body.data_class, Sensitive(body.value)
    )
    answer = LookupAnswer(token, body.data_class, call.context.request_id, Receipt(event_id))
    return Answer(_encode(answer))


def _answer(
    call: Call,
    items: list[Any],
    failed: int,
    event_id: str,
    kind: type[TokenizeAnswer] | type[DetokenizeAnswer],
    is_arrow: bool,
) -> Answer:
    """200 where every item is ok, 207 where some failed, a problem where all did."""
    request_id = call.context.request_id
    if failed == len(items):
        status, body, headers = problem(
            _common(items, event_id, call.context.at), request_id, items=_encode(items)
        )
        return Answer(body, status, MEDIA_TYPE, headers)
    status = 207 if failed else 200
    if is_arrow:
        write = arrow.write_tokenized if kind is TokenizeAnswer else arrow.write_revealed
        return Answer(write(items, request_id, event_id), status, _ARROW)
    summary = Summary(len(items) - failed, failed)
    return Answer(_encode(kind(items, summary, request_id, Receipt(event_id))), status)


def _common(items: list[Any], event_id: str, at: datetime) -> VaultError:
    """The error of a batch in which every item failed: that of its first item that did
    not merely fail with the others. A spent budget may be drawn on again when the next
    hour begins, in UTC, at the soonest."""
    own: list[ItemError] = [item.error for item in items if item.error is not ROLLED_BACK]
    first = own[0]
    same = all(error.code == first.code for error in own)
    error = VaultError(
        first.code,
        first.detail if same else "No item could be processed; see items for each.",
        errors=tuple(_field_error(item.index, item.error) for item in items[:_MAX_ERRORS]),
        retry_after=3600 - at.minute * 60 - at.second
        if first.code is Code.BUDGET_EXCEEDED
        else None,
    )
    error.event_id = event_id
    return error


def _field_error(index: int, error: ItemError) -> FieldError:
    field = f"items[{index}].{error.field}" if error.field else f"items[{index}]"
    return FieldError(field, error.rule or error.code.value, error.detail)


def _count(call: Call, action: Action, items: list[Any]) -> int:
    """Tell the metrics how the items ended; how many failed."""
    failed = len(items) - list(map(_ERROR, items)).count(None)
    observe = call.application.observer.items
    if failed == 0:
        # Nearly always; a list counts its few classes quicker than anything counts pairs.
        classes = list(map(_DATA_CLASS, items))
        for data_class in set(classes):
            observe(action.value, data_class, "ok", classes.count(data_class))
        return 0
    pairs = ((item.data_class, item.error) for item in items)
    for (data_class, error), count in Counter(pairs).items():
        observe(action.value, data_class, "ok" if error is None else error.code.value, count)
    return failed
