"""``/v1/tokenize``, ``/v1/detokenize`` and ``/v1/lookup`` as the contract writes them."""

import re

from tests.serving import Server
from tests.synthetic import AMEX, MASTERCARD, VISA, cards

TOKEN = re.compile(r"tok_pan_[0-9a-hjkmnp-tv-z]{27}")
EVENT = re.compile(r"evt_[0-9a-hjkmnp-tv-z]{26}")


def test_tokenize_answers_as_the_contract_says(server: Server) -> None:
    [card] = cards(1, seed=10)
    answer = server.caller("checkout").post(
        "/v1/tokenize",
        {
            "items": [
                {
                    "data_class": "pan",
                    "value": f"{card[:4]} {card[4:8]} {card[8:12]} {card[12:]}",
                    "reference": "row-1",
                    "subject": "cus_42",
                    "tags": {"region": "eu"},
                    "expires_in": 86400,
                }
            ],
            "mode": "partial",
        },
    )
    assert answer.status_code == 200
    body = answer.json()
    token, event_id = body["items"][0]["token"], body["receipt"]["event_id"]
    assert body == {
        "items": [
            {
                "index": 0,
                "reference": "row-1",
                "status": "ok",
                "token": token,
                "data_class": "pan",
                "masked": f"{card[:6]}******{card[-4:]}",
            }
        ],
        "summary": {"ok": 1, "failed": 0},
        "request_id": answer.headers["x-request-id"],
        "receipt": {"event_id": event_id},
    }
    assert TOKEN.fullmatch(token)
    assert EVENT.fullmatch(event_id)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


def test_detokenize_answers_as_the_contract_says(server: Server) -> None:
    [token] = server.caller("checkout").tokenize("pan", [MASTERCARD])
    answer = server.caller("chargeback-service").post(
        "/v1/detokenize",
        {
            "purpose": "chargeback",
            "case": "CB-1042",
            "items": [{"token": token, "form": "plain", "reference": "r1"}],
        },
    )
    assert answer.status_code == 200
    body = answer.json()
    assert body == {
        "items": [
            {
                "index": 0,
                "reference": "r1",
                "status": "ok",
                "data_class": "pan",
                "form": "plain",
                "value": MASTERCARD,
            }
        ],
        "summary": {"ok": 1, "failed": 0},
        "request_id": answer.headers["x-request-id"],
        "receipt": {"event_id": body["receipt"]["event_id"]},
    }


def test_optional_fields_may_be_left_out_and_form_is_masked(server: Server) -> None:
    checkout = server.caller("checkout")
    made = checkout.post("/v1/tokenize", {"items": [{"data_class": "pan", "value": VISA}]}).json()
    assert set(made["items"][0]) == {"index", "status", "token", "data_class", "masked"}
    shown = checkout.post(
        "/v1/detokenize",
        {"purpose": "operations", "items": [{"token": made["items"][0]["token"]}]},
    ).json()
    assert shown["items"] == [
        {
            "index": 0,
            "status": "ok",
            "data_class": "pan",
            "form": "masked",
            "value": "411111******1111",
        }
    ]


def test_every_declared_form(server: Server) -> None:
    [token] = server.caller("checkout").tokenize("pan", [VISA])
    tester = server.caller("load-tester")
    forms = ["masked", "plain", "bin", "last4"]
    items = [{"token": token, "form": form} for form in [*forms, "domain"]]
    answer = tester.post("/v1/detokenize", {"purpose": "data_quality", "items": items})
    assert answer.status_code == 207
    found = answer.json()["items"]
    assert [item.get("value") for item in found] == [
        "411111******1111",
        VISA,
        "411111",
        "1111",
        None,
    ]
    assert found[4]["error"]["code"] == "invalid_request"


def test_order_is_kept_and_equal_values_share_a_token(server: Server) -> None:
    values = cards(300, seed=1)
    asked = values + values[::-1]
    checkout = server.caller("checkout")
    tokens = checkout.tokenize("pan", asked)
    assert tokens[:300] == tokens[:299:-1]
    assert len(set(tokens)) == 300
    found = server.caller("load-tester").detokenize(tokens, "data_quality").json()["items"]
    assert [item["value"] for item in found] == asked
    assert [item["index"] for item in found] == list(range(600))
    assert checkout.tokenize("pan", values) == tokens[:300]


