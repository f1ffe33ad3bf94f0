"""What the client can ask the vault, as steps for either transport.

Each function checks its arguments, makes the requests and reads the answers. The
routes and fields are those of the public contract.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from vault_service.client.batching import Batch, body, derived_key
from vault_service.client.errors import StrongroomError, UnexpectedAnswer
from vault_service.client.exchange import (
    Answer,
    Call,
    Retry,
    Steps,
    Tries,
    decode,
    exchange,
    refusal,
)
from vault_service.client.results import (
    AuditPage,
    CatalogInfo,
    DetokenizedItem,
    Explanation,
    Found,
    Item,
    PrincipalInfo,
    Reply,
    TokenDescription,
    TokenizedItem,
)
from vault_service.domain.errors import Code

T = TypeVar("T")

JSON_HEADERS: Final = {"content-type": "application/json", "accept": "application/json"}
_ACCEPT: Final = {"accept": "application/json"}
_NOTHING: Final[Mapping[str, str]] = {}
_ACCEPT_TEXT: Final = {"accept": "text/plain, application/problem+json"}
encode: Final = msgspec.json.encode


def new_key() -> str:
    """A random idempotency key."""
    return derived_key(secrets.token_hex(16))


class Outcome(Generic[Item]):
    """The items of one batch by position, and the requests that they took."""

    def __init__(self) -> None:
        self.items: dict[int, Item] = {}
        self.request_ids: list[str] = []
        self.event_ids: list[str] = []


def read_reply(answer: Answer, reply: type[Reply[Item]], sent: int) -> Reply[Item]:
    """The items of an answer, also of one in which all failed: that is a problem
    document which carries them. Raises where the request as a whole was refused."""
    if answer.status not in (200, 207) and answer.media_type != "application/problem+json":
        raise refusal(answer)
    result = decode(answer.content, reply)
    if result is None and answer.status >= 400:
        raise refusal(answer)
    if result is None or sorted(item.index for item in result.items) != list(range(sent)):
        raise UnexpectedAnswer(answer.status, answer.headers.get("x-request-id"))
    return result


def _retry_in_place(item: Item) -> bool:
    error = item.error
    # Budgets refill over hours, which no pause of ours outlasts.
    return error is not None and error.retryable and error.code != Code.BUDGET_EXCEEDED


def _batch(
    path: str,
    reply: type[Reply[Item]],
    batch: Batch,
    envelope: dict[str, str],
    retry: Retry,
    key: str | None = None,
    *,
    retry_items: bool = True,
    named: Mapping[str, str] = _NOTHING,
) -> Steps[Outcome[Item]]:
    """Sends the batch, then again those of its items that may yet succeed."""
    outcome: Outcome[Item] = Outcome()
    tries = Tries(retry)
    pending = list(range(len(batch.items)))
    content = batch.content
    delay = 0.0
    round_key = key
    while True:
        headers = {**JSON_HEADERS, **named}
        if round_key is not None:
            headers["idempotency-key"] = round_key
        call = Call("POST", path, body(content, envelope), headers, delay)
        try:
            result = read_reply((yield from exchange(call, tries)), reply, len(pending))
        except StrongroomError:
            if not outcome.items:
                raise
            # What the first round brought stands; the items keep the errors they had.
            return outcome
        if result.request_id:
            outcome.request_ids.append(result.request_id)
        if result.receipt:
            outcome.event_ids.append(result.receipt.event_id)
        again = []
        for item in result.items:
            place = pending[item.index]
            outcome.items[batch.positions[place]] = item
            if retry_items and _retry_in_place(item):
                again.append(place)
        pause = tries.pause() if again else None
        if pause is None:
            return outcome
        # Fewer items under the same key would be another body (422). Which key they
        # get follows from what failed, so that a repeated run meets the same answers.
        if key is not None:
            round_key = derived_key(key, tries.made, *again)
        pending, delay = sorted(again), pause
        content = batch.content_of(pending)


def tokenize(
    batch: Batch, mode: str, retry: Retry, key: str | None
) -> Steps[Outcome[TokenizedItem]]:
    """``POST /v1/tokenize``. ``key`` is the Idempotency-Key, ``None`` for no such."""
    return _batch(
        "/v1/tokenize",
        Reply[TokenizedItem],
        batch,
        {"mode": mode},
        retry,
        key,
        retry_items=mode != "atomic",
    )


def detokenize(
    batch: Batch,
    purpose: str,
    case: str | None,
    retry: Retry,
    named: Mapping[str, str] = _NOTHING,
) -> Steps[Outcome[DetokenizedItem]]:
    """``POST /v1/detokenize``; reading again reveals nothing new, so it is repeated
    without a key. ``named`` are headers, such as the one that names a job's run."""
    envelope = {"purpose": purpose} if case is None else {"purpose": purpose, "case": case}
    return _batch("/v1/detokenize", Reply[DetokenizedItem], batch, envelope, retry, named=named)


