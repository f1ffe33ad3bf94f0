"""Many callers who want the same thing at the same moment: one token a value, no error.

Two workers, each with transactions of its own, so that what is promised can only be
kept by the database.
"""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.calling import Caller
from tests.ledger import PURPOSE, recorded, unrecorded
from tests.serving import Serve, Server
from tests.soak import times
from tests.synthetic import cards

CALLERS = 64
VALUES = cards(500, seed=92)


@pytest.fixture(scope="module")
def vault(serve_module: Serve) -> Server:
    return serve_module(workers=2)


def _send(caller: Caller, items: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Tokenize; token and event by value. Nothing but a 200 will do."""
    answer = caller.post("/v1/tokenize", {"items": items})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    event_id = body["receipt"]["event_id"]
    return {
        item["value"]: (made["token"], event_id)
        for item, made in zip(items, body["items"], strict=True)
    }


def _together(vault: Server, batches: list[list[list[dict[str, Any]]]]) -> dict[str, str]:
    """Send each caller's batches, all callers at once; the token of every value, which
    all must agree on, each time recorded in the event that the answer named."""
    vault.key("load-tester")
    callers = [vault.caller("load-tester") for _ in batches]

    def work(number: int) -> list[dict[str, tuple[str, str]]]:
        return [_send(callers[number], items) for items in batches[number]]

    with ThreadPoolExecutor(len(batches)) as threads:
        answers = [made for each in threads.map(work, range(len(batches))) for made in each]
    tokens: dict[str, str] = {}
    events = recorded(vault)
    for answer in answers:
        for value, (token, event_id) in answer.items():
            assert tokens.setdefault(value, token) == token, "two tokens for one value"
            assert token in events[event_id]
    return tokens


def _rows(vault: Server, data_class: str) -> set[str]:
    found = vault.query(
        "SELECT token FROM strongroom.tokens WHERE data_class = %s ORDER BY 1", data_class
    )
    return {token for (token,) in found}


def _deadlocks(vault: Server) -> int:
    [(count,)] = vault.query(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = %s", vault.database
    )
    return int(count)


def test_64_callers_with_the_same_500_values(vault: Server) -> None:
    """Half of them in one batch each, half one value at a time, each in its own order."""
    batches: list[list[list[dict[str, Any]]]] = []
    for number in range(CALLERS):
        source = random.Random(number)
        order = source.sample(VALUES, len(VALUES))
        items = [{"data_class": "pan", "value": value} for value in order]
        batches.append([items] if number % 2 else [[item] for item in items[: times(40, 500)]])
    tokens = _together(vault, batches)
    assert set(tokens) == set(VALUES)
    assert len(set(tokens.values())) == len(VALUES)
    assert _rows(vault, "pan") == set(tokens.values()), "one row for each value"
    assert _deadlocks(vault) == 0
    assert not unrecorded(vault)
    shown = vault.caller("load-tester").detokenize([tokens[value] for value in VALUES], PURPOSE)
    assert [item["value"] for item in shown.json()["items"]] == VALUES


def test_callers_who_add_subjects_and_time_to_the_same_values(vault: Server) -> None:
    """Rows that are there already are changed by many at once, in any order."""
    values = cards(60, seed=93)
    batches: list[list[list[dict[str, Any]]]] = []
    for number in range(CALLERS):
        source = random.Random(number)
        items = [
            {
                "data_class": "pan_unverified",
                "value": value,
                "subject": f"cus_{source.randrange(40)}",
                "tags": {"region": source.choice(("eu", "us"))},
                "expires_in": source.randrange(3600, 9000),
            }
            for value in source.sample(values, len(values))
        ]
        batches.append([items[at : at + 12] for at in range(0, len(items), 12)])
    expected = {
        (item["value"], item["subject"]) for each in batches for part in each for item in part
    }
    tokens = _together(vault, batches)
    assert _rows(vault, "pan_unverified") == set(tokens.values())
    found = vault.query(
        "SELECT token, subject FROM strongroom.tokens WHERE data_class = 'pan_unverified'"
        " UNION ALL SELECT token, subject FROM strongroom.token_subjects"
    )
    assert len(found) == len(set(found)), "a subject stands once at a token"
    assert set(found) == {(tokens[value], subject) for value, subject in expected}
    latest = vault.query(
        "SELECT count(*) FROM strongroom.tokens WHERE data_class = 'pan_unverified'"
        " AND expires_at - created_at < interval '7200 seconds'"
    )
    assert latest == [(0,)], "the latest expiry of 64 draws holds"
    assert _deadlocks(vault) == 0
    assert not unrecorded(vault)


def test_principals_whose_reveals_draw_on_budgets_at_once(vault: Server) -> None:
    """Reveals of several principals share commits; their counters are locked in one order."""
    tokens = vault.caller("load-tester").tokenize("pan", VALUES[:50])
    phones = vault.caller("load-tester").tokenize("phone", ["+442071838750"])
    askers = (
        ("chargeback-service", "chargeback", tokens),
        ("checkout", "customer_support", tokens),
        ("support-agent", "customer_support", tokens + phones),
    )
    for name, _, _ in askers:
        vault.key(name)
    callers = [vault.caller(askers[number % 3][0]) for number in range(30)]

    def reveal(number: int) -> list[int]:
        name, purpose, own = askers[number % 3]
        form = "plain" if name == "chargeback-service" else "masked"
        source = random.Random(number)
        return [
            callers[number].detokenize([source.choice(own)], purpose, form).status_code
            for _ in range(12)
        ]

    with ThreadPoolExecutor(len(callers)) as threads:
        statuses = [status for each in threads.map(reveal, range(len(callers))) for status in each]
    assert set(statuses) == {200}
    used = dict(
        vault.query(
            "SELECT principal, sum(used)::int FROM strongroom.budget_usage"
            " WHERE kind = 'tokens_per_hour' GROUP BY principal"
        )
    )
    assert used == {name: 120 for name, _, _ in askers}
    assert _deadlocks(vault) == 0
