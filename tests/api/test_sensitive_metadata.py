"""Card numbers and authentication data where clear text is kept: refused, never kept."""

import json
from typing import Any

import pytest

from tests.api.hostile import CARD, assert_never_kept, echoes_nothing, item, refused
from tests.serving import Serve, Server
from tests.synthetic import VISA

SPELLINGS = {
    "plain": CARD,
    "spaced": f"{CARD[:4]} {CARD[4:8]} {CARD[8:12]} {CARD[12:]}",
    "dashed": f"{CARD[:4]}-{CARD[4:8]}-{CARD[8:12]}-{CARD[12:]}",
    "float": f"{CARD}.0",
    "in a sentence": f"card {CARD} of the customer",
    "full width": "".join(chr(0xFEE0 + ord(digit)) for digit in CARD),
}


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    """One of its own, whose tables and logs are searched at the end."""
    return serve_module(workers=1)


def _tokenize(**changes: Any) -> tuple[str, dict[str, Any], dict[str, str]]:
    return "/v1/tokenize", {"items": [item(**changes)]}, {}


def _places(text: str) -> dict[str, tuple[str, dict[str, Any], dict[str, str]]]:
    detokenize = {"purpose": "chargeback", "items": [{"token": "tok_pan_x"}]}
    return {
        "subject": _tokenize(subject=text),
        "reference": _tokenize(reference=text),
        "tag value": _tokenize(tags={"order": text}),
        "tag name": _tokenize(tags={text: "order"}),
        "case": ("/v1/detokenize", {**detokenize, "case": text}, {}),
        "purpose": ("/v1/detokenize", {**detokenize, "purpose": text}, {}),
        "token": ("/v1/detokenize", {**detokenize, "items": [{"token": text}]}, {}),
        "reference of a reveal": (
            "/v1/detokenize",
            {**detokenize, "items": [{"token": "tok_pan_x", "reference": text}]},
            {},
        ),
        "tag of a question": (
            "/v1/policy/explain",
            {"action": "tokenize", "data_class": "pan", "tags": {"a": text}},
            {},
        ),
    }


