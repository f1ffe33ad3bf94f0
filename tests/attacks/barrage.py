"""Sends canaries to a service in every way there is; gives back what it answered."""

import base64
import contextlib
import itertools
import json
import socket

import httpx2

from tests.attacks.canaries import (
    PURPOSE,
    WORD,
    arrow,
    arrow_bodies,
    batch,
    broken_bodies,
    item,
    metadata_bodies,
    pan,
    spaced,
    value_bodies,
    word,
    wrong_pan,
)
from tests.calling import Caller
from tests.serving import Server
from vault_service.domain.columns import MEDIA_TYPE as ARROW


def accepted(server: Server) -> list[httpx2.Response]:
    """Lawful requests on canaries as values; the answers that must not show them."""
    tester = server.caller("load-tester")
    values = {
        "pan": [pan(), spaced(), pan().replace("", " ").strip(), pan()],
        "pan_unverified": [pan(), wrong_pan()],
        "person_name": [word().title(), f"José {word()} Müller"],
        "email": [f"{word()}@example.com", f"{pan()}@example.com"],
        "postal_address": [f"{pan()} {word()} Street, Springfield"],
        "national_id": [word()],
        "free_text": [f"call {word()}, card {spaced()}, {pan()}"],
    }
    told: list[httpx2.Response] = []
    tokens: list[str] = []
    for data_class, given in values.items():
        items = [
            {"data_class": data_class, "value": value, "reference": f"r{at}", "subject": "cus_1"}
            for at, value in enumerate(given)
        ]
        headers = {"Idempotency-Key": f"first-{data_class}"}
        for mode in ("partial", "partial", "atomic"):  # stored, repeated, known already
            answer = tester.post("/v1/tokenize", {"items": items, "mode": mode}, headers=headers)
            headers = headers if mode == "partial" else {}
            told.append(answer)
        tokens += [item["token"] for item in told[-3].json()["items"]]
        looked = tester.post("/v1/lookup", {"data_class": data_class, "value": given[0]})
        told.append(looked)
    told.append(tester.post("/v1/lookup", {"data_class": "pan", "value": pan()}))
    many = [{"data_class": "pan", "value": pan(), "tags": {"region": "eu"}} for _ in range(400)]
    told += [tester.post("/v1/tokenize", {"items": many}) for _ in range(2)]
    columns = {"data_class": ["pan", "email"], "value": [pan(), f"{word()}@example.org"]}
    told.append(tester.post("/v1/tokenize", arrow(columns), headers={"Content-Type": ARROW}))
    assert {answer.status_code for answer in told} <= {200, 400, 422}, "400, 422: repeats"
    for form in ("masked", "plain"):
        assert tester.detokenize(tokens, PURPOSE, form, case="CB-1").status_code == 200
    for answer in (tester.get(f"/v1/tokens/{tokens[0]}"), tester.delete(f"/v1/tokens/{tokens[0]}")):
        told.append(answer)
    told.append(server.caller("vault-admin").delete(f"/v1/tokens/{tokens[0]}"))
    body = arrow({"token": tokens[1:], "form": ["plain"] * (len(tokens) - 1)}, {"purpose": PURPOSE})
    assert tester.post("/v1/detokenize", body, headers={"Content-Type": ARROW}).status_code == 200
    told.append(server.caller("auditor").get("/v1/audit/events?limit=1000"))
    return told


