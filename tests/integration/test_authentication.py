"""A key's whole life on a real database, seen by several workers."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fakes.credentials import START, HandClock
from vault_service.adapters.postgres.credentials import PostgresCredentialStore, PostgresThrottle
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.embedded.state import APP, MIGRATOR
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.domain.access import AccessRequest, Decision, Explanation
from vault_service.domain.credentials import AuthenticationFailed, new_api_key
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.principals import Authentication, Principal, PrincipalType
from vault_service.services.authenticate import Authenticator
from vault_service.services.principals import ApiKeys
from vault_service.services.recording import Recorder
from vault_service.services.throttle import AttemptLimiter
from vault_service.services.verification import CredentialVerifier

PRINCIPALS = {
    name: Principal(name, PrincipalType.SERVICE, "main", authentication=Authentication(days))
    for name, days in [("checkout", 30), ("keyless", None)]
}


class NoPolicies:
    bundle_hash = "0" * 64

    def decide(self, request: AccessRequest) -> Decision:
        return Decision(False)

    def explain(self, request: AccessRequest) -> Explanation:
        return Explanation(self.decide(request))


class Workers:
    """Two workers and an operator over one database, with one clock."""

    def __init__(self, database: Database) -> None:
        self.clock = HandClock(START)
        self.store = PostgresCredentialStore(database)
        self.throttle = PostgresThrottle(database)
        self.keys = ApiKeys(PRINCIPALS, self.store, Recorder(NoPolicies(), self.clock), self.clock)
        self.workers = [
            Authenticator(
                CredentialVerifier(PRINCIPALS, self.store, self.clock),
                self.store,
                AttemptLimiter(self.throttle, self.clock),
                self.clock,
                monotonic=self.clock.monotonic,
            )
            for _ in range(2)
        ]

    async def told(self, key: str, source: str = "192.0.2.1", worker: int = 0) -> str:
        try:
            return (await self.workers[worker].authenticate(f"Bearer {key}", source)).name
        except AuthenticationFailed as failure:
            return failure.code.value


@pytest.fixture(scope="module")
def app_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    urls = postgres.create_database("authentication")
    upgrade(urls[MIGRATOR])
    yield urls[APP]
    postgres.drop_database("authentication")


@pytest.fixture
async def vault(app_url: str) -> AsyncIterator[Workers]:
    database = Database(app_url)
    yield Workers(database)
    await database.close()


async def test_issue_use_rotate_revoke(vault: Workers) -> None:
    old = await vault.keys.issue("checkout", "test")
    assert await vault.told(old.secret.reveal()) == "checkout"
    new = await vault.keys.rotate("checkout", "test")
    assert new.shortened == (old.record.id,)
    # Both work during the overlap, then the new one alone.
    for key in (old, new):
        assert await vault.told(key.secret.reveal(), worker=1) == "checkout"
    vault.clock.advance(24 * 3600)
    assert await vault.told(old.secret.reveal(), worker=1) == "credential_expired"
    assert await vault.told(new.secret.reveal(), worker=1) == "checkout"
    await vault.keys.revoke(new.record.id, "test")
    vault.clock.advance(5)
    for worker in (0, 1):
        assert await vault.told(new.secret.reveal(), worker=worker) == "unauthenticated"


async def test_last_use_is_kept_by_the_latest_worker(vault: Workers) -> None:
    key = await vault.keys.issue("checkout", "test")
    await vault.told(key.secret.reveal(), worker=0)
    vault.clock.advance(2)
    await vault.told(key.secret.reveal(), worker=1)
    latest = vault.clock()
    for worker in reversed(vault.workers):
        await worker.flush()
    record = await vault.store.find(key.record.id)
    assert record is not None
    assert record.last_used_at == latest


async def test_workers_count_failures_together_and_let_the_right_caller_in(
    vault: Workers,
) -> None:
    """PCI-DSS 8.3.4"""
    key, bad = await vault.keys.issue("checkout", "test"), new_api_key().secret.reveal()
    here = "198.51.100.7"
    codes = [await vault.told(bad, here, number % 2) for number in range(12)]
    assert codes == ["unauthenticated"] * 10 + ["rate_limited"] * 2
    for worker in (0, 1):
        assert await vault.told(key.secret.reveal(), here, worker) == "checkout"
    assert await vault.told(bad, "198.51.100.8") == "unauthenticated"


@pytest.mark.parametrize(
    ("name", "days", "code"),
    [
        ("nobody", None, Code.NOT_FOUND),
        ("keyless", None, Code.ACCESS_DENIED),
        ("checkout", 31, Code.INVALID_VALUE),
        ("checkout", 0, Code.INVALID_VALUE),
        ("checkout", -1, Code.INVALID_VALUE),
        ("checkout", 10**12, Code.INVALID_VALUE),
    ],
)
async def test_what_may_not_be_issued(
    vault: Workers, name: str, days: int | None, code: Code
) -> None:
    before = await vault.keys.list()
    for make in (vault.keys.issue, vault.keys.rotate):
        with pytest.raises(VaultError) as caught:
            await make(name, "test", days=days)
        assert caught.value.code is code
    assert await vault.keys.list() == before
