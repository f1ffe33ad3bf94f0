"""The blocking client against a server that fails on purpose."""

import logging
from collections.abc import Iterator

import pytest

from tests.fakes.scripted_server import DROP, Reply, ScriptedServer, problem
from tests.fakes.vault_over_http import MemoryVault
from vault_service.client import (
    BatchError,
    Client,
    Code,
    Credentials,
    DetokenizeItem,
    RequestRefused,
    Retry,
    TokenizeItem,
    UnexpectedAnswer,
)

KEY = "srk_not_a_real_key"
FAST = Retry(first=0.001, longest=0.002, deadline=10.0)


@pytest.fixture
def vault(server: ScriptedServer) -> Iterator[Client]:
    with Client(server.url, KEY, retry=FAST) as client:
        yield client


def _keys(server: ScriptedServer) -> list[str]:
    return [seen.headers["idempotency-key"] for seen in server.seen]


def test_tokens_come_back_in_order_and_resolve(vault: Client) -> None:
    values = [f"value-{number}" for number in range(2500)]
    tokens = vault.tokenize("email", values)
    assert len(set(tokens)) == 2500
    plain = vault.detokenize(tokens[::-1], purpose="chargeback", form="plain", case="CB-1")
    assert plain == values[::-1]


def test_detokenize_is_masked_unless_asked(vault: Client, server: ScriptedServer) -> None:
    tokens = vault.tokenize("email", ["someone"])
    assert vault.detokenize(tokens, purpose="chargeback") == ["****"]
    assert server.seen[-1].json == {"purpose": "chargeback", "items": [{"token": tokens[0]}]}


def test_requests_hold_what_the_contract_names(vault: Client, server: ScriptedServer) -> None:
    vault.tokenize(
        "email",
        ["one", "two"],
        subjects=["cus_1", None],
        tags={"region": "eu"},
        references=["r1", "r2"],
        expires_in=60,
        mode="atomic",
    )
    shared = {"data_class": "email", "tags": {"region": "eu"}, "expires_in": 60}
    assert server.seen[0].json == {
        "mode": "atomic",
        "items": [
            {"value": "one", "reference": "r1", "subject": "cus_1", **shared},
            {"value": "two", "reference": "r2", **shared},
        ],
    }
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.seen[0].headers["user-agent"].startswith("strongroom-client/")


def test_large_calls_are_split_by_count_and_run_side_by_side(server: ScriptedServer) -> None:
    with Client(server.url, KEY, batch_size=10, concurrency=3, retry=FAST) as vault:
        vault.tokenize("email", [str(number) for number in range(95)])
    assert [len(seen.json["items"]) for seen in server.seen].count(10) == 9
    assert len(server.seen) == 10
    assert len(set(_keys(server))) == 10
    assert 1 <= server.most_running <= 3


def test_large_calls_are_split_by_bytes(vault: Client, server: ScriptedServer) -> None:
    vault.tokenize("free_text", ["x" * 6_000_000] * 5)
    assert sorted(len(seen.json["items"]) for seen in server.seen) == [1, 2, 2]
    assert all(len(seen.body) <= 16 * 1024 * 1024 for seen in server.seen)


def test_what_cannot_be_sent_fails_alone(vault: Client, server: ScriptedServer) -> None:
    items = [TokenizeItem("email", text) for text in ("ok", "\ud800", "x" * 17_000_000)]
    result = vault.tokenize_items(items)
    assert [item.error.code if item.error else None for item in result.items] == [
        None,
        "invalid_value",
        "payload_too_large",
    ]
    assert len(server.seen[0].json["items"]) == 1


def test_atomic_calls_are_never_split(vault: Client, server: ScriptedServer) -> None:
    with pytest.raises(ValueError, match="atomic"):
        vault.tokenize("free_text", ["x" * 9_000_000] * 2, mode="atomic")
    result = vault.tokenize_items(
        [TokenizeItem("email", "ok"), TokenizeItem("email", "\ud800")], mode="atomic"
    )
    assert result.ok == 0
    assert server.seen == []


