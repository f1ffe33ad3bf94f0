"""What holds for every route: credentials, ids, methods, media types, health."""

import re
from collections.abc import Iterator

import pytest

from tests.calling import Caller
from tests.serving import Serve, Server
from tests.synthetic import VISA

ROUTES = [
    ("POST", "/v1/tokenize"),
    ("POST", "/v1/detokenize"),
    ("POST", "/v1/lookup"),
    ("GET", "/v1/tokens/tok_pan_00000000000000000000000000z"),
    ("DELETE", "/v1/tokens/tok_pan_00000000000000000000000000z"),
    ("GET", "/v1/catalog"),
    ("GET", "/v1/whoami"),
    ("POST", "/v1/policy/explain"),
    ("GET", "/v1/audit/events"),
]


@pytest.fixture
def anonymous(server: Server) -> Iterator[Caller]:
    caller = Caller(server.url)
    yield caller
    caller.close()


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_without_a_credential(anonymous: Caller, method: str, path: str) -> None:
    answer = anonymous.client.request(method, path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == "unauthenticated"
    assert body["status"] == 401
    assert body["request_id"] == answer.headers["x-request-id"]


def test_ten_tries_then_a_wait_that_the_right_key_does_not_share(serve: Serve) -> None:
    server = serve()
    wrong, right = Caller(server.url, "srk_wrong_" + "b" * 43), server.caller("checkout")
    with wrong.client:
        statuses = [wrong.get("/v1/whoami") for _ in range(12)]
    assert [answer.status_code for answer in statuses[:10]] == [401] * 10
    last = statuses[-1]
    assert last.status_code == 429
    assert last.json()["code"] == "rate_limited"
    assert 1 <= int(last.headers["retry-after"]) <= 60
    assert right.get("/v1/whoami").status_code == 200
    fresh = Caller(server.url, server.new_key("crm"))
    with fresh.client:
        assert fresh.get("/v1/whoami").status_code == 200, "not even one seen for the first time"


def test_a_key_that_ran_out_says_so(serve: Serve) -> None:
    server = serve()
    caller = server.caller("checkout")
    server.query("UPDATE strongroom.api_keys SET expires_at = now() - interval '1 second'")
    answer = caller.get("/v1/whoami")
    assert answer.status_code == 401
    assert answer.json()["code"] == "credential_expired"


@pytest.mark.parametrize("request_id", ["abc", "trace-1.2:3_x", "A" * 128])
def test_a_usable_request_id_is_kept(server: Server, request_id: str) -> None:
    for path, principal in (("/v1/whoami", "checkout"), ("/v1/nowhere", None)):
        answer = server.caller(principal).get(path, headers={"X-Request-Id": request_id})
        assert answer.headers["x-request-id"] == request_id
        assert answer.json()["request_id"] == request_id


@pytest.mark.parametrize(
    "request_id", ["", "A" * 129, "a b", VISA, f"order-{VISA}", "cvv=123", "é", "-x"]
)
def test_an_unusable_request_id_is_replaced(server: Server, request_id: str) -> None:
    answer = server.caller("checkout").get(
        "/v1/whoami", headers={b"X-Request-Id": request_id.encode()}
    )
    assert answer.status_code == 200
    assert re.fullmatch(r"req_[0-9a-f]{24}", answer.headers["x-request-id"])
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/tokenize/", "/v2/tokenize", "/v1/x/y"])
def test_an_unknown_route_is_a_problem(server: Server, path: str) -> None:
    answer = server.caller("checkout").get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/tokenize", {"POST"}),
        ("PUT", "/v1/tokens/abc", {"GET", "HEAD", "DELETE"}),
        ("POST", "/v1/audit/events", {"GET", "HEAD"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    server: Server, method: str, path: str, allowed: set[str]
) -> None:
    """RFC 9110 15.5.6"""
    answer = server.caller("checkout").client.request(method, path)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].replace(" ", "").split(",")) == allowed
    assert answer.json()["status"] == 405


@pytest.mark.parametrize("route", ["tokenize", "detokenize", "lookup", "policy/explain"])
def test_other_media_types_and_encodings_are_refused(server: Server, route: str) -> None:
    checkout = server.caller("checkout")
    for headers, rule in (
        ({"Content-Type": "text/plain"}, "media_type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "media_type"),
        ({"Content-Type": ""}, "media_type"),
        ({"Content-Encoding": "gzip"}, "content_encoding"),
        ({"Content-Encoding": "identity, br"}, "content_encoding"),
    ):
        answer = checkout.post(f"/v1/{route}", {}, headers=headers)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["rule"] == rule


def test_json_may_name_its_charset_or_suffix(server: Server) -> None:
    checkout = server.caller("checkout")
    for media_type in ("application/json; charset=utf-8", "Application/JSON", "application/x+json"):
        answer = checkout.post(
            "/v1/lookup",
            {"data_class": "pan", "value": VISA},
            headers={"Content-Type": media_type, "Content-Encoding": "identity"},
        )
        assert answer.status_code == 200


def test_health_is_open_and_says_little(anonymous: Caller) -> None:
    assert anonymous.get("/healthz").json() == {"status": "ok"}
    ready = anonymous.get("/readyz")
    assert ready.status_code == 200
    body = ready.json()
    assert body.pop("unsealed_seconds") >= 0.0
    assert body == {
        "status": "ready",
        "checks": dict.fromkeys(("database", "keys", "policies", "audit"), "ok"),
        "unsealed_alarm": False,
    }
    metrics = anonymous.get("/metrics")
    assert metrics.status_code == 200
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "strongroom_" in metrics.text


def test_whoami_comes_from_the_credential_alone(server: Server) -> None:
    answer = server.caller("chargeback-service").get(
        "/v1/whoami", headers={"X-Tenant": "other", "X-Principal": "load-tester"}
    )
    body = answer.json()
    assert body.pop("policy_hash") == server.caller("crm").get("/v1/whoami").json()["policy_hash"]
    assert body == {
        "principal": "chargeback-service",
        "type": "service",
        "tenant": "main",
        "tags": {"team": "payments", "clearance": "pci", "duty": "disputes"},
        "budgets": [{"purpose": "chargeback", "tokens_per_hour": 1000, "subjects_per_day": 500}],
        "request_id": answer.headers["x-request-id"],
    }


def test_the_catalog_is_the_one_of_the_policies(server: Server) -> None:
    body = server.caller("auditor").get("/v1/catalog").json()
    assert set(body["purposes"]) == {
        "chargeback",
        "payout",
        "fraud_review",
        "customer_support",
        "subject_access",
        "regulatory_report",
        "breach_notification",
        "data_quality",
        "operations",
    }
    assert set(body["data_classes"]) == {
        "pan",
        "pan_unverified",
        "person_name",
        "email",
        "phone",
        "iban",
        "us_ssn",
        "date_of_birth",
        "postal_address",
        "ip_address",
        "national_id",
        "free_text",
    }
    assert body["data_classes"]["pan"]["forms"] == ["masked", "plain", "bin", "last4"]
    assert body["data_classes"]["pan"]["tags"] == ["pci", "restricted"]


def test_a_request_head_has_a_limit(server: Server) -> None:
    # RFC 6585 5. Sent without its end: a head that is whole may arrive in one piece.
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Filler: "
    status, answer, body = server.raw(head + b"a" * 70_000)
    assert status == 431
    assert b"aaaa" not in answer + body
    many = head + b"a\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(8000))
    assert server.raw(many)[0] == 431
    longest = head + b"a" * 12_000 + b"\r\n\r\n"
    assert server.raw(longest)[0] == 200