def refused(server: Server) -> list[httpx2.Response]:
    """Requests whose bodies or headers no rule lets pass, by one who may nearly all."""
    tester = server.caller("load-tester")
    answers = [
        tester.post(path, body)
        for path, body in itertools.chain(metadata_bodies(), value_bodies(), broken_bodies())
    ]
    answers += [
        tester.post(path, body, headers={"Content-Type": ARROW}) for path, body in arrow_bodies()
    ]
    for key in (pan(), f"key-{pan()}", spaced(), f"{word()}\x7f", word() * 100):
        answers.append(tester.post("/v1/tokenize", batch(item()), headers={"Idempotency-Key": key}))
    for media_type in (pan(), word(), f"text/{word()}", f'multipart/form-data; boundary="{pan()}"'):
        answers.append(
            tester.post("/v1/tokenize", batch(item()), headers={"Content-Type": media_type})
        )
    forbidden = server.caller("auditor")
    answers.append(forbidden.post("/v1/tokenize", batch(item(value=pan()))))
    answers.append(forbidden.post("/v1/lookup", {"data_class": "pan", "value": pan()}))
    assert {a.status_code // 100 for a in answers} == {4}, sorted(a.status_code for a in answers)
    return answers


def headers(server: Server) -> list[httpx2.Response]:
    """Canaries in headers that the vault has no use for, or replaces."""
    tester = server.caller("load-tester")
    trace = f"00-{pan()}{pan()}-{pan()}-01"
    bodies: list[tuple[str, str]] = [
        ("X-Request-Id", pan()),
        ("X-Request-Id", f"req-{pan()}"),
        ("X-Request-Id", f"{word()} with a space"),
        ("traceparent", trace),
        ("tracestate", f"vendor={pan()}"),
        ("baggage", f"{word()}={pan()}"),
    ]
    for name in ("User-Agent", "Cookie", "Referer", "Origin", "Accept", "X-Unknown", "Forwarded"):
        bodies += [(name, pan()), (name, word())]
    bodies += [("X-Forwarded-For", word()), (f"X-{pan()}", "1"), (f"X-{word()}", "1")]
    answers = []
    for name, value in bodies:
        paths = ("/v1/whoami", "/v1/tokens/tok_x", "/healthz")
        answers += [tester.get(path, headers={name: value}) for path in paths]
        answers.append(tester.post("/v1/tokenize", batch(item()), headers={name: value}))
    return answers


def urls(server: Server) -> list[httpx2.Response]:
    """Canaries in paths and queries, of routes that are there and of such that are not."""
    tester, auditor = server.caller("load-tester"), server.caller("auditor")
    answers = []
    for text in (pan, word, lambda: "%34%39" + pan()[2:], lambda: f"tok_pan_{word()}", spaced):
        # What may be a token or a filter is clear text, and the database is asked for it.
        for path in (
            f"/v1/tokens/{pan() if text is word else text()}",
            f"/v1/{text()}",
            f"/{text()}",
            f"/v1/tokens/a/{text()}",
        ):
            answers += [tester.get(path), tester.delete(path), tester.post(path, b"{}")]
            answers.append(tester.client.request("OPTIONS", path))
        for path in (
            "/v1/whoami",
            "/v1/tokens/x",
            "/healthz",
            "/metrics",
            "/openapi.json",
            "/docs",
        ):
            answers += [tester.get(f"{path}?{text()}"), tester.get(f"{path}?q={text()}")]
            answers.append(tester.get(f"{path}?{text()}=1#{text()}"))
    for name in ("token", "subject", "principal", "action", "outcome", "purpose", "from", "cursor"):
        answers.append(auditor.get(f"/v1/audit/events?{name}={pan()}"))
    for name in ("from", "to", "limit", "cursor", word()):
        answers.append(auditor.get(f"/v1/audit/events?{name}={word()}"))
    return answers


def credentials(server: Server, key: str) -> list[httpx2.Response]:
    """Wrong credentials, among them a right key whose secret was changed to a canary."""
    signed = base64.urlsafe_b64encode(json.dumps({"sub": word(), "pan": pan()}).encode()).decode()
    basic = base64.b64encode(f"{word()}:{pan()}".encode()).decode()
    url = base64.urlsafe_b64encode(f"https://sts.amazonaws.com/?X={word()}".encode()).decode()
    answers = []
    for given in (
        f"Bearer {pan()}",
        f"Bearer {word()}",
        f"Bearer srk_{word()}",
        f"Bearer {key[:17]}{word()}{key[17 + len(WORD) + 5 :]}",
        f"Bearer sts.{url.rstrip('=')}",
        f"Bearer eyJhbGciOiJub25lIn0.{signed}.{word()}",
        f"Basic {basic}",
        f"{word()} {pan()}",
        f"Bearer {pan()} {word()}",
        "Bearer " + word() * 3000,
    ):
        caller = Caller(server.url)
        with contextlib.closing(caller):
            answers.append(
                caller.post(
                    "/v1/tokenize", batch(item(value=pan())), headers={"Authorization": given}
                )
            )
    assert {answer.status_code for answer in answers} <= {401, 429, 431}
    return answers


def broken_http(server: Server) -> list[bytes]:
    """Requests that are no HTTP, or hardly; whatever came back."""
    close = b"Host: x\r\nConnection: close\r\n"
    key = server.key("load-tester").encode()
    post = b"POST /v1/tokenize HTTP/1.1\r\nAuthorization: Bearer " + key + b"\r\n" + close
    requests = []
    for text in (pan().encode(), word().encode()):
        requests += [
            text + b" /healthz HTTP/1.1\r\n" + close + b"\r\n",
            b"GET /" + text + b" HTTP/9.9\r\n" + close + b"\r\n",
            b"GET http://" + text + b"/healthz HTTP/1.1\r\n" + close + b"\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: " + text + b"\r\nConnection: close\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\n" + text + b"\r\n" + close + b"\r\n",
            b"GET /healthz HTTP/1.1\r\n" + close + b"X: " + text * 20_000 + b"\r\n\r\n",
            b"GET /v1/" + text + b" HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n\r\n",
            b"CONNECT " + text + b":443 HTTP/1.1\r\n" + close + b"\r\n",
            post + b"Content-Length: " + text + b"\r\n\r\n" + text,
            post + b"Transfer-Encoding: chunked\r\n\r\n" + text + b"\r\n" + text,
            post + b"Content-Length: 500\r\n\r\n" + text,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + text,
            b"\x16\x03\x01\x02\x00" + text,
        ]
    return [_exchange(server.port, request) for request in requests]


def _exchange(port: int, request: bytes) -> bytes:
    received = b""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=30.0) as connection,
    ):
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            received += part
    return received
