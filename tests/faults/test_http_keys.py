"""The whole service behind a KMS that fails: over HTTP, in every way KMS can fail.

No plaintext, no key and no token come of it, the answer says ``key_unavailable``, keys
in memory serve until they expire, and all is well again without a restart.
"""

import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from tests.calling import Caller
from tests.fakes.kms_faults import WRAPPING_FAULTS, KmsFaultProxy, Mode
from tests.ledger import PURPOSE, check_problem, unrecorded
from tests.serving import ROOT, Serve, Server
from tests.synthetic import cards
from vault_service.api.app import create_app
from vault_service.bootstrap import open_services
from vault_service.services.key_cache import MAX_TTL
from vault_service.settings import load

CARD, OTHER_CARD, NEW_CARD = cards(3, seed=90)
RECOVERY_SECONDS = 30.0


def _class_of(mode: Mode) -> str:
    return f"kms_{mode.value}"


def _first_class_of(mode: Mode) -> str:
    return f"first_{mode.value}"


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample policies with two card classes for every fault, so that each test has
    keys that no other test made or brought into memory."""
    directory = tmp_path_factory.mktemp("policies") / "policies"
    shutil.copytree(ROOT / "policies", directory)
    catalog = directory / "catalog.yml"
    text = catalog.read_text()
    classes = "".join(
        f"  {name}:\n"
        "    tags: [pci, restricted]\n"
        "    validation: luhn\n"
        "    deterministic: true\n"
        "    token_format: opaque\n"
        "    forms: [masked, plain]\n"
        "    mask: card\n"
        "    retention_days: 30\n"
        for mode in WRAPPING_FAULTS
        for name in (_class_of(mode), _first_class_of(mode))
    )
    catalog.write_text(text.replace("data_classes:\n", f"data_classes:\n{classes}", 1))
    return directory


@pytest.fixture(scope="module")
def proxy() -> Iterator[KmsFaultProxy]:
    with KmsFaultProxy() as kms:
        yield kms


@pytest.fixture
def kms(proxy: KmsFaultProxy) -> Iterator[KmsFaultProxy]:
    yield proxy
    proxy.mode = Mode.OK


@pytest.fixture(scope="module")
def vault(serve_module: Serve, proxy: KmsFaultProxy, policies: Path) -> Server:
    """A service with keys in KMS."""
    return serve_module(
        environment={
            **proxy.environment(),
            "STRONGROOM_KMS_KEY_ARN": proxy.create_key(),
            "STRONGROOM_POLICY_DIR": str(policies),
        }
    )


@pytest.fixture(scope="module")
def stored(vault: Server) -> dict[Mode, str]:
    """A token of every class, whose keys the service then forgot."""
    caller = vault.caller("load-tester")
    tokens: dict[Mode, str] = {
        mode: caller.tokenize(_class_of(mode), [CARD])[0] for mode in WRAPPING_FAULTS
    }
    vault.restart()
    return tokens


@pytest.fixture
def caller(vault: Server) -> Caller:
    return vault.caller("load-tester")


def _tokenize(caller: Caller, data_class: str, value: str) -> httpx2.Response:
    return caller.post("/v1/tokenize", {"items": [{"data_class": data_class, "value": value}]})


def _await_ok(call: Any, seconds: float = RECOVERY_SECONDS) -> httpx2.Response:
    """Call until it is answered 200: the failure may be remembered for a second."""
    deadline = time.monotonic() + seconds
    while True:
        answer: httpx2.Response = call()
        if answer.status_code == 200 or time.monotonic() > deadline:
            assert answer.status_code == 200, answer.text
            return answer
        time.sleep(0.1)


def _counts(vault: Server) -> tuple[int, int]:
    [(tokens, keys)] = vault.query(
        "SELECT (SELECT count(*) FROM strongroom.tokens),"
        " (SELECT count(*) FROM strongroom.data_keys)"
    )
    return tokens, keys


def _wait_for_readiness(vault: Server, status: int) -> dict[str, Any]:
    vault.wait("/readyz", status)
    body: dict[str, Any] = httpx2.get(vault.url + "/readyz", timeout=30.0).json()
    return body


@pytest.mark.parametrize("mode", WRAPPING_FAULTS)
def test_no_key_no_value_no_token(
    vault: Server, stored: dict[Mode, str], caller: Caller, kms: KmsFaultProxy, mode: Mode
) -> None:
    data_class, token = _class_of(mode), stored[mode]
    before = _counts(vault)
    asked = kms.calls.total()
    kms.mode = mode
    codes = {"key_unavailable"}
    for form in ("plain", "masked"):
        check_problem(caller.detokenize([token], PURPOSE, form), codes, [CARD])
    for value in (CARD, OTHER_CARD):
        check_problem(_tokenize(caller, data_class, value), codes, [value])
    looked = caller.post("/v1/lookup", {"data_class": data_class, "value": CARD})
    check_problem(looked, codes, [CARD, token])
    atomic = caller.post(
        "/v1/tokenize",
        {"items": [{"data_class": data_class, "value": OTHER_CARD}] * 2, "mode": "atomic"},
    )
    check_problem(atomic, codes, [OTHER_CARD])
    if mode is not Mode.REFUSE:
        assert kms.calls.total() > asked, "the fault was met, not something in memory"
    assert httpx2.get(vault.url + "/healthz").status_code == 200
    assert _counts(vault) == before
    assert not unrecorded(vault)
    kms.mode = Mode.OK
    answer = _await_ok(lambda: caller.detokenize([token], PURPOSE))
    assert answer.json()["items"][0]["value"] == CARD
    again = _await_ok(lambda: _tokenize(caller, data_class, CARD)).json()["items"][0]
    assert again["token"] == token, "the blind index is the same as before the fault"


@pytest.mark.parametrize("mode", WRAPPING_FAULTS)
def test_no_first_key_is_made_of_an_answer_that_is_wrong(
    vault: Server, caller: Caller, kms: KmsFaultProxy, mode: Mode
) -> None:
    tokens, keys = _counts(vault)
    kms.mode = mode
    answer = _tokenize(caller, _first_class_of(mode), CARD)
    check_problem(answer, {"key_unavailable"}, [CARD])
    assert _counts(vault) == (tokens, keys)
    kms.mode = Mode.OK
    _await_ok(lambda: _tokenize(caller, _first_class_of(mode), CARD))
    assert _counts(vault) == (tokens + 1, keys + 2), "a blind-index key and a record key"
    assert not unrecorded(vault)


def test_live_but_not_ready_while_cached_keys_serve(
    vault: Server, caller: Caller, kms: KmsFaultProxy
) -> None:
    [token] = caller.tokenize("pan", [CARD])
    assert caller.detokenize([token], PURPOSE).status_code == 200
    kms.mode = Mode.ACCESS_DENIED
    body = _wait_for_readiness(vault, 503)
    assert body["status"] == "not ready"
    assert body["checks"]["keys"] == "key_unavailable"
    assert body["checks"]["database"] == body["checks"]["audit"] == "ok"
    assert httpx2.get(vault.url + "/healthz").status_code == 200
    assert caller.detokenize([token], PURPOSE).json()["items"][0]["value"] == CARD
    [fresh] = caller.tokenize("pan", [NEW_CARD])
    assert caller.detokenize([fresh], PURPOSE).json()["items"][0]["value"] == NEW_CARD
    kms.mode = Mode.OK
    assert _wait_for_readiness(vault, 200)["status"] == "ready"


def test_a_disabled_key_and_one_that_awaits_deletion(serve: Serve, kms: KmsFaultProxy) -> None:
    """Switched off at AWS itself, as an administrator in an emergency would."""
    arn = kms.create_key()
    server = serve(environment={**kms.environment(), "STRONGROOM_KMS_KEY_ARN": arn})
    caller = server.caller("load-tester")
    [token], [other] = caller.tokenize("pan", [CARD]), caller.tokenize("pan_unverified", [CARD])
    server.kill()
    kms.disable(arn)
    server.start("/healthz")
    codes = {"key_unavailable"}
    for stored in (token, other):
        check_problem(caller.detokenize([stored], PURPOSE), codes, [CARD])
    check_problem(_tokenize(caller, "pan", OTHER_CARD), codes, [OTHER_CARD])
    assert httpx2.get(server.url + "/readyz", timeout=30.0).status_code == 503
    kms.enable(arn)
    answer = _await_ok(lambda: caller.detokenize([token], PURPOSE))
    assert answer.json()["items"][0]["value"] == CARD
    kms.schedule_deletion(arn)
    check_problem(caller.detokenize([other], PURPOSE), codes, [CARD])
    assert not unrecorded(server)


async def test_keys_in_memory_serve_until_they_expire_and_no_longer(
    vault: Server, kms: KmsFaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same application in this process, on a clock that is moved by hand."""
    for name, value in kms.environment().items():
        monkeypatch.setenv(name, value)
    seconds = time.monotonic()
    monkeypatch.setattr("vault_service.bootstrap.time", SimpleNamespace(monotonic=lambda: seconds))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(load(vault.settings())) as services:
            app.state.application = services.application
            yield

    app = create_app(lifespan, docs=False)
    headers = {"Authorization": f"Bearer {vault.key('load-tester')}"}
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url="http://vault", headers=headers
        ) as client,
    ):

        async def tokenize(value: str) -> httpx2.Response:
            body = {"items": [{"data_class": "pan", "value": value}]}
            return await client.post("/v1/tokenize", json=body)

        async def reveal(token: str) -> httpx2.Response:
            body = {"purpose": PURPOSE, "items": [{"token": token, "form": "plain"}]}
            return await client.post("/v1/detokenize", json=body)

        token = (await tokenize(CARD)).json()["items"][0]["token"]
        kms.mode = Mode.REFUSE
        seconds += MAX_TTL - 1
        assert (await reveal(token)).json()["items"][0]["value"] == CARD
        assert (await tokenize(CARD)).status_code == 200
        seconds += 2
        check_problem(await reveal(token), {"key_unavailable"}, [CARD])
        check_problem(await tokenize(OTHER_CARD), {"key_unavailable"}, [OTHER_CARD])
        kms.mode = Mode.OK
        seconds += 1
        assert (await reveal(token)).json()["items"][0]["value"] == CARD
        assert (await tokenize(OTHER_CARD)).status_code == 200
