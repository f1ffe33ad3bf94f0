"""An authenticator with everything around it in memory, and those whom it asks."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests.fakes.credentials import HandClock, MemoryCredentialStore, MemoryThrottle
from vault_service.domain.credentials import (
    ApiKeyRecord,
    AuthenticationFailed,
    CredentialRejected,
    PresignedCall,
    VerifiedIdentity,
    new_api_key,
)
from vault_service.domain.errors import VaultError
from vault_service.domain.principals import Authentication, Principal, PrincipalType
from vault_service.services.authenticate import Authenticator
from vault_service.services.throttle import AttemptLimiter
from vault_service.services.verification import CredentialVerifier

HERE = "192.0.2.1"
ROLE = "arn:aws:iam::123456789012:role/app"


def principal(name: str, **ways: object) -> Principal:
    return Principal(
        name,
        PrincipalType.SERVICE,
        "main",
        authentication=Authentication(**ways),  # type: ignore[arg-type]
    )


class Issuer:
    """Meets ``TokenVerifier``: knows tokens by heart."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.calls = 0

    async def verify(self, token: str) -> VerifiedIdentity:
        self.calls += 1
        if token == "expired.by.issuer":
            raise CredentialRejected("oidc_expired", expired=True, proven=True)
        if token != "good.by.issuer":
            raise CredentialRejected("oidc_signature")
        return VerifiedIdentity("sub-1", self.clock() + timedelta(hours=1))


class Aws:
    """Meets ``PresignedVerifier``: a token is ``<access key id>_<good|bad|old>``."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.calls = 0
        self.hold = asyncio.Event()
        self.hold.set()

    def inspect(self, token: str) -> PresignedCall:
        access_key_id, _, query = token.partition("_")
        if query == "old":
            raise CredentialRejected("sts_expired", expired=True)
        return PresignedCall(access_key_id, "sts", query, self.clock() + timedelta(minutes=1))

    async def confirm(self, call: PresignedCall) -> VerifiedIdentity:
        self.calls += 1
        await self.hold.wait()
        if not call.query.startswith("good"):
            raise CredentialRejected("sts_refused")
        return VerifiedIdentity(ROLE, call.expires_at)


@dataclass
class House:
    """An authenticator with everything around it."""

    clock: HandClock
    store: MemoryCredentialStore
    throttle: MemoryThrottle
    issuer: Issuer
    aws: Aws
    principals: dict[str, Principal]
    auth: Authenticator

    def key(self, name: str = "checkout", days: float = 30) -> str:
        made = new_api_key()
        now = self.clock()
        self.store.records[made.id] = ApiKeyRecord(
            made.id, name, made.key_hash, now, now + timedelta(days=days)
        )
        return made.secret.reveal()

    async def code(self, credential: str, source: str = HERE) -> str:
        try:
            return (await self.auth.authenticate(f"Bearer {credential}", source)).name
        except VaultError as error:
            return error.code.value

    def worker(self) -> Authenticator:
        verifier = CredentialVerifier(
            self.principals, self.store, self.clock, oidc=self.issuer, sts=self.aws
        )
        return Authenticator(
            verifier,
            self.store,
            AttemptLimiter(self.throttle, self.clock),
            self.clock,
            monotonic=self.clock.monotonic,
        )


async def failure(house: House, header: str | None, source: str = HERE) -> AuthenticationFailed:
    with pytest.raises(AuthenticationFailed) as caught:
        await house.auth.authenticate(header, source)
    return caught.value


def house_of() -> House:
    """A house with one principal of each way to authenticate."""
    clock = HandClock()
    store, throttle = MemoryCredentialStore(), MemoryThrottle()
    principals = {
        p.name: p
        for p in (
            principal("checkout", api_key_max_age_days=90),
            principal("keyless"),
            principal("by-oidc", oidc_subject="sub-1"),
            principal("by-role", aws_role_arn="arn:aws:iam::123456789012:role/path/app"),
        )
    }
    made = House(clock, store, throttle, Issuer(clock), Aws(clock), principals, None)  # type: ignore[arg-type]
    made.auth = made.worker()
    return made
