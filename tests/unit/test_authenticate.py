"""Authentication by API key: what is accepted, what is said, who has to wait."""

import asyncio
from dataclasses import dataclass, replace
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
from vault_service.domain.errors import Code, ConfigurationError, VaultError
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


@pytest.fixture
async def house() -> House:
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
    house = House(clock, store, throttle, Issuer(clock), Aws(clock), principals, None)  # type: ignore[arg-type]
    house.auth = house.worker()
    return house


async def failure(house: House, header: str | None, source: str = HERE) -> AuthenticationFailed:
    with pytest.raises(AuthenticationFailed) as caught:
        await house.auth.authenticate(header, source)
    return caught.value


async def test_all_three_kinds_of_credential(house: House) -> None:
    assert await house.code(house.key()) == "checkout"
    assert await house.code("good.by.issuer") == "by-oidc"
    # The role's path is in principals.yml and not in what STS says.
    assert await house.code("sts.ASIA1_good") == "by-role"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
async def test_the_scheme_is_read_as_rfc_9110_says(house: House, scheme: str) -> None:
    key = house.key()
    assert (await house.auth.authenticate(f"{scheme} {key}", HERE)).name == "checkout"


async def test_every_refusal_looks_the_same(house: House) -> None:
    key, other = house.key(), new_api_key().secret.reveal()
    revoked, keyless, gone = house.key(), house.key("keyless"), house.key("gone")
    for credential in (revoked,):
        record = house.store.records[credential[4:16]]
        house.store.records[record.id] = replace(record, revoked_at=house.clock())
    wrong_secret = new_api_key(lambda n: bytes(12) + bytes([1] * (n - 12)))
    house.store.records[wrong_secret.id] = replace(
        house.store.records[key[4:16]], id=wrong_secret.id
    )
    headers = [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {key}",
        key,
        f"Bearer {key} {key}",
        f"Bearer {key}é",
        f"Bearer {key}\n",
        "Bearer " + "a" * 20_000,
        f"Bearer {key[:-1]}",
        f"Bearer {other}",
        f"Bearer {wrong_secret.secret.reveal()}",
        f"Bearer {revoked}",
        f"Bearer {keyless}",
        f"Bearer {gone}",
        "Bearer bad.by.issuer",
        "Bearer sts.ASIA1_bad",
        "Bearer sts.",
    ]
    told = set()
    for number, header in enumerate(headers):
        error = await failure(house, header, f"198.51.100.{number}")
        told.add((error.code, error.detail, str(error), error.retry_after, error.errors))
    assert len(told) == 1
    assert told.pop()[0] is Code.UNAUTHENTICATED


async def test_the_audit_log_may_know_more(house: House) -> None:
    key = house.key()
    house.store.records[key[4:16]] = replace(
        house.store.records[key[4:16]], revoked_at=house.clock()
    )
    error = await failure(house, f"Bearer {key}")
    assert (error.reason, error.method, error.key_id) == ("revoked", "api_key", key[4:16])
    assert error.counted
    assert key not in repr(error)
    unknown = await failure(house, f"Bearer {new_api_key().secret.reveal()}")
    assert (unknown.reason, unknown.key_id) == ("unknown_key", None)


async def test_no_credential_is_not_counted(house: House) -> None:
    for _ in range(30):
        error = await failure(house, None)
        assert error.code is Code.UNAUTHENTICATED
        assert not error.counted
    assert house.throttle.writes == 0


async def test_a_mistyped_key_is_refused_without_asking_the_store(house: House) -> None:
    key = house.key()
    assert await house.code(key[:-1] + ("0" if key[-1] != "0" else "1")) == "unauthenticated"
    assert house.store.lookups == 0


async def test_expiry_is_told_to_who_holds_the_secret_alone(house: House) -> None:
    key = house.key(days=1)
    house.clock.advance(86_400)
    assert await house.code(key) == "credential_expired"
    impostor = replace(house.store.records[key[4:16]], key_hash=bytes(32))
    house.store.records[impostor.id] = impostor
    assert await house.code(key) == "unauthenticated"


async def test_no_key_outlives_the_principals_max_age(house: House) -> None:
    key = house.key(days=3650)
    house.clock.advance(90 * 86_400 - 1)
    assert await house.code(key) == "checkout"
    house.clock.advance(1)
    assert await house.code(key) == "credential_expired"  # PCI-DSS 8.6.3
    shorter = principal("checkout", api_key_max_age_days=7)
    house.principals["checkout"] = shorter
    younger = house.key(days=30)
    house.clock.advance(8 * 86_400)
    assert await house.code(younger) == "credential_expired"


async def test_a_cached_key_asks_nobody(house: House) -> None:
    header = f"Bearer {house.key()}"
    assert house.auth.cached(header) is None
    await house.auth.authenticate(header, HERE)
    house.store.away = True
    assert (await house.auth.authenticate(header, HERE)).name == "checkout"
    cached = house.auth.cached(header)
    assert cached is not None
    assert cached.name == "checkout"
    assert house.store.lookups == 1


