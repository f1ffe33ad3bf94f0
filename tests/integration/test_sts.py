"""Presigned STS requests, sent to a local STS that checks the signature."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fakes.credentials import START, HandClock
from tests.fakes.scripted_server import DROP, Reply, ScriptedServer
from tests.fakes.sts import Caller, FakeSts, presigned_url, sts_token
from vault_service.adapters.identity.aws_sts import StsVerifier
from vault_service.domain.credentials import CredentialRejected, VerifiedIdentity
from vault_service.domain.errors import Code, VaultError

CALLER = Caller("arn:aws:sts::123456789012:assumed-role/app/i-0abc")
THROTTLED = Reply(400, {"Error": {"Code": "Throttling", "Message": "Rate exceeded"}})


@pytest.fixture
def sts() -> Iterator[ScriptedServer]:
    with ScriptedServer(FakeSts({CALLER.access_key_id: CALLER})) as server:
        yield server


@pytest.fixture
async def verifier(sts: ScriptedServer) -> AsyncIterator[StsVerifier]:
    verifier = StsVerifier(
        audience="strongroom", clock=HandClock(), test_endpoint=sts.url, timeout_seconds=2
    )
    yield verifier
    await verifier.close()


async def verify(verifier: StsVerifier, url: str) -> VerifiedIdentity:
    return await verifier.confirm(verifier.inspect(sts_token(url).removeprefix("sts.")))


def url_of(sts: ScriptedServer, caller: Caller = CALLER, audience: str = "strongroom") -> str:
    return presigned_url(caller, audience=audience, endpoint=sts.url, at=START)


@pytest.mark.parametrize("answer_in", ["json", "xml"])
async def test_a_role_is_known_by_its_signature(
    sts: ScriptedServer, verifier: StsVerifier, answer_in: str
) -> None:
    assert isinstance(sts.handler, FakeSts)
    sts.handler.answer_in = answer_in
    identity = await verify(verifier, url_of(sts))
    assert identity.subject == "arn:aws:iam::123456789012:role/app"
    request = sts.seen[0]
    # Forwarded byte for byte, with our own audience, and asking for JSON.
    assert request.path == "/?" + url_of(sts).partition("?")[2]
    assert request.headers["x-strongroom-audience"] == "strongroom"
    assert request.headers["accept"] == "application/json"
    assert "authorization" not in request.headers


@pytest.mark.parametrize("audience", ["other-vault", ""])
async def test_a_url_for_another_audience_is_refused(
    sts: ScriptedServer, verifier: StsVerifier, audience: str
) -> None:
    with pytest.raises(CredentialRejected, match="sts_refused"):
        await verify(verifier, url_of(sts, audience=audience))


async def test_a_forged_signature_is_refused(sts: ScriptedServer, verifier: StsVerifier) -> None:
    forger = Caller(CALLER.arn, secret="guessed")
    with pytest.raises(CredentialRejected, match="sts_refused"):
        await verify(verifier, url_of(sts, forger))


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::123456789012:user/app",
        "arn:aws:iam::123456789012:root",
        "arn:aws:sts::123456789012:federated-user/app",
        "arn:aws:sts::123456789012:assumed-role/app",
        "arn:aws:sts::123456789012:assumed-role/app/s/x",
        "arn:evil:sts::123456789012:assumed-role/app/s",
        "",
    ],
)
async def test_only_assumed_roles_are_accepted(
    sts: ScriptedServer, verifier: StsVerifier, arn: str
) -> None:
    assert isinstance(sts.handler, FakeSts)
    other = Caller(arn)
    sts.handler.callers = {other.access_key_id: other}
    with pytest.raises(CredentialRejected, match="sts_not_a_role"):
        await verify(verifier, url_of(sts))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"GetCallerIdentityResponse": []}',
        b'{"GetCallerIdentityResponse": {"GetCallerIdentityResult": {"Arn": 7}}}',
        b"<Arn>arn:aws:sts::123456789012:assumed-role/app/s</Arn>" * 2,
        b"<Arn>&role;</Arn>",
        b"[" * 20_000,
        b"\xff\xfe",
    ],
)
async def test_no_other_answer_is_an_identity(
    sts: ScriptedServer, verifier: StsVerifier, body: bytes
) -> None:
    sts.faults.append(Reply(200, content=body))
    with pytest.raises(CredentialRejected, match="sts_not_a_role"):
        await verify(verifier, url_of(sts))


@pytest.mark.parametrize(
    "fault",
    [
        DROP,
        THROTTLED,
        Reply(500),
        Reply(503),
        Reply(302, headers={"Location": "/elsewhere"}),
        Reply(200, content=b"x" * 65_537),
        Reply(200, content=b"x", headers={"Content-Encoding": "gzip"}),
    ],
    ids=["dropped", "throttled", "500", "503", "redirect", "too large", "compressed"],
)
async def test_an_sts_that_is_away_says_nothing_about_the_caller(
    sts: ScriptedServer, verifier: StsVerifier, fault: Reply
) -> None:
    sts.faults.append(fault)
    with pytest.raises(VaultError) as caught:
        await verify(verifier, url_of(sts))
    assert caught.value.code is Code.KEY_UNAVAILABLE
    assert caught.value.retryable
    assert caught.value.__cause__ is None
    assert "Signature" not in repr(caught.value)
    assert len(sts.seen) == 1  # a redirect is not followed
    assert (await verify(verifier, url_of(sts))).subject.endswith("role/app")


async def test_nobody_there(sts: ScriptedServer) -> None:
    verifier = StsVerifier(
        audience="strongroom", clock=HandClock(), test_endpoint="http://127.0.0.1:1"
    )
    url = presigned_url(CALLER, audience="strongroom", endpoint="http://127.0.0.1:1", at=START)
    with pytest.raises(VaultError) as caught:
        await verify(verifier, url)
    assert caught.value.code is Code.KEY_UNAVAILABLE
    await verifier.close()
