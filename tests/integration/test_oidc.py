"""OIDC tokens, with an issuer that publishes its keys on this machine."""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey

from tests.fakes.credentials import START, HandClock
from tests.fakes.scripted_server import DROP, Reply, ScriptedServer
from tests.integration.oidc_issuer import (
    EC_KEY,
    ISSUER,
    NEXT_KEY,
    NOW,
    RSA_KEY,
    STRANGER,
    Rig,
    claims,
    jwks,
    raw,
    token,
)
from vault_service.adapters.identity.oidc import JwksCache, OidcVerifier
from vault_service.domain.credentials import CredentialRejected
from vault_service.domain.errors import Code, ConfigurationError, VaultError


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda _: Reply(500)) as server:
        yield server


@pytest.fixture
async def rig(server: ScriptedServer) -> AsyncIterator[Rig]:
    rig = Rig(server)
    yield rig
    await rig.verifier.close()


@pytest.mark.parametrize("key", [RSA_KEY, EC_KEY], ids=["RS256", "ES256"])
async def test_a_signed_token_is_accepted(rig: Rig, key: Any) -> None:
    identity = await rig.verifier.verify(token(claims(), key))
    assert identity.subject == "client-1"
    assert identity.valid_until == START + timedelta(seconds=630)
    assert await rig.subject(token(claims(aud=["other", "strongroom"]), key)) == "client-1"
    assert await rig.subject(token(claims(), key, typ="at+jwt")) == "client-1"
    assert rig.fetches == 1
    assert rig.server.seen[0].path == "/keys"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://evil.example"}, "oidc_claims"),
        ({"iss": ISSUER + "/"}, "oidc_claims"),
        ({"iss": [ISSUER]}, "oidc_claims"),
        ({"iss": None}, "oidc_claims"),
        ({"aud": "other"}, "oidc_claims"),
        ({"aud": []}, "oidc_claims"),
        ({"aud": "strongroom-2"}, "oidc_claims"),
        ({"aud": {"strongroom": 1}}, "oidc_claims"),
        ({"aud": None}, "oidc_claims"),
        ({"sub": None}, "oidc_claims"),
        ({"sub": ""}, "oidc_claims"),
        ({"sub": 7}, "oidc_claims"),
        ({"exp": None}, "oidc_claims"),
        ({"exp": "soon"}, "oidc_claims"),
        ({"exp": True}, "oidc_claims"),
        ({"exp": 1e400}, "oidc_claims"),
        ({"exp": 10**30}, "oidc_claims"),
        ({"exp": NOW - 30}, "oidc_expired"),
        ({"iat": None}, "oidc_claims"),
        ({"iat": NOW + 31}, "oidc_claims"),
        ({"iat": NOW - 3631}, "oidc_too_old"),
        ({"nbf": NOW + 31}, "oidc_claims"),
        ({"nbf": "x"}, "oidc_claims"),
    ],
)
async def test_claims_must_fit(rig: Rig, changes: dict[str, Any], reason: str) -> None:
    assert await rig.reason(token(claims(**changes))) == reason


async def test_small_clock_differences_are_forgiven(rig: Rig) -> None:
    assert await rig.subject(token(claims(iat=NOW + 30, nbf=NOW + 30))) == "client-1"
    assert await rig.subject(token(claims(exp=NOW - 29))) == "client-1"


async def test_expiry_is_only_told_of_tokens_that_the_issuer_signed(rig: Rig) -> None:
    with pytest.raises(CredentialRejected) as caught:
        await rig.verifier.verify(token(claims(exp=NOW - 60)))
    assert (caught.value.expired, caught.value.proven) == (True, True)
    with pytest.raises(CredentialRejected) as caught:
        await rig.verifier.verify(token(claims(exp=NOW - 60), STRANGER))
    assert (caught.value.expired, caught.value.proven) == (False, False)


async def test_foreign_and_edited_signatures_are_refused(rig: Rig) -> None:
    assert await rig.reason(token(claims(), STRANGER)) == "oidc_signature"
    header, body, signature = token(claims()).split(".")
    other_body = raw({}, claims(sub="admin")).split(".")[1]
    assert await rig.reason(f"{header}.{other_body}.{signature}") == "oidc_signature"
    assert await rig.reason(f"{header}.{body}.") == "oidc_signature"
    # RS256 header over a key of the other kind.
    confused = raw({"alg": "RS256", "kid": "ec-1"}, claims(), signature)
    assert await rig.reason(confused) == "oidc_signature"


async def test_the_token_does_not_choose_the_algorithm(rig: Rig) -> None:
    public = json.dumps(RSA_KEY.as_dict(private=False)).encode()
    hmac_key = OctKey.import_key(public + b" " * 64)
    forged = jwt.encode({"alg": "HS256", "kid": "rsa-1"}, claims(), hmac_key, ["HS256"])
    assert await rig.reason(forged) == "oidc_algorithm"
    for algorithm in ("none", "None", "HS256", "PS256", "ES384", "EdDSA", "", "RS256 "):
        assert await rig.reason(raw({"alg": algorithm}, signature="")) == "oidc_algorithm"
    assert rig.fetches == 0


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "ES256", "kid": 7},
        {"alg": "ES256", "typ": 7},
        {"alg": 7},
        {"alg": ["ES256"]},
        {},
        [],
        ["alg"],
        "alg",
        7,
        None,
        {"alg": "ES256", "crit": ["exp"], "exp": 1},
        {"alg": "ES256", "crit": ["b64"], "b64": False},
        {"alg": "ES256", "kid": "x" * 600},
    ],
)
async def test_odd_headers_are_refused(rig: Rig, header: Any) -> None:
    assert await rig.reason(raw(header)) in {"oidc_shape", "oidc_algorithm"}
    assert rig.fetches == 0