def test_a_class_without_one_token_a_value_gives_fresh_ones(server: Server) -> None:
    tokens = server.caller("load-tester").tokenize("free_text", ["the same words"] * 2)
    assert len(set(tokens)) == 2


def test_lookup_finds_a_stored_value_in_any_writing_and_stores_nothing(server: Server) -> None:
    [value] = cards(1, seed=5)
    checkout = server.caller("checkout")
    for _ in range(2):
        answer = checkout.post("/v1/lookup", {"data_class": "pan", "value": value})
        assert answer.status_code == 200
        body = answer.json()
        assert body == {
            "token": None,
            "data_class": "pan",
            "request_id": answer.headers["x-request-id"],
            "receipt": {"event_id": body["receipt"]["event_id"]},
        }
    [token] = checkout.tokenize("pan", [value])
    spaced = " ".join(value[at : at + 4] for at in range(0, 16, 4))
    answer = checkout.post("/v1/lookup", {"data_class": "pan", "value": spaced})
    assert answer.json()["token"] == token


def test_lookup_is_a_right_of_its_own(server: Server) -> None:
    body = {"data_class": "pan", "value": VISA}
    for principal in ("warehouse-loader", "chargeback-service", "auditor", "vault-admin"):
        answer = server.caller(principal).post("/v1/lookup", body)
        assert answer.status_code == 403
        assert answer.json()["code"] == "access_denied"
    text = {"data_class": "free_text", "value": "words"}
    answer = server.caller("load-tester").post("/v1/lookup", text)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["rule"] == "deterministic"


def test_an_expired_token_is_told_from_an_unknown_one_and_reveals_nothing(
    server: Server,
) -> None:
    checkout = server.caller("checkout")
    expiring, lasting = checkout.tokenize("pan", cards(2, seed=6), expires_in=60)
    server.query(
        "UPDATE strongroom.tokens SET expires_at = now() - interval '1 second' WHERE token = %s",
        expiring,
    )
    tester = server.caller("load-tester")
    answer = tester.detokenize([expiring], "data_quality")
    assert answer.status_code == 410
    assert answer.json()["code"] == "expired"
    answer = tester.detokenize([expiring, lasting], "data_quality")
    assert answer.status_code == 207
    first, second = answer.json()["items"]
    assert first["error"]["code"] == "expired"
    assert "value" not in first
    assert second["status"] == "ok"


def test_an_expired_value_that_comes_again_lives_again(server: Server) -> None:
    checkout, value = server.caller("checkout"), cards(1, seed=7)
    [token] = checkout.tokenize("pan", value, expires_in=60)
    server.query(
        "UPDATE strongroom.tokens SET expires_at = now() - interval '1 second' WHERE token = %s",
        token,
    )
    looked = checkout.post("/v1/lookup", {"data_class": "pan", "value": value[0]})
    assert looked.json()["token"] is None
    assert checkout.tokenize("pan", value, expires_in=3600) == [token]
    assert server.caller("load-tester").detokenize([token], "data_quality").status_code == 200


def test_tags_that_are_stored_already_hold_and_are_told(server: Server) -> None:
    checkout, value = server.caller("checkout"), cards(1, seed=8)
    [token] = checkout.tokenize("pan", value, tags={"region": "eu"})
    item = {"data_class": "pan", "value": value[0], "tags": {"region": "us"}}
    [again] = checkout.post("/v1/tokenize", {"items": [item]}).json()["items"]
    assert again["token"] == token
    assert again["stored_tags"] == {"region": "eu"}
    assert server.caller("load-tester").detokenize([token], "data_quality").status_code == 200


def test_the_limits_are_on_the_lawful_side(server: Server) -> None:
    """10,000 items are taken in one request, and come back in order."""
    values = cards(9_999, seed=9)
    tokens = server.caller("warehouse-loader").tokenize("pan", [*values, AMEX])
    assert len(set(tokens)) == 10_000
    answer = server.caller("load-tester").detokenize(tokens, "data_quality")
    assert [item["value"] for item in answer.json()["items"]] == [*values, AMEX]


def test_a_reveal_names_a_purpose_of_the_catalog(server: Server) -> None:
    [token] = server.caller("checkout").tokenize("pan", [VISA])
    service = server.caller("chargeback-service")
    answer = service.post("/v1/detokenize", {"items": [{"token": token}]})
    assert answer.status_code == 422
    assert answer.json()["code"] == "purpose_required"
    answer = service.post("/v1/detokenize", {"purpose": "curiosity", "items": [{"token": token}]})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "purpose"
