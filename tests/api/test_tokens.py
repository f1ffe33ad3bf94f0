"""``/v1/tokens/{token}``, and what nobody can tell apart."""

import re
from typing import Any

import pytest

from tests.calling import Caller
from tests.serving import Server
from tests.synthetic import cards
from vault_service.domain.tokens import new_opaque

_PER_REQUEST = re.compile(r'"(request_id|event_id)":"[^"]*"')


def test_metadata_without_the_value(server: Server) -> None:
    checkout, [value] = server.caller("checkout"), cards(1, seed=31)
    [token] = checkout.tokenize(
        "pan", [value], subject="cus_31", tags={"region": "eu"}, expires_in=3600
    )
    answer = checkout.get(f"/v1/tokens/{token}")
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {
        "token",
        "data_class",
        "forms",
        "created_at",
        "request_id",
        "tags",
        "subject",
        "expires_at",
    }
    assert body["token"] == token
    assert body["data_class"] == "pan"
    assert body["tags"] == {"region": "eu"}
    assert body["subject"] == "cus_31"
    assert value[:6] not in answer.text
    assert value[-4:] not in answer.text.replace(token, "")


def test_a_deleted_token_is_gone_for_good(server: Server) -> None:
    checkout, admin, value = server.caller("checkout"), server.caller("vault-admin"), cards(1, 32)
    [token] = checkout.tokenize("pan", value)
    answer = admin.delete(f"/v1/tokens/{token}")
    assert answer.status_code == 204
    assert answer.content == b""
    assert admin.delete(f"/v1/tokens/{token}").status_code == 404
    assert checkout.get(f"/v1/tokens/{token}").status_code == 404
    assert server.caller("load-tester").detokenize([token], "data_quality").status_code == 404
    assert server.query("SELECT 1 FROM strongroom.tokens WHERE token = %s", token) == []
    looked = checkout.post("/v1/lookup", {"data_class": "pan", "value": value[0]})
    assert looked.json()["token"] is None
    assert checkout.tokenize("pan", value) != [token]
    actions = [event["action"] for event in server.caller("auditor").events(token=token)]
    assert actions == ["delete_token", "tokenize"], "its history stays"


def test_who_may_not_is_refused(server: Server) -> None:
    [token] = server.caller("checkout").tokenize("pan", cards(1, seed=33))
    for principal in ("checkout", "chargeback-service", "support-agent", "warehouse-loader"):
        assert server.caller(principal).delete(f"/v1/tokens/{token}").status_code == 403
    for principal in ("crm", "payout-service", "auditor"):
        assert server.caller(principal).get(f"/v1/tokens/{token}").status_code == 403


def _reveal(caller: Caller, token: str) -> Any:
    return caller.detokenize([token], "chargeback")


def _describe(caller: Caller, token: str) -> Any:
    return caller.get(f"/v1/tokens/{token}")


def _delete(caller: Caller, token: str) -> Any:
    return caller.delete(f"/v1/tokens/{token}")


@pytest.mark.parametrize(
    ("principal", "ask"),
    [
        ("other-merchant", _reveal),
        ("other-merchant", _describe),
        ("other-merchant", _delete),
    ],
)
def test_a_token_of_another_tenant_is_an_unknown_token(
    server: Server, principal: str, ask: Any
) -> None:
    """Byte for byte, but for the ids of the request itself."""
    [foreign] = server.caller("checkout").tokenize("pan", cards(1, seed=34))
    [unknown] = new_opaque("pan", 1)
    malformed = "tok_pan_" + "0" * 26 + "1"
    caller = server.caller(principal)
    answers = [ask(caller, token) for token in (foreign, unknown, malformed)]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert len({_PER_REQUEST.sub("", answer.text) for answer in answers}) == 1
    heads = [
        [(name, value) for name, value in answer.headers.items() if name != "x-request-id"]
        for answer in answers
    ]
    assert heads[0] == heads[1] == heads[2]
    kept = server.caller("load-tester").detokenize([foreign], "data_quality")
    assert kept.status_code == 200, "nothing happened to the foreign token"


def test_the_same_card_has_unrelated_tokens_in_two_tenants(server: Server) -> None:
    values = cards(3, seed=35)
    mine = server.caller("checkout").tokenize("pan", values)
    theirs = server.caller("other-merchant").tokenize("pan", values)
    assert not set(mine) & set(theirs)
    looked = server.caller("other-merchant").post(
        "/v1/lookup", {"data_class": "pan", "value": values[0]}
    )
    assert looked.json()["token"] == theirs[0]


def test_the_log_of_one_tenant_says_nothing_of_another(server: Server) -> None:
    [token] = server.caller("other-merchant").tokenize("pan", cards(1, seed=36), subject="alien")
    auditor = server.caller("auditor")
    assert auditor.events(token=token) == []
    assert auditor.events(subject="alien") == []
    assert auditor.events(principal="other-merchant") == []
