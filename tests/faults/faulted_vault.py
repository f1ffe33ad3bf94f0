"""A vault before, during and after a fault of its database: what was stored, what fails and
shows nothing, and what is served again."""

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx2

from tests.calling import Caller
from tests.ledger import PURPOSE, check_problem, unrecorded
from tests.serving import Server
from tests.synthetic import cards

RECOVERY_SECONDS = 30.0
AWAY = {"database_unavailable"}
_cards = iter(cards(20_000, seed=91))
_numbers = itertools.count()


def fresh(count: int = 1) -> list[str]:
    """Card numbers that no test used before."""
    return [next(_cards) for _ in range(count)]


@dataclass
class Stored:
    """A value that was stored before the fault."""

    caller: Caller
    value: str
    token: str


def tokenize(caller: Caller, values: list[str], **fields: object) -> httpx2.Response:
    items = [{"data_class": "pan", "value": value} for value in values]
    return caller.post("/v1/tokenize", {"items": items, **fields})


def reveal(caller: Caller, token: str, form: str = "plain") -> httpx2.Response:
    return caller.detokenize([token], PURPOSE, form)


def tokenize_keyed(caller: Caller, values: list[str]) -> httpx2.Response:
    items = [{"data_class": "pan", "value": value} for value in values]
    headers = {"Idempotency-Key": f"key-{next(_numbers)}"}
    return caller.post("/v1/tokenize", {"items": items}, headers=headers)


def every_request(stored: Stored) -> list[tuple[Callable[[], httpx2.Response], list[str]]]:
    """Every kind of request that stores, reveals or records, with what it must not show."""
    caller, token, value = stored.caller, stored.token, stored.value
    one, batch, atomic, keyed = fresh(), fresh(500), fresh(3), fresh()
    return [
        (lambda: reveal(caller, token), [value]),
        (lambda: reveal(caller, token, "masked"), [value]),
        (lambda: tokenize(caller, one), one),
        (lambda: tokenize(caller, [value]), [value]),
        (lambda: tokenize(caller, batch), batch),
        (lambda: tokenize(caller, atomic, mode="atomic"), atomic),
        (lambda: tokenize_keyed(caller, keyed), keyed),
        (lambda: caller.post("/v1/lookup", {"data_class": "pan", "value": value}), [value, token]),
        (lambda: caller.get(f"/v1/tokens/{token}"), [value]),
        (lambda: caller.delete(f"/v1/tokens/{token}"), [value]),
    ]


def counts(vault: Server) -> tuple[int, int]:
    [(tokens, events)] = vault.query(
        "SELECT (SELECT count(*) FROM strongroom.tokens),"
        " (SELECT count(*) FROM strongroom.audit_events)"
    )
    return tokens, events


def all_fail(stored: Stored, codes: set[str]) -> None:
    requests = every_request(stored)
    with ThreadPoolExecutor(len(requests)) as threads:
        answers = list(threads.map(lambda request: request[0](), requests))
    for answer, (_, hidden) in zip(answers, requests, strict=True):
        check_problem(answer, codes, hidden)


def is_live_not_ready(vault: Server) -> None:
    assert httpx2.get(vault.url + "/healthz", timeout=30.0).status_code == 200
    ready = httpx2.get(vault.url + "/readyz", timeout=30.0)
    assert ready.status_code == 503
    assert ready.json()["status"] == "not ready"


def recovers(vault: Server, stored: Stored) -> None:
    """The stored value is read, new ones are stored, and the vault says that it is ready."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while (answer := reveal(stored.caller, stored.token)).status_code != 200:
        assert answer.status_code == 503
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    assert answer.json()["items"][0]["value"] == stored.value
    values = fresh(20)
    tokens = stored.caller.tokenize("pan", values)
    shown = stored.caller.detokenize(tokens, PURPOSE).json()["items"]
    assert [item["value"] for item in shown] == values
    vault.wait("/readyz", 200)
    assert not unrecorded(vault)
