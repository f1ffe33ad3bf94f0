"""Items that fail: beside them the others are stored, or in atomic mode none is."""

from tests.serving import Server
from tests.synthetic import cards


def test_partial_mode_stores_what_is_usable(server: Server) -> None:
    good, other = cards(2, seed=2)
    answer = server.caller("checkout").post(
        "/v1/tokenize",
        {
            "items": [
                {"data_class": "pan", "value": good, "reference": "a"},
                {"data_class": "pan", "value": "4111111111111112", "reference": "b"},
                {"data_class": "tax_file", "value": "x", "reference": "c"},
                {"data_class": "email", "value": "a@example.com", "reference": "d"},
                {"data_class": "card_cvv", "value": "123", "reference": "e"},
                {"data_class": "pan", "value": other, "reference": "f"},
            ]
        },
    )
    assert answer.status_code == 207
    body = answer.json()
    assert body["summary"] == {"ok": 2, "failed": 4}
    assert [item["reference"] for item in body["items"]] == list("abcdef")
    assert [item["status"] for item in body["items"]] == ["ok", *["error"] * 4, "ok"]
    codes = [item["error"]["code"] for item in body["items"][1:5]]
    assert codes == [
        "invalid_value",
        "unknown_data_class",
        "access_denied",
        "sensitive_authentication_data",
    ]
    for item in body["items"][1:5]:
        assert item["error"]["retryable"] is False
        assert item["error"]["detail"]
        assert "token" not in item
        assert "masked" not in item


def test_atomic_mode_stores_all_or_nothing(server: Server) -> None:
    good, other = cards(2, seed=3)
    checkout = server.caller("checkout")
    items = [
        {"data_class": "pan", "value": good, "reference": "a"},
        {"data_class": "pan", "value": "4111111111111112", "reference": "b"},
        {"data_class": "pan", "value": other, "reference": "c"},
    ]
    answer = checkout.post("/v1/tokenize", {"items": items, "mode": "atomic"})
    assert answer.status_code in (400, 422)
    found = answer.json()["items"]
    assert [item["status"] for item in found] == ["error"] * 3
    assert not any("token" in item for item in found)
    for value in (good, other):
        looked = checkout.post("/v1/lookup", {"data_class": "pan", "value": value})
        assert looked.json()["token"] is None

    answer = checkout.post("/v1/tokenize", {"items": items[::2], "mode": "atomic"})
    assert answer.status_code == 200
    assert answer.json()["summary"] == {"ok": 2, "failed": 0}


def test_atomic_mode_counts_a_denial_as_a_failure(server: Server) -> None:
    [good] = cards(1, seed=4)
    checkout = server.caller("checkout")
    items = [
        {"data_class": "pan", "value": good},
        {"data_class": "email", "value": "a@example.com"},
    ]
    answer = checkout.post("/v1/tokenize", {"items": items, "mode": "atomic"})
    assert 400 <= answer.status_code < 500
    looked = checkout.post("/v1/lookup", {"data_class": "pan", "value": good})
    assert looked.json()["token"] is None


def test_a_request_in_which_all_items_fail_is_a_problem_that_names_each(server: Server) -> None:
    answer = server.caller("checkout").post(
        "/v1/tokenize",
        {
            "items": [
                {"data_class": "pan", "value": "12", "reference": "a"},
                {"data_class": "pan", "value": "4111111111111112"},
            ]
        },
    )
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == "invalid_value"
    assert body["request_id"] == answer.headers["x-request-id"]
    assert [(e["field"], e["rule"]) for e in body["errors"]] == [
        ("items[0].value", "length"),
        ("items[1].value", "luhn"),
    ]
