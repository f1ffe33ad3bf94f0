"""``Idempotency-Key`` on ``/v1/tokenize``."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from tests.calling import Caller
from tests.serving import Server
from tests.synthetic import cards


def _ask(caller: Caller, key: str, values: list[str], data_class: str = "free_text") -> Any:
    items = [{"data_class": data_class, "value": v, "reference": f"r{v[-3:]}"} for v in values]
    return caller.post("/v1/tokenize", {"items": items}, headers={"Idempotency-Key": key})


def test_a_repeat_gets_the_first_answer(server: Server) -> None:
    """Free text has no one token a value, so equal tokens are the kept answer."""
    tester = server.caller("load-tester")
    first = _ask(tester, "repeat-1", ["one", "two"])
    again = _ask(server.caller("load-tester"), "repeat-1", ["one", "two"])
    assert first.status_code == again.status_code == 200
    assert again.json()["items"] == first.json()["items"]
    assert again.json()["receipt"] == first.json()["receipt"]
    assert again.json()["request_id"] != first.json()["request_id"]
    token = first.json()["items"][0]["token"]
    events = server.caller("auditor").events(token=token)
    assert len(events) == 2, "the repeat is recorded as well"
    assert events[0]["detail"]["repeat_of"] == first.json()["receipt"]["event_id"]


def test_a_repeat_tells_the_same_failures(server: Server) -> None:
    checkout = server.caller("checkout")
    values = [*cards(1, seed=21), "4111111111111112"]
    first = _ask(checkout, "repeat-2", values, "pan")
    again = _ask(checkout, "repeat-2", values, "pan")
    assert first.status_code == again.status_code == 207
    assert again.json()["items"] == first.json()["items"]


def test_another_body_under_the_same_key_is_refused(server: Server) -> None:
    tester = server.caller("load-tester")
    assert _ask(tester, "other-body", ["one"]).status_code == 200
    answer = _ask(tester, "other-body", ["two"])
    assert answer.status_code == 422
    assert answer.json()["code"] == "idempotency_conflict"


def test_the_same_key_of_another_principal_is_another_key(server: Server) -> None:
    first = _ask(server.caller("load-tester"), "shared", ["one"])
    second = _ask(server.caller("warehouse-loader"), "shared", ["one"])
    assert first.status_code == second.status_code == 200
    assert first.json()["items"][0]["token"] != second.json()["items"][0]["token"]


def test_a_request_that_failed_as_a_whole_gives_its_key_back(server: Server) -> None:
    checkout = server.caller("checkout")
    assert _ask(checkout, "retry", ["4111111111111112"], "pan").status_code == 422
    assert _ask(checkout, "retry", cards(1, seed=22), "pan").status_code == 200


def test_after_a_day_a_key_is_free(server: Server) -> None:
    tester = server.caller("load-tester")
    first = _ask(tester, "a-day", ["one"])
    age = "UPDATE strongroom.idempotency SET created_at = created_at - interval '{}'"
    key = " WHERE key = 'a-day'"
    server.query(age.format("23 hours 55 minutes") + key)
    assert _ask(tester, "a-day", ["one"]).json()["items"] == first.json()["items"]
    server.query(age.format("5 minutes") + key)
    later = _ask(tester, "a-day", ["one"])
    assert later.status_code == 200
    assert later.json()["items"][0]["token"] != first.json()["items"][0]["token"]


def _held_up(server: Server, key: str) -> tuple[Any, Any]:
    """The answers to a request that is held up in the database, and to its repeat."""
    first, second = server.caller("load-tester"), server.caller("load-tester")
    second.get("/v1/whoami")
    with (
        contextlib.closing(psycopg.connect(server.superuser_url)) as tables,
        ThreadPoolExecutor(1) as thread,
    ):
        tables.execute("LOCK TABLE strongroom.tokens IN EXCLUSIVE MODE")
        answer = thread.submit(_ask, first, key, ["one"])
        claimed = "SELECT 1 FROM strongroom.idempotency WHERE key = %s"
        while not (server.query(claimed, key) or answer.done()):
            time.sleep(0.01)
        repeated = _ask(second, key, ["one"])
        tables.rollback()
        return answer.result(), repeated


def test_a_concurrent_repeat_waits_its_turn(server: Server) -> None:
    for attempt in range(10):
        key = f"busy-{attempt}"
        first, second = _held_up(server, key)
        if first.status_code == 200:
            break
        # A lock is waited for five seconds at most, which a busy machine may need.
        assert first.status_code == 503
    else:
        raise AssertionError("the first request was never answered in time")
    assert second.status_code == 409
    assert second.json()["code"] == "idempotency_conflict"
    assert int(second.headers["retry-after"]) >= 1
    third = _ask(server.caller("load-tester"), key, ["one"])
    assert third.json()["items"] == first.json()["items"]


def test_what_is_kept_of_an_answer_holds_no_value(server: Server) -> None:
    [value] = cards(1, seed=23)
    assert _ask(server.caller("checkout"), "kept", [value], "pan").status_code == 200
    rows = server.query(
        "SELECT request_digest, answer FROM strongroom.idempotency WHERE key = 'kept'"
    )
    [(digest, answer)] = rows
    assert len(digest) == 32
    assert value.encode() not in answer
    assert value[:6].encode() not in answer, "not even masked"