async def test_keys_named_by_the_token_are_not_used(rig: Rig) -> None:
    public = STRANGER.as_dict(private=False)
    for header in ({"jwk": public}, {"jku": f"{rig.server.url}/evil"}, {"x5u": rig.server.url}):
        assert await rig.reason(token(claims(), STRANGER, **header)) == "oidc_signature"
    assert {seen.path for seen in rig.server.seen} == {"/keys"}


async def test_other_types_of_token_are_refused(rig: Rig) -> None:
    for kind in ("logout+jwt", "dpop+jwt", "secevent+jwt"):
        assert await rig.reason(token(claims(), typ=kind)) == "oidc_algorithm"


async def test_payload_that_is_no_object_is_refused(rig: Rig) -> None:
    for payload in (b"[]", b"7", b"{", b"", b"\xff", b"[" * 3000):
        signed = jws.serialize_compact({"alg": "ES256", "kid": "ec-1"}, payload, EC_KEY)
        assert await rig.reason(signed) in {"oidc_shape", "oidc_signature"}


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=300))
async def test_any_other_text_is_refused(rig: Rig, text: str) -> None:
    with pytest.raises(CredentialRejected):
        await rig.verifier.verify(text)


async def test_a_new_key_is_found_at_once_but_not_at_will(rig: Rig) -> None:
    await rig.subject(token(claims()))
    rig.published = jwks(NEXT_KEY)
    # Within the smallest interval, made-up key ids cause no fetch.
    assert await rig.reason(token(claims(), NEXT_KEY)) == "oidc_unknown_key"
    assert rig.fetches == 1
    rig.clock.advance(15)
    assert await rig.subject(token(claims(), NEXT_KEY)) == "client-1"
    assert rig.fetches == 2
    # The old key was withdrawn, so it verifies no more.
    assert await rig.reason(token(claims())) == "oidc_unknown_key"
    for number in range(20):
        assert await rig.reason(token(claims(), kid=f"made-up-{number}")) == "oidc_unknown_key"
    assert rig.fetches == 2


async def test_keys_are_refreshed_when_they_grow_old(rig: Rig) -> None:
    await rig.subject(token(claims()))
    rig.clock.advance(299)
    await rig.subject(token(claims()))
    assert rig.fetches == 1
    rig.clock.advance(1)
    await rig.subject(token(claims()))
    assert rig.fetches == 2


@pytest.mark.parametrize(
    "fault",
    [
        DROP,
        Reply(500),
        Reply(302, headers={"Location": "/elsewhere"}),
        Reply(200, {"keys": []}),
        Reply(200, []),
        Reply(200, {"keys": {}}),
        Reply(200, {"keys": [7, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256", "x": 1, "y": 2}]}),
        Reply(200, content=b"<html>"),
        Reply(200, content=b" " * (256 * 1024 + 1)),
    ],
)
async def test_an_issuer_that_is_away(rig: Rig, fault: Reply) -> None:
    rig.server.faults.append(fault)
    with pytest.raises(VaultError) as caught:
        await rig.verifier.verify(token(claims()))
    assert caught.value.code is Code.KEY_UNAVAILABLE
    rig.clock.advance(15)
    assert await rig.subject(token(claims())) == "client-1"
    # Known keys serve for a while without the issuer, and not for ever.
    rig.published = {}
    rig.clock.advance(3599)
    assert await rig.subject(token(claims(iat=NOW + 3600, exp=NOW + 4200))) == "client-1"
    rig.clock.advance(1)
    with pytest.raises(VaultError):
        await rig.verifier.verify(token(claims(iat=NOW + 3600, exp=NOW + 4200)))


async def test_weak_and_foreign_keys_of_the_issuer_are_passed_over(rig: Rig) -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
    modulus = small.public_numbers().n.to_bytes(128)
    weak = {
        "kty": "RSA",
        "kid": "weak",
        "n": base64.urlsafe_b64encode(modulus).decode().rstrip("="),
        "e": "AQAB",
    }
    for_encryption = {**NEXT_KEY.as_dict(private=False), "use": "enc"}
    p384 = ECKey.generate_key("P-384", {"kid": "p384"})
    secret = {"kty": "oct", "kid": "oct", "k": "AAAA"}
    rig.published = jwks(weak, for_encryption, p384, secret, EC_KEY)
    assert await rig.subject(token(claims())) == "client-1"
    keys = await rig.cache.keys()
    assert [key.kid for key in keys.keys] == ["ec-1"]


async def test_private_members_in_a_key_set_are_not_taken_in(rig: Rig) -> None:
    rig.published = jwks(EC_KEY.as_dict(private=True), RSA_KEY.as_dict(private=True))
    assert await rig.subject(token(claims())) == "client-1"
    assert not any(key.is_private for key in (await rig.cache.keys()).keys)


async def test_one_key_needs_no_key_id(rig: Rig) -> None:
    rig.published = jwks(EC_KEY)
    assert await rig.subject(token(claims(), kid=None)) == "client-1"


def test_plain_http_must_be_asked_for() -> None:
    for url in ("http://issuer.example/keys", "ftp://issuer.example", "issuer.example/keys"):
        with pytest.raises(ConfigurationError):
            JwksCache(url)


def test_issuer_and_audience_are_needed() -> None:
    keys = JwksCache("https://issuer.example/keys")
    for issuer, audience in [("", "a"), ("i", "")]:
        with pytest.raises(ConfigurationError):
            OidcVerifier(issuer=issuer, audience=audience, jwks=keys, clock=HandClock())