@pytest.mark.parametrize(
    "fault",
    [
        DROP,
        problem(429, "rate_limited"),
        problem(503, "database_unavailable", retry_after=0),
        Reply(502, media_type="text/html", content=b"<html>bad gateway</html>"),
        Reply(504, media_type="text/html", content=b""),
        problem(409, "idempotency_conflict"),
    ],
)
def test_passing_failures_are_repeated_under_the_same_key(
    server: ScriptedServer, vault: Client, fault: Reply
) -> None:
    server.faults += [fault, fault]
    assert len(vault.tokenize("email", ["someone"])) == 1
    assert len(server.seen) == 3
    assert len(set(_keys(server))) == 1
    assert len({seen.body for seen in server.seen}) == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (problem(403, "access_denied"), Code.ACCESS_DENIED),
        (problem(422, "idempotency_conflict"), Code.IDEMPOTENCY_CONFLICT),
        (problem(413, "payload_too_large"), Code.PAYLOAD_TOO_LARGE),
        (problem(500, "internal"), Code.INTERNAL),
        (problem(429, "budget_exceeded"), Code.BUDGET_EXCEEDED),
    ],
)
def test_lasting_failures_are_raised_at_once(
    server: ScriptedServer, vault: Client, fault: Reply, code: Code
) -> None:
    server.faults.append(fault)
    with pytest.raises(RequestRefused) as caught:
        vault.tokenize("email", ["someone"])
    assert caught.value.code == code
    assert caught.value.request_id == "req-1"
    assert len(server.seen) == 1


def test_tries_are_bounded(server: ScriptedServer, vault: Client) -> None:
    server.faults += [problem(503, "key_unavailable")] * 20
    with pytest.raises(RequestRefused, match="key_unavailable"):
        vault.detokenize(["tok_a"], purpose="chargeback")
    assert len(server.seen) == FAST.attempts


def test_a_wait_past_the_deadline_is_not_begun(server: ScriptedServer, vault: Client) -> None:
    server.faults.append(problem(429, "budget_exceeded", retry_after=3600))
    with pytest.raises(RequestRefused) as caught:
        vault.detokenize(["tok_a"], purpose="chargeback")
    assert caught.value.retry_after == 3600
    assert len(server.seen) == 1


def test_a_partial_answer_is_completed(server: ScriptedServer) -> None:
    memory = MemoryVault()
    memory.busy = {"b", "d"}
    server.handler = memory
    with Client(server.url, KEY, retry=FAST) as vault:
        tokens = vault.tokenize("email", ["a", "b", "c", "d"])
    assert [memory.values[token][1] for token in tokens] == ["a", "b", "c", "d"]
    assert [item["value"] for item in server.seen[1].json["items"]] == ["b", "d"]
    # Fewer items under the first key would be another body.
    assert len(set(_keys(server))) == 2


def test_a_repeat_with_its_own_key_gives_the_same_tokens(server: ScriptedServer) -> None:
    memory = MemoryVault()
    memory.busy = {"7"}
    server.handler = memory
    values = [str(number) for number in range(25)]
    with Client(server.url, KEY, batch_size=10, retry=FAST) as vault:
        first = vault.tokenize("free_text", values, idempotency_key="import-1")
        assert vault.tokenize("free_text", values, idempotency_key="import-1") == first
        assert vault.tokenize("free_text", values, idempotency_key="import-2") != first


def test_failed_items_are_raised_with_the_rest(vault: Client) -> None:
    with pytest.raises(BatchError) as caught:
        vault.tokenize("email", ["one", "bad-secret", "two"], references=["x", "y", "z"])
    error = caught.value
    assert [(f.index, f.reference, f.code) for f in error.failures] == [(1, "y", "invalid_value")]
    assert [bool(token) for token in error.results] == [True, False, True]
    assert "secret" not in str(error) + repr(error)


def test_a_problem_with_items_is_read_as_items(vault: Client) -> None:
    result = vault.tokenize_items([TokenizeItem("email", "bad-1"), TokenizeItem("email", "bad-2")])
    assert (result.ok, result.failed) == (0, 2)
    error = result.items[1].error
    assert error is not None
    assert (error.code, error.rule) == ("invalid_value", "shape")


