"""One event a request, whatever the request and whichever worker served it (PCI-DSS 10.2.1).

Four worker processes, many callers at once, requests of every kind and end, each under an
id of its caller's own: in the table and in an export of the log each is found exactly once.
"""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.calling import Caller
from tests.requests_made import RequestsMade, exported, recorded
from tests.serving import Serve, Server
from tests.soak import times
from tests.synthetic import cards

CALLERS = 24
EACH = times(40, 1000)


@pytest.fixture(scope="module")
def vault(serve_module: Serve) -> Server:
    return serve_module(workers=4)


class _Caller:
    """One client of several principals, and its kinds of requests."""

    def __init__(self, vault: Server, made: RequestsMade, number: int, values: list[str]) -> None:
        self._source = random.Random(number)
        self._made = made
        self._values = values
        self._tokens: list[str] = []
        self._loader = vault.caller("load-tester")
        self._merchant = vault.caller("other-merchant")
        self._agent = vault.caller("support-agent")
        self.kinds: Counter[str] = Counter()

    def work(self, count: int) -> None:
        self._tokenize()
        for _ in range(count - 1):
            self._source.choice(
                (
                    self._tokenize,
                    self._tokenize_for_another_tenant,
                    self._detokenize,
                    self._lookup,
                    self._be_denied,
                    self._ask_for_an_unknown_token,
                    self._send_an_unusable_value,
                    self._send_no_json,
                    self._describe,
                )
            )()

    def _send(self, caller: Caller, path: str, body: object, expected: int) -> httpx2.Response:
        request_id = self._made.new_id()
        answer = caller.post(path, body, headers={"X-Request-Id": request_id})
        assert answer.headers["x-request-id"] == request_id
        assert answer.status_code == expected, answer.text
        self._made.keep(request_id, answer)
        self.kinds[f"{path} {expected}"] += 1
        return answer

    def _items(self) -> dict[str, object]:
        count = self._source.choice((1, 1, 5))
        values = self._source.sample(self._values, count)
        return {"items": [{"data_class": "pan", "value": value} for value in values]}

    def _tokenize(self) -> None:
        answer = self._send(self._loader, "/v1/tokenize", self._items(), 200)
        self._tokens += [item["token"] for item in answer.json()["items"]]

    def _tokenize_for_another_tenant(self) -> None:
        self._send(self._merchant, "/v1/tokenize", self._items(), 200)

    def _detokenize(self) -> None:
        items = [{"token": self._source.choice(self._tokens), "form": "plain"}]
        body = {"purpose": "data_quality", "items": items}
        self._send(self._loader, "/v1/detokenize", body, 200)

    def _lookup(self) -> None:
        body = {"data_class": "pan", "value": self._source.choice(self._values)}
        self._send(self._loader, "/v1/lookup", body, 200)

    def _be_denied(self) -> None:
        items = [{"token": self._source.choice(self._tokens), "form": "plain"}]
        body = {"purpose": "customer_support", "items": items}
        self._send(self._agent, "/v1/detokenize", body, 403)

    def _ask_for_an_unknown_token(self) -> None:
        items = [{"token": "tok_pan_00000000000000000000000000x"}]
        body = {"purpose": "data_quality", "items": items}
        self._send(self._loader, "/v1/detokenize", body, 404)

    def _send_an_unusable_value(self) -> None:
        body = {"items": [{"data_class": "pan", "value": "1234"}]}
        self._send(self._loader, "/v1/tokenize", body, 422)

    def _send_no_json(self) -> None:
        self._send(self._loader, "/v1/tokenize", b'{"items": [', 400)

    def _describe(self) -> None:
        request_id = self._made.new_id()
        token = self._source.choice(self._tokens)
        path, headers = f"/v1/tokens/{token}", {"X-Request-Id": request_id}
        answer = self._loader.get(path, headers=headers)
        assert answer.status_code == 200, answer.text
        self._made.keep(request_id, answer)
        self.kinds["/v1/tokens 200"] += 1


def test_every_request_has_its_event_once(
    vault: Server, tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    made = RequestsMade("count")
    values = cards(2_000, seed=104)
    callers = [_Caller(vault, made, number, values) for number in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as threads:
        for done in [threads.submit(caller.work, EACH) for caller in callers]:
            done.result()
    kinds: Counter[str] = sum((caller.kinds for caller in callers), Counter())
    record_testsuite_property("event_counts", dict(kinds))
    assert len(made.answered) == CALLERS * EACH == sum(kinds.values())
    assert not made.unanswered
    assert len(kinds) == 8, "every kind of request was made"
    bundle = tmp_path / "bundle.ndjson"
    key = vault.caller("auditor").get("/v1/audit/key").text.strip()
    vault.command("audit", "export", "-o", str(bundle))
    for found in (recorded(vault, "count"), exported(bundle, "count")):
        assert sum(map(len, found.values())) == len(made.answered), "one event a request"
        assert set(found) == set(made.answered), "and each under its id"
        for request_id, event_id in made.acknowledged.items():
            assert found[request_id] == [event_id], "which is the one that the receipt names"
    vault.command("audit", "verify", str(bundle), "--key", key)
