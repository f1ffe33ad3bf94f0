"""What may be in a presigned STS URL before the vault sends it anywhere."""

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.credentials import START, HandClock
from tests.fakes.sts import Caller, presigned_url, sts_token
from vault_service.adapters.identity.aws_sts import StsVerifier, sts_hosts
from vault_service.domain.credentials import CredentialRejected

CALLER = Caller("arn:aws:sts::123456789012:assumed-role/app/session")
URL = presigned_url(CALLER, audience="strongroom", at=START)
VERIFIER = StsVerifier(audience="strongroom", clock=HandClock())


def reason(url: str) -> str:
    with pytest.raises(CredentialRejected) as caught:
        VERIFIER.inspect(sts_token(url).removeprefix("sts."))
    assert "Signature" not in repr(caught.value)
    return caught.value.reason


def test_what_the_aws_sdk_signs_is_accepted() -> None:
    call = VERIFIER.inspect(sts_token(URL).removeprefix("sts."))
    assert call.access_key_id == CALLER.access_key_id
    assert call.host == "sts.eu-west-1.amazonaws.com"
    assert call.expires_at == START + timedelta(seconds=60)
    assert call.query == URL.partition("?")[2]
    assert "Signature" not in repr(call)


def test_the_global_endpoint_and_govcloud_are_accepted() -> None:
    for region, endpoint in [
        ("us-east-1", "https://sts.amazonaws.com"),
        ("us-gov-west-1", None),
    ]:
        url = presigned_url(
            CALLER, audience="strongroom", at=START, region=region, endpoint=endpoint
        )
        assert VERIFIER.inspect(sts_token(url).removeprefix("sts.")).host in sts_hosts()


@pytest.mark.parametrize(
    "url",
    [
        URL.replace("https://", "http://"),
        URL.replace("sts.eu-west-1.amazonaws.com", "sts.eu-west-1.amazonaws.com.evil.example"),
        URL.replace("sts.eu-west-1.amazonaws.com", "evil.example"),
        URL.replace("sts.eu-west-1.amazonaws.com", "sts.evil-west-1.amazonaws.com"),
        URL.replace("sts.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com"),
        URL.replace("sts.eu-west-1.amazonaws.com", "169.254.169.254"),
        URL.replace("sts.eu-west-1.amazonaws.com", "sts.eu-west-1.amazonaws.com:443"),
        URL.replace("sts.eu-west-1.amazonaws.com", "sts.eu-west-1.amazonaws.com."),
        # The host must be that of the region that the signature is for.
        URL.replace("sts.eu-west-1.amazonaws.com", "sts.eu-west-2.amazonaws.com"),
    ],
)
def test_other_hosts_are_refused(url: str) -> None:
    assert reason(url) in {"sts_host", "sts_scope"}


@pytest.mark.parametrize(
    "url",
    [
        URL.replace("https://", "https://user@"),
        URL.replace("https://", "https://evil.example\\@"),
        URL.replace("https://sts", "https://evil.example#@sts"),
        URL.replace("https://", "HTTPS://"),
        URL.replace("amazonaws.com/?", "amazonaws.com/path?"),
        URL.replace("amazonaws.com/?", "amazonaws.com?"),
        URL.replace("amazonaws.com/?", "amazonaws.com//?"),
        URL + "#fragment",
        URL + "?",
        URL + "\r\nHost: evil.example",
        URL + " ",
        URL + ";Action=AssumeRole",
        URL.replace("https://sts", "https://štš"),
        "//" + URL.removeprefix("https://"),
        "",
    ],
)
def test_other_shapes_are_refused(url: str) -> None:
    assert reason(url) == "sts_shape"


def without(name: str) -> str:
    return re.sub(rf"(?<=[?&]){name}=[^&]*&?", "", URL).rstrip("&")


@pytest.mark.parametrize(
    "url",
    [
        *(
            without(name)
            for name in (
                "Action",
                "Version",
                "X-Amz-Algorithm",
                "X-Amz-Credential",
                "X-Amz-Date",
                "X-Amz-Expires",
                "X-Amz-SignedHeaders",
                "X-Amz-Signature",
            )
        ),
        URL + "&Action=GetCallerIdentity",
        URL + "&action=AssumeRole",
        URL + "&%41ction=AssumeRole",
        URL + "&RoleArn=x",
        URL + "&",
        URL + "&=",
        URL.replace("GetCallerIdentity", "GetSessionToken"),
        URL.replace("2011-06-15", "2012-06-15"),
        URL.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        URL.replace("host%3Bx-strongroom-audience", "host"),
        URL.replace("host%3Bx-strongroom-audience", "x-strongroom-audience"),
        URL.replace("host%3Bx-strongroom-audience", "host%3Bx-k8s-aws-id"),
        URL.replace("host%3Bx-strongroom-audience", "host%3Bx-other%3Bx-strongroom-audience"),
        re.sub("Signature=[0-9a-f]{64}", "Signature=" + "0" * 63, URL),
        re.sub("Signature=[0-9a-f]{64}", "Signature=" + "G" * 64, URL),
    ],
)
def test_other_parameters_are_refused(url: str) -> None:
    assert url != URL
    assert reason(url) == "sts_parameters"


@pytest.mark.parametrize(
    "url",
    [
        URL.replace("%2Fsts%2F", "%2Fs3%2F"),
        URL.replace("aws4_request", "aws4_request%2Fx"),
        URL.replace("%2F20261122%2F", "%2F20261121%2F"),
        URL.replace("X-Amz-Date=20261122T120000Z", "X-Amz-Date=20261122T126100Z"),
        URL.replace("X-Amz-Date=20261122T120000Z", "X-Amz-Date=20261122"),
    ],
)
def test_other_scopes_are_refused(url: str) -> None:
    assert url != URL
    assert reason(url) == "sts_scope"


@pytest.mark.parametrize("seconds", ["0", "901", "-1", "1e2", "٦٠", "60 ", "", "99999999999999"])
def test_validity_is_at_most_fifteen_minutes(seconds: str) -> None:
    quoted = re.sub("Expires=60", "Expires=" + "".join(f"%{b:02X}" for b in seconds.encode()), URL)
    assert reason(quoted) == "sts_validity"


def test_freshness() -> None:
    clock = HandClock()
    verifier = StsVerifier(audience="strongroom", clock=clock)
    token = sts_token(URL).removeprefix("sts.")
    for seconds, fits in [(-61, False), (1, True), (119, True), (1, False)]:
        clock.advance(seconds)
        if fits:
            verifier.inspect(token)
            continue
        with pytest.raises(CredentialRejected) as caught:
            verifier.inspect(token)
        assert caught.value.expired == (clock() > START)
        assert not caught.value.proven


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda b: b.decode("latin-1"))))
def test_any_other_token_is_refused(token: str) -> None:
    with pytest.raises(CredentialRejected):
        VERIFIER.inspect(token)


@given(st.integers(0, len(URL) - 1), st.characters(max_codepoint=0x7F))
def test_an_edited_url_stays_within_its_bounds(position: int, character: str) -> None:
    edited = URL[:position] + character + URL[position + 1 :]
    try:
        call = VERIFIER.inspect(sts_token(edited).removeprefix("sts."))
    except CredentialRejected:
        return
    assert call.host in sts_hosts()
    assert re.fullmatch(r"[A-Za-z0-9%&=._~+/:-]+", call.query)


def test_a_token_that_is_too_long_is_refused() -> None:
    with pytest.raises(CredentialRejected):
        VERIFIER.inspect("A" * 8193)