async def test_revocation_takes_effect_within_five_seconds(house: House) -> None:
    key = house.key()
    assert await house.code(key) == "checkout"
    record = house.store.records[key[4:16]]
    house.store.records[record.id] = replace(record, revoked_at=house.clock())
    house.clock.advance(5)
    assert house.auth.cached(f"Bearer {key}") is None
    assert await house.code(key) == "unauthenticated"


async def test_a_key_does_not_outlive_its_expiry_in_the_cache(house: House) -> None:
    key = house.key(days=2 / 86_400)
    assert await house.code(key) == "checkout"
    house.clock.advance(2)
    assert await house.code(key) == "credential_expired"


async def test_the_cache_holds_no_credential_and_is_bounded(house: House) -> None:
    first = house.key()
    await house.code(first)
    for _ in range(4096):
        await house.code(house.key())
    entries = house.auth._cache
    assert len(entries) == 4096
    assert {len(key) for key in entries} == {32}
    assert first.encode() not in b"".join(entries)
    assert house.auth.cached(f"Bearer {first}") is None


async def test_many_callers_of_one_key_share_one_lookup(house: House) -> None:
    key = house.key()
    names = await asyncio.gather(*(house.code(key) for _ in range(64)))
    assert set(names) == {"checkout"}
    assert house.store.lookups == 1


async def test_one_caller_who_hangs_up_does_not_fail_the_others(house: House) -> None:
    house.aws.hold.clear()
    first = asyncio.create_task(house.code("sts.ASIA1_good"))
    second = asyncio.create_task(house.code("sts.ASIA1_good"))
    while house.aws.calls == 0:
        await asyncio.sleep(0)
    first.cancel()
    house.aws.hold.set()
    assert await second == "by-role"
    assert house.aws.calls == 1


async def test_ten_tries_then_a_wait_that_doubles(house: House) -> None:
    bad = f"Bearer {new_api_key().secret.reveal()}"
    codes = [(await failure(house, bad)).code for _ in range(11)]  # PCI-DSS 8.3.4
    assert codes == [Code.UNAUTHENTICATED] * 10 + [Code.RATE_LIMITED]
    waits = []
    for _ in range(4):
        error = await failure(house, bad)
        assert error.code is Code.RATE_LIMITED
        assert error.retry_after is not None
        waits.append(error.retry_after)
        house.clock.advance(error.retry_after)
        assert (await failure(house, bad)).code is Code.RATE_LIMITED
    assert waits == [30, 60, 120, 240]


async def test_a_right_key_is_never_locked_out(house: House) -> None:
    key, bad = house.key(), new_api_key().secret.reveal()
    for _ in range(40):
        await house.code(bad)
    assert await house.code(bad) == "rate_limited"
    # Not verified before, and from the very address that has to wait.
    assert await house.code(key) == "checkout"
    assert await house.code("good.by.issuer") == "by-oidc"


async def test_other_sources_do_not_wait(house: House) -> None:
    bad = new_api_key().secret.reveal()
    for _ in range(12):
        await house.code(bad, "2001:db8::1")
    # The rest of the same /64 is the same host, the next /64 is not.
    assert await house.code(bad, "2001:db8::ffff") == "rate_limited"
    assert await house.code(bad, "2001:db8:0:1::1") == "unauthenticated"


async def test_workers_share_the_count(house: House) -> None:
    bad = f"Bearer {new_api_key().secret.reveal()}"
    workers = [house.worker() for _ in range(4)]
    codes = []
    for number in range(11):
        with pytest.raises(AuthenticationFailed) as caught:
            await workers[number % 4].authenticate(bad, HERE)
        codes.append(caught.value.code)
    assert codes == [Code.UNAUTHENTICATED] * 10 + [Code.RATE_LIMITED]


async def test_a_flood_costs_no_write_and_no_record_per_attempt(house: House) -> None:
    bad = f"Bearer {new_api_key().secret.reveal()}"
    counted = [(await failure(house, bad)).counted for _ in range(500)]
    assert counted == [True] * 11 + [False] * 489
    assert house.throttle.writes == 11


async def test_the_window_slides(house: House) -> None:
    bad = f"Bearer {new_api_key().secret.reveal()}"
    for _ in range(10):
        assert (await failure(house, bad)).code is Code.UNAUTHENTICATED
    house.clock.advance(15 * 60 + 10)
    assert (await failure(house, bad)).code is Code.UNAUTHENTICATED


async def test_forgetting_to_rotate_is_no_guessing(house: House) -> None:
    key = house.key(days=1)
    house.clock.advance(86_400)
    assert {await house.code(key) for _ in range(30)} == {"credential_expired"}
    assert {await house.code("expired.by.issuer") for _ in range(30)} == {"credential_expired"}
    assert house.throttle.writes == 0
    # What the caller wrote into an unsigned URL proves nothing, and counts.
    codes = [await house.code("sts.ASIA1_old") for _ in range(11)]
    assert codes == ["credential_expired"] * 10 + ["rate_limited"]


