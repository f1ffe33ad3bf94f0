"""``/v1/audit/events``: one event a request, found by whatever one knows of it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.calling import Caller
from tests.serving import Serve, Server
from tests.synthetic import cards
from vault_service.domain.tokens import new_opaque


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    """A log of this module alone, so that what is counted here is what was done here."""
    return serve_module()


def _of(auditor: Caller, request_id: str) -> list[dict[str, Any]]:
    return [event for event in auditor.events() if event["request_id"] == request_id]


def test_every_request_has_exactly_one_event_with_its_tokens(server: Server) -> None:
    checkout, service = server.caller("checkout"), server.caller("chargeback-service")
    admin, auditor = server.caller("vault-admin"), server.caller("auditor")
    values = cards(3, seed=41)
    items = [{"data_class": "pan", "value": value, "subject": "cus_41"} for value in values]
    made = checkout.post("/v1/tokenize", {"items": items})
    tokens = [item["token"] for item in made.json()["items"]]
    [unknown] = new_opaque("pan", 1)
    reveal = {"purpose": "chargeback", "case": "CB-41"}
    requests = [
        # answer, action, outcome, tokens that the event names
        (made, "tokenize", "ok", tokens),
        (checkout.post("/v1/tokenize", {"items": items}), "tokenize", "ok", tokens),
        (
            checkout.post("/v1/tokenize", {"items": [*items, {**items[0], "value": "1"}]}),
            "tokenize",
            "partial",
            tokens,
        ),
        (
            server.caller("crm").post("/v1/tokenize", {"items": items}),
            "tokenize",
            "denied",
            [],
        ),
        (checkout.post("/v1/tokenize", b"{"), "tokenize", "failed", []),
        (service.detokenize(tokens, **reveal), "detokenize", "ok", tokens),
        (service.detokenize([*tokens, unknown], **reveal), "detokenize", "partial", tokens),
        (service.detokenize(tokens, "payout"), "detokenize", "denied", tokens),
        (service.detokenize([unknown], **reveal), "detokenize", "failed", []),
        (
            service.post("/v1/detokenize", {"items": [{"token": tokens[0]}]}),
            "detokenize",
            "denied",
            [],
        ),
        (
            checkout.post("/v1/lookup", {"data_class": "pan", "value": values[0]}),
            "lookup",
            "ok",
            tokens[:1],
        ),
        (
            service.post("/v1/lookup", {"data_class": "pan", "value": values[0]}),
            "lookup",
            "denied",
            [],
        ),
        (checkout.get(f"/v1/tokens/{tokens[0]}"), "describe_token", "ok", tokens[:1]),
        (checkout.delete(f"/v1/tokens/{tokens[0]}"), "delete_token", "denied", tokens[:1]),
        (admin.delete(f"/v1/tokens/{tokens[2]}"), "delete_token", "ok", tokens[2:]),
        (checkout.get("/v1/audit/events"), "read_audit", "denied", []),
        (auditor.get("/v1/audit/events"), "read_audit", "ok", []),
        (auditor.get("/v1/audit/events?limit=1001"), "read_audit", "failed", []),
    ]
    for answer, action, outcome, named in requests:
        found = _of(auditor, answer.headers["x-request-id"])
        assert len(found) == 1, (action, outcome, answer.text)
        [event] = found
        assert (event["action"], event["outcome"]) == (action, outcome)
        groups = event.get("groups", [])
        told = [token for group in groups for token in group.get("tokens", [])]
        assert sorted(told) == sorted(named)
        if answer.status_code not in (204,) and action != "read_audit":
            body = answer.json()
            if "receipt" in body:
                assert body["receipt"]["event_id"] == event["id"]
    by_token = auditor.events(token=tokens[1])
    assert len(by_token) == 6
    assert [event["case"] for event in by_token if "case" in event] == ["CB-41", "CB-41"]


def test_no_event_holds_a_value(server: Server) -> None:
    values = cards(2, seed=42)
    tokens = server.caller("checkout").tokenize("pan", values)
    server.caller("chargeback-service").detokenize(tokens, "chargeback")
    log = b"".join(
        bytes(row[0]) for row in server.query("SELECT body FROM strongroom.audit_events")
    )
    for value in values:
        assert value.encode() not in log
        assert value[:6].encode() + b"*" not in log


def test_each_filter_alone_and_all_together(server: Server) -> None:
    checkout, service = server.caller("checkout"), server.caller("chargeback-service")
    auditor = server.caller("auditor")
    [token] = checkout.tokenize("pan", cards(1, seed=43), subject="cus_43")
    service.detokenize([token], "chargeback")
    service.detokenize([token], "payout")
    filters = {
        "principal": "chargeback-service",
        "action": "detokenize",
        "outcome": "denied",
        "data_class": "pan",
        "token": token,
        "subject": "cus_43",
        "purpose": "payout",
    }
    together = auditor.events(**filters)
    assert len(together) == 1
    for name, value in filters.items():
        found = auditor.events(**{name: value})
        assert together[0]["id"] in [event["id"] for event in found], name
        if name in ("principal", "action", "outcome", "purpose"):
            assert {event[name] for event in found} == {value}
        else:
            key = {"data_class": "data_class", "token": "tokens", "subject": "subjects"}[name]
            for event in found:
                assert any(
                    value == group.get(key) or value in group.get(key, ())
                    for group in event["groups"]
                )
        assert auditor.events(**{name: "nothing-of-this-name"}) == []


def test_from_is_included_and_to_is_not(server: Server) -> None:
    auditor = server.caller("auditor")
    [token] = server.caller("checkout").tokenize("pan", cards(1, seed=44))
    [event] = auditor.events(token=token)
    at = datetime.fromisoformat(event["time"])
    after = at + timedelta(microseconds=1)
    assert auditor.events(token=token, since=event["time"]) == [event]
    assert auditor.events(token=token, until=event["time"]) == []
    assert auditor.events(token=token, until=after.isoformat()) == [event]
    assert auditor.events(token=token, since=after.isoformat()) == []
    local = at.astimezone().isoformat()
    assert auditor.events(token=token, since=local, until=after.isoformat()) == [event]


@pytest.mark.parametrize("filters", [{}, {"subject": "cus_45"}, {"action": "tokenize"}])
def test_pages_join_without_gap_or_repeat(server: Server, filters: dict[str, str]) -> None:
    checkout, auditor = server.caller("checkout"), server.caller("auditor")
    for value in cards(7, seed=45):
        checkout.tokenize("pan", [value], subject="cus_45")
    until = auditor.events(action="tokenize", limit=1000)[0]["time"]
    whole = auditor.events(limit=1000, until=until, **filters)
    found: list[dict[str, Any]] = []
    query = {**filters, "to": until, "limit": "3"}
    for _ in range(len(whole)):
        page = auditor.get("/v1/audit/events", params=query).json()
        assert set(page) == {"events", "next_cursor", "request_id"}
        assert len(page["events"]) <= 3
        found += page["events"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == whole
    assert len(found) >= 6
    if filters:
        # Events of a moment may be committed in another order than they occurred in.
        times = [event["time"] for event in found]
        assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=1001", "limit"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=99999999999999999999", "cursor"),
        ("from=yesterday", "from"),
        ("to=2026-13-01T00:00:00Z", "to"),
        ("from=0001-01-01T00:00:00%2B14:00&to=9999-12-31T23:59:59-14:00", None),
        ("principal=", "principal"),
        ("subject=" + "x" * 257, "subject"),
        ("token=%00", "token"),
        ("subject=%FF", "query"),
        ("user=x", "query"),
        ("limit", "query"),
    ],
)
def test_unusable_filters_are_refused_by_name(
    server: Server, query: str, field: str | None
) -> None:
    answer = server.caller("auditor").get(f"/v1/audit/events?{query}")
    if field is None:
        assert answer.status_code == 200
        return
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


def test_failed_authentication_is_recorded_without_the_credential(server: Server) -> None:
    answer = Caller(server.url, "srk_" + "a" * 40)
    with answer.client:
        refused = answer.get("/v1/whoami")
    assert refused.status_code == 401
    rows = server.query(
        "SELECT body FROM strongroom.audit_events WHERE action = 'authenticate'"
        " AND position > 0 ORDER BY position DESC LIMIT 1"
    )
    body = bytes(rows[0][0])
    assert refused.headers["x-request-id"].encode() in body
    assert b"a" * 40 not in body