def lookup(data_class: str, value: str, retry: Retry) -> Steps[str | None]:
    """``POST /v1/lookup``; the value goes into the body, never into the address."""
    content = encode({"data_class": data_class, "value": value})
    call = Call("POST", "/v1/lookup", content, JSON_HEADERS)
    return read((yield from exchange(call, Tries(retry))), Found).token


def read(answer: Answer, type: type[T]) -> T:
    """The body of a 200 or 201 as ``type``; raises for everything else."""
    if answer.status not in (200, 201):
        raise refusal(answer)
    result = decode(answer.content, type)
    if result is None:
        raise UnexpectedAnswer(answer.status, answer.headers.get("x-request-id"))
    return result


def get(path: str, type: type[T], retry: Retry) -> Steps[T]:
    """What ``GET`` of ``path`` answers."""
    answer = yield from exchange(Call("GET", path, headers=_ACCEPT), Tries(retry))
    return read(answer, type)


def _token_path(token: str) -> str:
    return "/v1/tokens/" + quote(token, safe="")


def describe(token: str, retry: Retry) -> Steps[TokenDescription]:
    """``GET /v1/tokens/{token}``."""
    return get(_token_path(token), TokenDescription, retry)


def delete(token: str, retry: Retry, named: Mapping[str, str] = _NOTHING) -> Steps[None]:
    """``DELETE /v1/tokens/{token}``. Where an earlier try lost its answer, a token
    that is no longer there counts as deleted."""
    tries = Tries(retry)
    call = Call("DELETE", _token_path(token), headers={**_ACCEPT, **named})
    answer = yield from exchange(call, tries)
    if answer.status != 204 and not (answer.status == 404 and tries.made > 1):
        raise refusal(answer)


def catalog(retry: Retry) -> Steps[CatalogInfo]:
    """``GET /v1/catalog``."""
    return get("/v1/catalog", CatalogInfo, retry)


def whoami(retry: Retry) -> Steps[PrincipalInfo]:
    """``GET /v1/whoami``."""
    return get("/v1/whoami", PrincipalInfo, retry)


def explain(question: Mapping[str, Any], retry: Retry) -> Steps[Explanation]:
    """``POST /v1/policy/explain``; fields that are ``None`` are left out."""
    fields = {name: value for name, value in question.items() if value is not None}
    call = Call("POST", "/v1/policy/explain", encode(fields), JSON_HEADERS)
    return read((yield from exchange(call, Tries(retry))), Explanation)


def audit_page(filters: Mapping[str, Any], retry: Retry) -> Steps[AuditPage]:
    """One page of ``GET /v1/audit/events``."""
    query = urlencode({name: value for name, value in filters.items() if value is not None})
    return get("/v1/audit/events" + (f"?{query}" if query else ""), AuditPage, retry)


def receipt(event_id: str, retry: Retry) -> Steps[str]:
    """``GET /v1/audit/events/{id}/proof``."""
    return _text(f"/v1/audit/events/{quote(event_id, safe='')}/proof", retry)


def checkpoint(retry: Retry) -> Steps[str]:
    """``GET /v1/audit/checkpoint``."""
    return _text("/v1/audit/checkpoint", retry)


def verifier_key(retry: Retry) -> Steps[str]:
    """``GET /v1/audit/key``."""
    return (yield from _text("/v1/audit/key", retry)).strip()


def _text(path: str, retry: Retry) -> Steps[str]:
    answer = yield from exchange(Call("GET", path, headers=_ACCEPT_TEXT), Tries(retry))
    if answer.status != 200:
        raise refusal(answer)
    if answer.media_type != "text/plain":
        raise UnexpectedAnswer(answer.status, answer.headers.get("x-request-id"))
    return answer.content.decode()


def merged(outcomes: Sequence[Outcome[Item]]) -> Outcome[Item]:
    """The outcomes of all batches of a call as one."""
    whole: Outcome[Item] = Outcome()
    for outcome in outcomes:
        whole.items.update(outcome.items)
        whole.request_ids += outcome.request_ids
        whole.event_ids += outcome.event_ids
    return whole
