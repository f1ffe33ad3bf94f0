"""Credentials: renewal, and the AWS role token's form."""

import base64
from urllib.parse import parse_qs, urlsplit

import pytest

from vault_service.client import ClientMisconfigured, Credentials, sts_token


def test_a_source_is_asked_again_after_its_lifetime() -> None:
    now = [0.0]
    made = iter(["one", "two", "three"])
    credentials = Credentials(lambda: next(made), lifetime=30, clock=lambda: now[0])
    assert [credentials.current(), credentials.current()] == ["one", "one"]
    now[0] = 30.0
    assert credentials.cached() is None
    assert credentials.current() == "two"
    assert credentials.renew("one")
    assert credentials.current() == "two"
    assert credentials.renew("two")
    assert credentials.current() == "three"


def test_a_fixed_token_cannot_be_renewed() -> None:
    credentials = Credentials("srk_x")
    assert not credentials.renew("srk_x")
    assert credentials.current() == "srk_x"


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "näme", "\x00"])
def test_a_credential_that_is_no_header_is_refused(token: str) -> None:
    with pytest.raises(ClientMisconfigured) as caught:
        Credentials(token).current()
    assert token not in str(caught.value)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-nobody")


def test_a_role_token_is_a_presigned_identity_request(aws: None) -> None:
    token = sts_token("strongroom-test", "eu-west-1")
    assert token.startswith("sts.")
    assert "=" not in token
    encoded = token.removeprefix("sts.")
    url = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    assert (parts.scheme, parts.netloc) == ("https", "sts.eu-west-1.amazonaws.com")
    assert query["Action"] == ["GetCallerIdentity"]
    assert query["X-Amz-SignedHeaders"] == ["host;x-strongroom-audience"]
    assert query["X-Amz-Expires"] == ["60"]
    # The audience is signed, not carried: the vault puts its own into the check.
    assert "strongroom-test" not in url
    assert "a-secret-of-nobody" not in url


def test_missing_aws_credentials_say_so(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ClientMisconfigured, match="no AWS credentials"):
        sts_token("strongroom", "eu-west-1")
