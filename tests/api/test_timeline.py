"""``/v1/subjects/{id}/timeline``: who handled one person's data, and no one else's."""

from typing import Any

import pytest

from tests.calling import Caller
from tests.serving import Serve, Server
from tests.synthetic import cards
from vault_service.adapters.postgres.audit import subject_term

FIELDS = {
    *("event_id", "time", "principal", "action", "outcome", "purpose", "case", "forms"),
    *("data_classes", "tokens", "policies", "request_id"),
}


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module()


def timeline(caller: Caller, subject: str, **query: Any) -> list[dict[str, Any]]:
    answer = caller.get(f"/v1/subjects/{subject}/timeline", params=query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"subject", "entries", "next_cursor", "request_id", "receipt"}
    assert body["subject"] == subject
    assert body["next_cursor"] is None
    entries: list[dict[str, Any]] = body["entries"]
    assert all(set(entry) == FIELDS for entry in entries)
    return entries


def test_who_saw_what_when_why_and_by_which_policy(server: Server) -> None:
    checkout, service = server.caller("checkout"), server.caller("chargeback-service")
    auditor = server.caller("auditor")
    [token] = checkout.tokenize("pan", cards(1, seed=1), subject="cus_1")
    shown = service.detokenize([token], "chargeback", case="CB-1")
    refused = service.detokenize([token], "payout")
    checkout.get(f"/v1/tokens/{token}")
    described, denied, revealed, made = timeline(auditor, "cus_1")
    assert revealed == {
        "event_id": shown.json()["receipt"]["event_id"],
        "time": auditor.events(subject="cus_1", action="detokenize", outcome="ok")[0]["time"],
        "principal": "chargeback-service",
        "action": "detokenize",
        "outcome": "ok",
        "purpose": "chargeback",
        "case": "CB-1",
        "forms": ["plain"],
        "data_classes": ["pan"],
        "tokens": [token],
        "policies": ["disputes-reveal-pan"],
        "request_id": shown.headers["x-request-id"],
    }
    assert (denied["outcome"], denied["purpose"], denied["policies"]) == ("denied", "payout", [])
    assert denied["request_id"] == refused.headers["x-request-id"]
    assert (made["principal"], made["action"], made["forms"]) == ("checkout", "tokenize", [])
    assert (described["action"], described["tokens"]) == ("describe_token", [token])


def test_of_a_batch_only_what_is_this_persons(server: Server) -> None:
    """One request about several people: the others' tokens, classes, forms and ends are
    not this person's."""
    auditor, admin = server.caller("auditor"), server.caller("vault-admin")
    checkout, tester = server.caller("checkout"), server.caller("load-tester")
    values = cards(3, seed=2)
    mine, other, nobodys = checkout.post(
        "/v1/tokenize",
        {
            "items": [
                {"data_class": "pan", "value": values[0], "subject": "cus_2"},
                {"data_class": "pan", "value": values[1], "subject": "cus_2b"},
                {"data_class": "pan", "value": values[2]},
            ]
        },
    ).json()["items"]
    [name] = server.caller("crm").tokenize("person_name", ["Ada Test"], subject="cus_2b")
    tokens = [item["token"] for item in (mine, other, nobodys)]
    # The middle person's token is shown in another form, their name in a class of its own.
    items = [
        {"token": tokens[0], "form": "plain"},
        {"token": tokens[1], "form": "last4"},
        {"token": tokens[2], "form": "plain"},
        {"token": name, "form": "no-such-form"},
        {"token": "tok_unknown"},
    ]
    answer = tester.post("/v1/detokenize", {"purpose": "data_quality", "items": items})
    assert answer.status_code == 207
    revealed, made = timeline(auditor, "cus_2")
    assert (revealed["outcome"], revealed["forms"]) == ("ok", ["plain"])
    assert (revealed["tokens"], revealed["data_classes"]) == ([tokens[0]], ["pan"])
    assert made["tokens"] == [tokens[0]]
    assert timeline(auditor, "cus_2b")[0]["forms"] == ["last4"]
    # Also when the token is gone and only the log still knows whose it was.
    assert admin.delete(f"/v1/tokens/{tokens[0]}").status_code == 204
    deleted, *before = timeline(auditor, "cus_2")
    assert deleted["action"] == "delete_token"
    assert before == [revealed, made]
    assert [entry["tokens"] for entry in timeline(auditor, "cus_2b")[:1]] == [[tokens[1]]]