@pytest.mark.parametrize("place", _places(""))
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_card_number_in_the_body(server: Server, place: str, spelling: str) -> None:
    path, body, headers = _places(SPELLINGS[spelling])[place]
    answer = server.caller("checkout").post(path, body, headers=headers)
    # A purpose is from a closed list, so a card number is refused as no purpose.
    code = "invalid_request" if place == "purpose" else "sensitive_value_in_metadata"
    found = refused(answer, code=code)
    assert found["errors"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_card_number_for_a_data_class(server: Server, spelling: str) -> None:
    """Also where another rule is broken first, and beside items that are fine."""
    checkout, name = server.caller("checkout"), SPELLINGS[spelling]
    for more in ({}, {"expires_in": -1}, {"reference": "x" * 300}, {"tags": {"": ""}}):
        wrong = item(data_class=name, **more)
        refused(checkout.post("/v1/tokenize", {"items": [wrong]}))
        answer = checkout.post("/v1/tokenize", {"items": [item(), wrong]})
        assert answer.status_code == 207
        assert "data_class" not in answer.json()["items"][1]
        echoes_nothing(answer)
    for path in ("/v1/lookup", "/v1/policy/explain"):
        body = {"action": "tokenize"} if path.endswith("explain") else {"value": "x"}
        refused(checkout.post(path, {**body, "data_class": name}))


@pytest.mark.parametrize("spelling", ["plain", "spaced", "dashed", "float", "in a sentence"])
def test_a_card_number_in_the_idempotency_key(server: Server, spelling: str) -> None:
    answer = server.caller("checkout").post(
        "/v1/tokenize",
        {"items": [item()]},
        headers={"Idempotency-Key": SPELLINGS[spelling]},
    )
    found = refused(answer, code="sensitive_value_in_metadata")
    assert found["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize("spelling", ["plain", "spaced", "dashed", "float", "in a sentence"])
def test_a_card_number_in_the_request_id_is_replaced(server: Server, spelling: str) -> None:
    answer = server.caller("checkout").get(
        "/v1/whoami", headers={"X-Request-Id": SPELLINGS[spelling]}
    )
    assert answer.status_code == 200
    echoes_nothing(answer)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_card_number_in_the_path(server: Server, spelling: str, method: str) -> None:
    checkout = server.caller("checkout")
    answer = checkout.client.request(method, f"/v1/tokens/{SPELLINGS[spelling]}")
    refused(answer, code="sensitive_value_in_metadata", rule="no_card_number")
    refused(checkout.client.request(method, f"/v1/{SPELLINGS[spelling]}"), code="not_found")


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", ["token", "subject", "principal", "purpose", "cursor", "from"])
def test_a_card_number_in_the_query(server: Server, spelling: str, name: str) -> None:
    answer = server.caller("auditor").get("/v1/audit/events", params={name: SPELLINGS[spelling]})
    refused(answer, code="sensitive_value_in_metadata", rule="no_card_number")


@pytest.mark.parametrize(
    "path", ["/v1/whoami?card={}", "/v1/catalog?{}", "/v1/audit/events?{}=1", "/v1/tokens/a?x={}"]
)
def test_a_card_number_where_no_query_belongs(server: Server, path: str) -> None:
    refused(server.caller("checkout").get(path.format(CARD)), rule=None)


@pytest.mark.parametrize(
    "text",
    [
        "cvv=123",
        "CVV2: 4321",
        "security code 123",
        "pin block 0412AC89ABCDEF67",
        f"{CARD}=25121011234567890",
        f"%B{CARD}^DOE/JANE^25121011234567890?",
    ],
)
@pytest.mark.parametrize("place", ["subject", "reference", "tag value", "case", "token"])
def test_authentication_data_in_the_body(server: Server, place: str, text: str) -> None:
    """PCI-DSS 3.3.1"""
    path, body, headers = _places(text)[place]
    found = refused(server.caller("checkout").post(path, body, headers=headers))
    assert found["code"] in ("sensitive_authentication_data", "sensitive_value_in_metadata")


@pytest.mark.parametrize("name", ["cvv", "Card-CVV2", "pin_block", "track2", "magstripe"])
def test_authentication_data_by_its_name(server: Server, name: str) -> None:
    """PCI-DSS 3.3.1: as a tag or a data class, whatever the value."""
    checkout = server.caller("checkout")
    for changes in ({"tags": {name: "x"}}, {"data_class": name}):
        refused(
            checkout.post("/v1/tokenize", {"items": [item(**changes)]}),
            code="sensitive_authentication_data",
        )
    track = f"{CARD}=25121011234567890"
    refused(
        checkout.post("/v1/tokenize", {"items": [item(value=track)]}),
        code="sensitive_authentication_data",
    )


def test_what_only_looks_a_little_like_a_card_number_is_kept(server: Server) -> None:
    """Order numbers, UUIDs, times and digests are ordinary metadata."""
    fine = {
        "subject": "cus_4111111111111112",
        "reference": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "tags": {"at": "2026-01-31T12:34:56Z", "order": "1000000000000001", "sha": "a" * 40},
    }
    answer = server.caller("checkout").post(
        "/v1/tokenize",
        {"items": [item(**fine)]},
        headers={"Idempotency-Key": "550e8400-e29b-41d4-a716-446655440000"},
    )
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.text)["items"][0]["reference"] == fine["reference"]


def test_none_of_it_was_kept(server: Server) -> None:
    """Runs last: what all the tests above sent is neither in a table nor in a log."""
    assert_never_kept(server)
    rows = server.query("SELECT body FROM strongroom.audit_events")
    assert not any(VISA.encode() in bytes(body) for (body,) in rows)
