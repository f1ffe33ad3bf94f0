"""Reveal budgets over HTTP: many workers together never reveal more."""

import time
from concurrent.futures import ThreadPoolExecutor

from tests.serving import Serve, Server
from tests.synthetic import cards


def _let_the_hour_begin() -> None:
    """Budgets are of the clock's hours and days: none ends in the next three minutes."""
    left = 3600 - time.time() % 3600
    if left < 180:
        time.sleep(left + 1)


def _revealed(server: Server, batches: list[list[str]]) -> tuple[int, list[int]]:
    """Reveal the batches from eight connections at once: tokens shown, and statuses."""

    def reveal(batch: list[str]) -> tuple[int, int]:
        caller = server.caller("chargeback-service")
        answer = caller.detokenize(batch, "chargeback")
        if answer.status_code != 200:
            assert answer.status_code == 429
            assert answer.json()["code"] == "budget_exceeded"
            assert 1 <= int(answer.headers["retry-after"]) <= 24 * 3600
            assert "value" not in {key for i in answer.json().get("items", []) for key in i}
            return answer.status_code, 0
        return 200, len(answer.json()["items"])

    _let_the_hour_begin()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(reveal, batches))
    return sum(count for _, count in found), [status for status, _ in found]


def test_a_thousand_tokens_an_hour_and_not_one_more(serve: Serve) -> None:
    server = serve(workers=2)
    tokens = server.caller("warehouse-loader").tokenize("pan", cards(1200, seed=51))
    server.key("chargeback-service")
    batches = [tokens[at : at + 25] for at in range(0, 1200, 25)]
    shown, statuses = _revealed(server, batches)
    assert shown == 1000
    assert statuses.count(429) == 8
    auditor = server.caller("auditor")
    events = auditor.events(principal="chargeback-service", action="detokenize")
    assert len(events) == 48
    told = [t for e in events if e["outcome"] == "ok" for g in e["groups"] for t in g["tokens"]]
    assert len(told) == 1000, "what was counted was recorded"
    refused = [e for e in events if e["outcome"] == "denied"]
    assert len(refused) == 8
    for event in refused:
        assert event["purpose"] == "chargeback"
        assert len(event["groups"][0]["tokens"]) == 25
        assert event["groups"][0]["code"] == "budget_exceeded"


def test_distinct_subjects_a_day(serve: Serve) -> None:
    """500 subjects: a subject who was seen today costs nothing again."""
    server = serve(workers=2)
    loader, values = server.caller("warehouse-loader"), cards(600, seed=52)
    items = [
        {"data_class": "pan", "value": value, "subject": f"cus_{number}"}
        for number, value in enumerate(values)
    ]
    made = loader.post("/v1/tokenize", {"items": items}).json()["items"]
    tokens = [item["token"] for item in made]
    server.key("chargeback-service")
    shown, statuses = _revealed(server, [tokens[at : at + 20] for at in range(0, 600, 20)])
    assert shown == 500
    assert statuses.count(429) == 5
    seen = [
        token
        for event in server.caller("auditor").events(action="detokenize", outcome="ok")
        for group in event["groups"]
        for token in group["tokens"]
    ]
    service = server.caller("chargeback-service")
    assert service.detokenize(seen[:100], "chargeback").status_code == 200
    unseen = next(token for token in tokens if token not in set(seen))
    assert service.detokenize([unseen], "chargeback").status_code == 429
