"""An OIDC issuer's keys and tokens, and a verifier that fetches the keys from this machine."""

import base64
import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from tests.fakes.credentials import START, HandClock
from tests.fakes.scripted_server import Reply, ScriptedServer
from vault_service.adapters.identity.oidc import JwksCache, OidcVerifier
from vault_service.domain.credentials import CredentialRejected

ISSUER = "https://issuer.example"
RSA_KEY = RSAKey.generate_key(2048, {"kid": "rsa-1"})
EC_KEY = ECKey.generate_key("P-256", {"kid": "ec-1"})
STRANGER = ECKey.generate_key("P-256", {"kid": "ec-1"})
NEXT_KEY = ECKey.generate_key("P-256", {"kid": "ec-2"})
NOW = int(START.timestamp())


def jwks(*keys: Any) -> dict[str, Any]:
    return {"keys": [key if isinstance(key, dict) else key.as_dict(private=False) for key in keys]}


def claims(**changes: Any) -> dict[str, Any]:
    body = {
        "iss": ISSUER,
        "aud": "strongroom",
        "sub": "client-1",
        "iat": NOW,
        "exp": NOW + 600,
    }
    return {k: v for k, v in {**body, **changes}.items() if v is not None}


def token(body: dict[str, Any], key: Any = EC_KEY, **header: Any) -> str:
    algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"
    full = {"alg": algorithm, "kid": key.kid, **header}
    return jwt.encode({k: v for k, v in full.items() if v is not None}, body, key, [algorithm])


def raw(header: Any, body: Any = None, signature: str = "AA") -> str:
    parts = [json.dumps(part).encode() for part in (header, body or claims())]
    encoded = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, signature])


class Rig:
    """A verifier, its issuer and the clock that both live by."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.clock = HandClock()
        self.published = jwks(RSA_KEY, EC_KEY)
        server.handler = lambda _: Reply(200, self.published)
        self.cache = JwksCache(
            f"{server.url}/keys",
            allow_plain_http=True,
            timeout_seconds=2,
            monotonic=self.clock.monotonic,
        )
        self.verifier = OidcVerifier(
            issuer=ISSUER, audience="strongroom", jwks=self.cache, clock=self.clock
        )

    async def subject(self, text: str) -> str:
        return (await self.verifier.verify(text)).subject

    async def reason(self, text: str) -> str:
        with pytest.raises(CredentialRejected) as caught:
            await self.verifier.verify(text)
        return caught.value.reason

    @property
    def fetches(self) -> int:
        return len(self.server.seen)
