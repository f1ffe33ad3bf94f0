"""Authentication: which credentials are accepted, what is said of others, what is remembered."""

import asyncio
from dataclasses import replace

import pytest

from tests.authenticating import HERE, House, failure, principal
from tests.fakes.credentials import HandClock, MemoryCredentialStore
from vault_service.domain.credentials import (
    AuthenticationFailed,
    new_api_key,
)
from vault_service.domain.errors import Code, ConfigurationError
from vault_service.services.authenticate import Authenticator
from vault_service.services.throttle import AttemptLimiter
from vault_service.services.verification import CredentialVerifier


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
