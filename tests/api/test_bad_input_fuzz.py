"""Bodies nobody thought of: whatever comes, the answer is a 2xx or a 4xx and no echo."""

import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.hostile import CANARY, assert_never_kept, echoes_nothing, item, one
from tests.calling import Caller
from tests.serving import Serve, Server
from tests.soak import times

ROUTES = ["tokenize", "detokenize", "lookup", "policy/explain"]
NAMES = [
    *("items", "mode", "data_class", "value", "reference", "subject", "tags", "expires_in"),
    *("purpose", "case", "token", "form", "action", "item_count", CANARY),
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=40),
    st.sampled_from([CANARY, "pan", "email", "4111111111111111", "tok_pan_x", "plain"]),
    st.text(st.characters(codec=None, categories=["Cs", "Cc", "Lo", "So", "Nd"]), max_size=12),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    ),
    max_leaves=20,
)
FUZZ = settings(
    max_examples=times(60, 5000),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Iterator[Server]:
    """One of its own, whose tables and logs are searched at the end."""
    server = serve_module(workers=1)
    yield server
    assert server.caller("checkout").get("/readyz").status_code == 200
    assert_never_kept(server)


@pytest.fixture(scope="module")
def checkout(server: Server) -> Caller:
    return server.caller("checkout")


def _answered(answer: httpx2.Response) -> None:
    assert answer.status_code < 500, answer.text
    echoes_nothing(answer)
    if answer.status_code >= 400:
        body = answer.json()
        assert body["status"] == answer.status_code
        assert body["code"] != "internal"


@given(body=ANYTHING, route=st.sampled_from(ROUTES))
@FUZZ
def test_any_json(checkout: Caller, body: Any, route: str) -> None:
    _answered(checkout.post(f"/v1/{route}", json.dumps(body).encode()))


@given(
    changes=st.dictionaries(st.sampled_from(NAMES), ANYTHING, min_size=1, max_size=3),
    beside=st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=1),
)
@FUZZ
def test_nearly_right_requests(
    checkout: Caller, changes: dict[str, Any], beside: dict[str, Any]
) -> None:
    request = {"items": [{**item(value=CANARY), **changes}], **beside}
    _answered(checkout.post("/v1/tokenize", json.dumps(request).encode()))
    token = {"token": CANARY, **{k: v for k, v in changes.items() if k in ("form", "reference")}}
    request = {"purpose": "chargeback", "items": [token], **beside}
    _answered(checkout.post("/v1/detokenize", json.dumps(request).encode()))


@given(seed=st.integers(0, 2**32), route=st.sampled_from(ROUTES))
@FUZZ
def test_changed_bytes(checkout: Caller, seed: int, route: str) -> None:
    source = random.Random(seed)
    body = bytearray(one(value=CANARY, tags={"a": CANARY}, subject="s"))
    for _ in range(source.randint(1, 6)):
        place = source.randrange(len(body))
        match source.randrange(4):
            case 0:
                body[place] = source.randrange(256)
            case 1:
                del body[place]
            case 2:
                body[place:place] = source.randbytes(source.randint(1, 4))
            case _:
                other = source.randrange(len(body))
                body[place:place] = body[other : other + source.randint(1, 30)]
        if not body:
            break
    _answered(checkout.post(f"/v1/{route}", bytes(body)))


@given(
    text=st.text(st.characters(codec=None, exclude_categories=["Cs"]), max_size=30),
    name=st.sampled_from(["principal", "token", "subject", "from", "to", "limit", "cursor", "x"]),
)
@FUZZ
def test_any_query_and_path(checkout: Caller, text: str, name: str) -> None:
    _answered(checkout.get("/v1/audit/events", params={name: text + CANARY}))
    path = f"/v1/tokens/{quote(text + CANARY, safe='')}"
    for method in ("GET", "DELETE"):
        _answered(checkout.client.request(method, path))


@given(
    name=st.sampled_from(
        [
            b"Idempotency-Key",
            b"Content-Type",
            b"Content-Encoding",
            b"Accept",
            b"Traceparent",
            b"X-Forwarded-For",
            b"Authorization",
        ]
    ),
    value=st.binary(max_size=40).map(
        lambda raw: bytes(b for b in raw if b >= 32 and b != 127).strip() + CANARY.encode()
    ),
)
@FUZZ
def test_any_header(checkout: Caller, name: bytes, value: bytes) -> None:
    headers: Any = {
        b"Content-Type": b"application/json",
        b"Authorization": f"Bearer {checkout.credential}".encode(),
        name: value,
    }
    with_own = checkout.client.build_request(
        "POST", "/v1/tokenize", content=one(value="1"), headers=headers
    )
    answer = checkout.client.send(with_own)
    assert answer.status_code < 500
    echoes_nothing(answer)