def test_reveals_before_the_vault_knew_whose_it_is_and_by_a_shared_value(server: Server) -> None:
    """Events name the subject that the token had then, and one of several at most."""
    checkout, service = server.caller("checkout"), server.caller("chargeback-service")
    auditor = server.caller("auditor")
    value = cards(1, seed=3)
    [token] = checkout.tokenize("pan", value)
    service.detokenize([token], "chargeback")
    assert timeline(auditor, "cus_3") == []
    assert checkout.tokenize("pan", value, subject="cus_3") == [token]
    assert checkout.tokenize("pan", value, subject="cus_3b") == [token]
    service.detokenize([token], "chargeback", form="masked")
    for subject in ("cus_3", "cus_3b"):
        entries = timeline(auditor, subject)
        assert [entry["action"] for entry in entries] == [
            *("detokenize", "tokenize", "tokenize", "detokenize", "tokenize")
        ]
        assert [entry["forms"] for entry in entries if entry["forms"]] == [["masked"], ["plain"]]
        assert all(entry["tokens"] == [token] for entry in entries)


def test_a_person_of_the_same_id_in_another_tenant_is_another(server: Server) -> None:
    merchant = server.caller("other-merchant")
    merchant.tokenize("pan", cards(1, seed=4), subject="cus_4")
    [token] = server.caller("checkout").tokenize("pan", cards(1, seed=4), subject="cus_4")
    [entry] = timeline(server.caller("auditor"), "cus_4")
    assert (entry["principal"], entry["tokens"]) == ("checkout", [token])


def test_people_whose_search_keys_collide_are_told_apart(server: Server) -> None:
    one, other = "cus_zutdocbjiv", "cus_xvmxlgbdlh"
    assert subject_term(one) == subject_term(other)
    checkout, auditor = server.caller("checkout"), server.caller("auditor")
    [token] = checkout.tokenize("pan", cards(1, seed=5), subject=one)
    [second] = checkout.tokenize("pan", cards(1, seed=6), subject=other)
    assert [entry["tokens"] for entry in timeline(auditor, one)] == [[token]]
    assert [entry["tokens"] for entry in timeline(auditor, other)] == [[second]]


def test_pages_join_without_gap_or_repeat(server: Server) -> None:
    checkout, auditor = server.caller("checkout"), server.caller("auditor")
    for value in cards(7, seed=7):
        checkout.tokenize("pan", [value], subject="cus_7")
    whole = timeline(auditor, "cus_7", limit=1000)
    assert len(whole) == 7
    for limit in (1, 3, 7):
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": limit}
        for _ in range(-(-7 // limit)):
            page = auditor.get("/v1/subjects/cus_7/timeline", params=query).json()
            found += page["entries"]
            query["cursor"] = page["next_cursor"]
        assert query["cursor"] is None
        assert found == whole
    assert timeline(auditor, "cus_7", cursor=0) == []


def test_every_reading_is_recorded_and_is_not_in_the_timeline(server: Server) -> None:
    auditor = server.caller("auditor")
    server.caller("checkout").tokenize("pan", cards(1, seed=8), subject="cus_8")
    read = auditor.get("/v1/subjects/cus_8/timeline")
    refused = server.caller("support-agent").get("/v1/subjects/cus_8/timeline")
    assert refused.status_code == 403
    assert refused.json()["code"] == "access_denied"
    events = {event["id"]: event for event in auditor.events(action="read_audit")}
    event = events[read.json()["receipt"]["event_id"]]
    assert event["request_id"] == read.headers["x-request-id"]
    assert (event["principal"], event["outcome"], event["item_count"]) == ("auditor", "ok", 1)
    assert event["detail"] == {
        "policies": ["auditors-read-the-log"],
        "view": "timeline",
        "subject": "cus_8",
    }
    denied = events[refused.json()["receipt"]["event_id"]]
    assert (denied["principal"], denied["outcome"]) == ("support-agent", "denied")
    assert denied["detail"]["subject"] == "cus_8"
    assert len(timeline(auditor, "cus_8")) == 1


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("cus_9/timeline?limit=1001", 400, "invalid_request"),
        ("cus_9/timeline?limit=0", 400, "invalid_request"),
        ("cus_9/timeline?cursor=x", 400, "invalid_request"),
        ("cus_9/timeline?subject=cus_8", 400, "invalid_request"),
        ("x" * 257 + "/timeline", 400, "invalid_request"),
        ("a%00b/timeline", 400, "invalid_request"),
        ("4111111111111111/timeline", 422, "sensitive_value_in_metadata"),
        ("cus_4111-1111-1111-1111/timeline", 422, "sensitive_value_in_metadata"),
        ("cvv:123/timeline", 422, "sensitive_authentication_data"),
    ],
)
def test_what_cannot_be_asked_is_refused_unechoed(
    server: Server, path: str, status: int, code: str
) -> None:
    answer = server.caller("auditor").get(f"/v1/subjects/{path}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    event_id = answer.json()["receipt"]["event_id"]
    [event] = [e for e in server.caller("auditor").events(limit=5) if e["id"] == event_id]
    assert (event["action"], event["outcome"]) == ("read_audit", "failed")
    for text in ("4111", "cvv", "cus_8"):
        assert text not in answer.text
        assert text not in str({**event, "id": "", "time": "", "request_id": ""})