async def test_a_waiting_source_makes_no_calls_to_aws(house: House) -> None:
    for _ in range(11):
        await house.code("sts.ASIA2_bad")
    calls = house.aws.calls
    error = await failure(house, "Bearer sts.ASIA2_bad2")
    assert (error.code, error.counted, error.reason) == (Code.RATE_LIMITED, False, "waiting")
    # Another worker knows from the shared count.
    with pytest.raises(AuthenticationFailed) as caught:
        await house.worker().authenticate("Bearer sts.ASIA2_bad3", HERE)
    assert caught.value.code is Code.RATE_LIMITED
    assert caught.value.retry_after is not None
    assert house.aws.calls == calls
    # After the wait it may try again.
    house.clock.advance(caught.value.retry_after)
    assert await house.code("sts.ASIA2_good") == "by-role"


async def test_a_role_that_aws_confirmed_before_is_not_locked_out(house: House) -> None:
    assert await house.code("sts.ASIA1_good") == "by-role"
    for _ in range(20):
        await house.code("sts.ASIA2_bad")
    assert await house.code("sts.ASIA1_good-and-newly-signed") == "by-role"


async def test_calls_to_aws_are_bounded(house: House) -> None:
    assert await house.code("sts.ASIA1_good") == "by-role"
    house.aws.hold.clear()
    flood = [
        asyncio.create_task(house.code(f"sts.ASIA2_bad{n}", f"198.51.100.{n}")) for n in range(16)
    ]
    while house.aws.calls < 17:
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert await house.code("sts.ASIA3_good") == "rate_limited"
    # Known callers have call slots of their own.
    known = asyncio.create_task(house.code("sts.ASIA1_good2"))
    while house.aws.calls < 18:
        await asyncio.sleep(0)
    house.aws.hold.set()
    assert await known == "by-role"
    assert set(await asyncio.gather(*flood)) == {"unauthenticated"}


async def test_a_database_that_is_away_is_said_so(house: House) -> None:
    key = house.key()
    house.store.away = True
    assert await house.code(key) == "database_unavailable"
    house.throttle.away = True
    # Malformed needs no database to be refused, nor to be refused the same.
    assert await house.code("srk_nonsense") == "unauthenticated"
    house.store.away = False
    assert await house.code(key) == "checkout"


async def test_last_use_is_written_at_most_once_a_minute(house: House) -> None:
    key = house.key()
    await house.code(key)
    used_at = house.clock()
    house.clock.advance(3)
    await house.auth.flush()
    assert house.store.records[key[4:16]].last_used_at == used_at
    await house.code(key)
    house.clock.advance(30)
    await house.auth.flush()
    assert house.store.records[key[4:16]].last_used_at == used_at
    house.clock.advance(30)
    await house.auth.flush()
    assert house.store.records[key[4:16]].last_used_at == used_at + timedelta(seconds=3)


async def test_cached_use_counts_as_use_and_shutdown_writes_it(house: House) -> None:
    key = house.key()
    await house.code(key)
    await house.auth.flush()
    house.clock.advance(4)
    assert house.auth.cached(f"Bearer {key}") is not None
    await house.auth.flush(everything=True)
    assert house.store.records[key[4:16]].last_used_at == house.clock()


async def test_a_failed_flush_is_tried_again(house: House) -> None:
    key = house.key()
    await house.code(key)
    used_at = house.clock()
    house.store.away = True
    with pytest.raises(VaultError):
        await house.auth.flush()
    house.store.away = False
    await house.auth.flush()
    assert house.store.records[key[4:16]].last_used_at == used_at


async def test_old_counts_are_forgotten(house: House) -> None:
    await house.code("nonsense")
    house.clock.advance(3600)
    await house.auth.flush()
    assert house.throttle.slices == {}


@pytest.mark.parametrize(
    "ways",
    [
        {"oidc_subject": "same"},
        {"aws_role_arn": "arn:aws:iam::123456789012:role/app"},
    ],
)
def test_two_principals_may_not_share_an_identity(ways: dict[str, str]) -> None:
    pair = {name: principal(name, **ways) for name in ("one", "two")}
    with pytest.raises(ConfigurationError):
        CredentialVerifier(pair, MemoryCredentialStore(), HandClock())


def test_a_role_arn_that_can_never_match_is_refused() -> None:
    wrong = principal("one", aws_role_arn="arn:aws:sts::123456789012:assumed-role/app/s")
    with pytest.raises(ConfigurationError):
        CredentialVerifier({"one": wrong}, MemoryCredentialStore(), HandClock())


async def test_methods_that_are_off_are_refused_like_anything_else(house: House) -> None:
    verifier = CredentialVerifier(house.principals, house.store, house.clock)
    auth = Authenticator(
        verifier, house.store, AttemptLimiter(house.throttle, house.clock), house.clock
    )
    for credential in ("good.by.issuer", "sts.ASIA1_good"):
        with pytest.raises(AuthenticationFailed) as caught:
            await auth.authenticate(f"Bearer {credential}", HERE)
        assert caught.value.code is Code.UNAUTHENTICATED


async def test_the_warm_path_never_yields(house: House) -> None:
    header = f"Bearer {house.key()}"
    await house.auth.authenticate(header, HERE)
    coroutine = house.auth.authenticate(header, HERE)
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    assert done.value.value.name == "checkout"