def test_budget_refusals_of_items_are_not_hammered(server: ScriptedServer, vault: Client) -> None:
    def over_budget(seen: object) -> Reply:
        error = {"code": "budget_exceeded", "detail": "…", "retryable": True}
        failed = {"index": 0, "status": "error", "error": error}
        return Reply(207, {"items": [failed, {"index": 1, "status": "ok", "value": "v"}]})

    server.handler = over_budget
    items = [DetokenizeItem("tok_a", "plain"), DetokenizeItem("tok_b", "plain")]
    result = vault.detokenize_items(items, purpose="chargeback")
    assert (result.ok, result.failed, len(server.seen)) == (1, 1, 1)


@pytest.mark.parametrize(
    "strange",
    [
        Reply(200, {"hello": "world"}),
        Reply(200, {"items": []}),
        Reply(200, media_type="text/html", content=b"<html>"),
        Reply(302, headers={"Location": "https://elsewhere.invalid/"}),
        Reply(404, media_type="text/html", content=b"<html>"),
    ],
)
def test_answers_of_something_else_are_refused(
    server: ScriptedServer, vault: Client, strange: Reply
) -> None:
    server.faults.append(strange)
    with pytest.raises(UnexpectedAnswer):
        vault.tokenize("email", ["someone"])


def test_the_other_routes(vault: Client) -> None:
    token = vault.tokenize("email", ["known"])[0]
    assert vault.lookup("email", "known") == token
    assert vault.lookup("email", "unknown") is None
    assert vault.describe(token).data_class == "email"
    assert vault.catalog().data_classes["email"].deterministic
    assert vault.whoami().tenant == "main"
    assert vault.explain("tokenize", "email").allowed
    assert [event["id"] for event in vault.audit_events(limit=2)] == [
        f"evt_{number}" for number in range(6)
    ]
    vault.delete(token)
    with pytest.raises(RequestRefused, match="not_found"):
        vault.delete(token)


def test_a_deletion_whose_answer_was_lost_is_done(server: ScriptedServer, vault: Client) -> None:
    token = vault.tokenize("email", ["known"])[0]
    handler = server.handler

    def delete_then_drop(seen: object) -> Reply:
        handler(seen)  # type: ignore[arg-type]
        return DROP

    server.faults.append(delete_then_drop)
    vault.delete(token)


def test_one_text_is_not_a_list(vault: Client, server: ScriptedServer) -> None:
    with pytest.raises(TypeError, match="not one text"):
        vault.tokenize("pan", "4111111111111111")
    with pytest.raises(TypeError, match=r"values\[1\] must be str, not int") as caught:
        vault.tokenize("pan", ["x", 4111111111111111])  # type: ignore[list-item]
    assert "4111" not in str(caught.value)
    with pytest.raises(ValueError, match="subjects has 1 entries for 2 values"):
        vault.tokenize("pan", ["x", "y"], subjects=["cus_1"])
    with pytest.raises(TypeError, match="unknown audit filters: color"):
        list(vault.audit_events(color="red"))
    assert server.seen == []


def test_nothing_shows_values_or_credentials(
    vault: Client, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    item = TokenizeItem("email", "canary-value")
    result = vault.tokenize_items([item])
    token = result.items[0].token
    assert token is not None
    revealed = vault.detokenize_items([DetokenizeItem(token, "plain")], purpose="chargeback")
    assert revealed.items[0].value == "canary-value"
    server.faults.append(problem(403, "access_denied"))
    with pytest.raises(RequestRefused) as caught:
        vault.tokenize("email", ["canary-value"])
    shown = [repr(item), repr(result), repr(revealed), repr(vault), repr(Credentials(KEY))]
    shown += [str(revealed.items[0].__rich_repr__()), str(caught.value), caplog.text]
    assert not [text for text in shown if "canary-value" in text or KEY in text or "****" in text]
