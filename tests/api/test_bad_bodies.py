"""Bodies that are wrong: a 4xx that names the rule; never a 5xx, an echo or a trace."""

import json
from typing import Any

import pytest

from tests.api.broken_json import DUPLICATES, MALFORMED, PAN, C, raw
from tests.api.hostile import CANARY, assert_never_kept, item, one, refused
from tests.serving import Serve, Server


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    """One of its own, whose tables and logs are searched at the end."""
    return serve_module(workers=1)


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("route", ["tokenize", "detokenize", "lookup", "policy/explain"])
def test_malformed_json(server: Server, route: str, name: str) -> None:
    body = refused(server.caller("checkout").post(f"/v1/{route}", MALFORMED[name]))
    assert body["code"] == "invalid_request"
    assert body["errors"]
    if name not in ("NaN", "Infinity", "leading zero", "hexadecimal") and route == "tokenize":
        assert body["errors"][0]["rule"] == "json"


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"items":[', b'{"items":[{"tags":'])
@pytest.mark.parametrize("route", ["tokenize", "detokenize", "lookup", "policy/explain"])
def test_deep_nesting(server: Server, route: str, opening: bytes) -> None:
    refused(server.caller("checkout").post(f"/v1/{route}", opening * 100_000 + C))


def test_deep_nesting_inside_a_field_that_is_not_known(server: Server) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    checkout = server.caller("checkout")
    refused(checkout.post("/v1/tokenize", b'{"x":%s,"items":[]}' % deep))
    refused(checkout.post("/v1/tokenize", b'{"items":%s}' % deep))
    refused(checkout.post("/v1/tokenize", raw(C, b',"tags":%s' % deep)))


WRONG: list[Any] = [None, True, 0, -1.5, 1e400, CANARY, [], [CANARY], {}, {CANARY: CANARY}]
FIELDS = {
    # field: the kinds that are right for it
    "data_class": (str,),
    "value": (str,),
    "reference": (str, type(None)),
    "subject": (str, type(None)),
    "tags": (dict, type(None)),
    "expires_in": (int, type(None)),
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_wrong_type_names_the_field(server: Server, field: str) -> None:
    checkout = server.caller("checkout")
    for wrong in WRONG:
        if isinstance(wrong, FIELDS[field]) and not isinstance(wrong, bool):
            continue
        text = one(**{field: wrong}).replace(b"Infinity", b"1e400")
        body = refused(checkout.post("/v1/tokenize", text), rule="type")
        assert body["errors"][0]["field"].startswith(f"items[0].{field}"), wrong


@pytest.mark.parametrize("field", ["items", "mode"])
def test_a_wrong_type_beside_the_items(server: Server, field: str) -> None:
    checkout = server.caller("checkout")
    for wrong in WRONG:
        body: dict[str, Any] = {"items": [item()]}
        body[field] = wrong
        if field == "mode" and isinstance(wrong, str):
            refused(checkout.post("/v1/tokenize", body), rule="enum")
        elif field == "items" and wrong == []:
            refused(checkout.post("/v1/tokenize", body), rule="min_length")
        else:
            text = json.dumps(body).replace("Infinity", "1e400").encode()
            refused(checkout.post("/v1/tokenize", text), rule="type")


@pytest.mark.parametrize("wrong", WRONG)
def test_the_whole_body_of_a_wrong_type(server: Server, wrong: Any) -> None:
    for route in ("tokenize", "detokenize", "lookup", "policy/explain"):
        text = json.dumps(wrong).replace("Infinity", "1e400").encode()
        refused(server.caller("checkout").post(f"/v1/{route}", text))


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("detokenize", {"purpose": 1, "items": [{"token": "x"}]}),
        ("detokenize", {"purpose": "chargeback", "case": [CANARY], "items": [{"token": "x"}]}),
        ("detokenize", {"purpose": "chargeback", "items": [{"token": {CANARY: 1}}]}),
        ("detokenize", {"purpose": "chargeback", "items": [{"token": "x", "form": 7}]}),
        ("detokenize", {"purpose": "chargeback", "items": [{"token": "x", "reference": 7}]}),
        ("detokenize", {"purpose": "chargeback", "items": {"token": CANARY}}),
        ("detokenize", {"purpose": "chargeback", "items": [CANARY]}),
        ("lookup", {"data_class": "pan", "value": 4111111111111111}),
        ("lookup", {"data_class": ["pan"], "value": CANARY}),
        ("policy/explain", {"action": "tokenize", "data_class": "pan", "item_count": CANARY}),
        ("policy/explain", {"action": "tokenize", "data_class": "pan", "tags": [CANARY]}),
    ],
)
def test_wrong_types_on_the_other_routes(server: Server, route: str, body: Any) -> None:
    refused(server.caller("checkout").post(f"/v1/{route}", body), rule="type")


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("tokenize", {"items": [item()], CANARY: 1}),
        ("tokenize", {"items": [item(**{CANARY: 1})]}),
        ("tokenize", {"items": [item(Value=CANARY)]}),
        ("tokenize", {"items": [item(cvv="123")]}),
        ("detokenize", {"purpose": "chargeback", "items": [{"token": "x", CANARY: 1}]}),
        ("detokenize", {"purpose": "chargeback", "items": [{"token": "x"}], CANARY: {}}),
        ("lookup", {"data_class": "pan", "value": CANARY, CANARY: 0}),
        ("policy/explain", {"action": "tokenize", "data_class": "pan", CANARY: 0}),
    ],
)
def test_unknown_fields(server: Server, route: str, body: Any) -> None:
    refused(server.caller("checkout").post(f"/v1/{route}", body), rule="unknown_field")


@pytest.mark.parametrize("name", DUPLICATES)
def test_duplicate_keys(server: Server, name: str) -> None:
    """RFC 8259 4"""
    answer = server.caller("checkout").post("/v1/tokenize", DUPLICATES[name])
    refused(answer, rule="duplicate_key", code="invalid_request")


@pytest.mark.parametrize(
    ("route", "body"),
    [
        (
            "detokenize",
            b'{"purpose":"chargeback","purpose":"payout","items":[{"token":"%s"}]}' % C,
        ),
        ("detokenize", b'{"purpose":"payout","items":[{"token":"x","token":"%s"}]}' % C),
        ("lookup", b'{"data_class":"pan","data_class":"email","value":"%s"}' % C),
        ("lookup", b'{"data_class":"pan","value":"1","value" : "%s"}' % C),
        ("policy/explain", b'{"action":"tokenize","action":"lookup","data_class":"pan"}'),
    ],
)
def test_duplicate_keys_on_the_other_routes(server: Server, route: str, body: bytes) -> None:
    refused(server.caller("checkout").post(f"/v1/{route}", body), rule="duplicate_key")


@pytest.mark.parametrize(
    "number",
    ["0", "-1", "-0", "1e2", "1.0", "1.5", "3153600001", "9" * 19, "9" * 400, "9" * 5000, "1e999"],
)
def test_numbers_out_of_range(server: Server, number: str) -> None:
    text = b'{"items":[{%s,"value":"4111111111111111","expires_in":%s}]}' % (PAN, number.encode())
    answer = server.caller("checkout").post("/v1/tokenize", text)
    body = refused(answer, code="invalid_request")
    assert body["errors"][0]["field"] == "items[0].expires_in"


def test_too_many_items(server: Server) -> None:
    checkout = server.caller("checkout")
    many = {"items": [item(value=CANARY)] * 10_001}
    body = refused(checkout.post("/v1/tokenize", many), rule="max_length", code="too_many_items")
    assert body["status"] == 413
    reveal = {"purpose": "chargeback", "items": [{"token": CANARY}] * 10_001}
    refused(checkout.post("/v1/detokenize", reveal), rule="max_length", code="too_many_items")


def test_seventeen_mebibytes(server: Server) -> None:
    """With a length that says so, and in chunks that do not."""
    checkout = server.caller("checkout")
    big = one(value=CANARY) + b" " * (17 * 1024 * 1024)
    refused(checkout.post("/v1/tokenize", big), code="payload_too_large")
    chunks = (big[at : at + 65536] for at in range(0, len(big), 65536))
    answer = checkout.client.post(
        "/v1/tokenize", content=chunks, headers={"Content-Type": "application/json"}
    )
    refused(answer, code="payload_too_large")
    assert checkout.get("/v1/whoami").status_code == 200


def test_a_length_that_promises_too_much_is_refused_before_the_body(server: Server) -> None:
    key = server.key("checkout")
    status, _, body = server.raw(
        b"POST /v1/tokenize HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 17000000\r\n"
        b"Authorization: Bearer " + key.encode() + b"\r\n\r\n" + C
    )
    assert status == 413
    assert C not in body


LONG = CANARY * 6000


@pytest.mark.parametrize(
    ("route", "body", "field"),
    [
        ("tokenize", {"items": [item(reference=LONG)]}, "items[0].reference"),
        ("tokenize", {"items": [item(subject=LONG)]}, "items[0].subject"),
        ("tokenize", {"items": [item(tags={LONG: "x"})]}, "items[0].tags"),
        ("tokenize", {"items": [item(tags={"x": LONG})]}, "items[0].tags"),
        ("tokenize", {"items": [item(tags={f"t{n}": "x" for n in range(17)})]}, "items[0].tags"),
        ("tokenize", {"items": [item(value=LONG)]}, "items[0].value"),
        ("tokenize", {"items": [item(data_class=LONG)]}, "items[0].data_class"),
        ("tokenize", {"items": [item(data_class="ﷺ" * 100_000)]}, "items[0].data_class"),
        ("tokenize", {"items": [item(reference="")]}, "items[0].reference"),
        ("tokenize", {"items": [item(subject="")]}, "items[0].subject"),
        ("tokenize", {"items": [item(subject="a\0b")]}, "items[0].subject"),
        ("tokenize", {"items": [item(subject="a\u202eb")]}, "items[0].subject"),
        ("tokenize", {"items": [item(tags={"a\nb": "x"})]}, "items[0].tags"),
        ("tokenize", {"items": [item(tags={"": "x"})]}, "items[0].tags"),
        ("tokenize", {"items": [item(value="")]}, "items[0].value"),
        ("tokenize", {"items": [item(value="4111111111111111\0")]}, "items[0].value"),
        ("tokenize", {"items": [item()], "mode": LONG}, "mode"),
        ("detokenize", {"purpose": LONG, "items": [{"token": "x"}]}, "purpose"),
        ("detokenize", {"purpose": "", "items": [{"token": "x"}]}, "purpose"),
        (
            "detokenize",
            {"purpose": "chargeback", "case": LONG, "items": [{"token": "x"}]},
            "case",
        ),
        ("detokenize", {"purpose": "chargeback", "items": [{"token": LONG}]}, "items[0].token"),
        ("detokenize", {"purpose": "chargeback", "items": [{"token": ""}]}, "items[0].token"),
        ("lookup", {"data_class": "pan", "value": LONG}, None),
        ("lookup", {"data_class": LONG, "value": "x"}, None),
        ("policy/explain", {"action": LONG, "data_class": "pan"}, "action"),
        ("policy/explain", {"action": "tokenize", "data_class": LONG}, None),
    ],
)
def test_texts_that_are_too_long_or_unprintable(
    server: Server, route: str, body: Any, field: str | None
) -> None:
    answer = refused(server.caller("checkout").post(f"/v1/{route}", body))
    if field is not None:
        assert answer["errors"][0]["field"] == field


def test_none_of_it_was_kept(server: Server) -> None:
    """Runs last: what all the tests above sent is neither in a table nor in a log."""
    assert server.caller("checkout").get("/readyz").status_code == 200
    assert server.query("SELECT count(*) FROM strongroom.tokens")[0][0] == 0
    assert_never_kept(server)
