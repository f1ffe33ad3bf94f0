"""What ``strongroom doctor`` concludes from what the database says about itself."""

from collections.abc import Collection, Iterator
from typing import Final, Literal, NamedTuple, NoReturn

from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.inspection import Facts, Login
from vault_service.adapters.postgres.readiness import Readiness
from vault_service.adapters.postgres.schema import OWNER_ROLE, SERVICE_ROLE
from vault_service.domain.errors import VaultError
from vault_service.settings import Settings

UPGRADE: Final = "run: strongroom db upgrade"
"""The mend of a schema that is missing or old."""

ROLES_AGAIN: Final = "make the logins as `strongroom db roles` prints them, and use these"
"""The mend of a login that may do too much."""

_OLDEST_SERVER: Final = 150000
_SKEW_WARNS: Final = 1.0
_SKEW_FAILS: Final = 5.0
_DURABLE: Final = ("fsync", "full_page_writes")
_SILENT: Final = ("log_parameter_max_length", "log_parameter_max_length_on_error")


class Check(NamedTuple):
    """One answer: ``found`` is for people, ``mend`` says what to do, where there is
    something to do."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""


def database_checks(settings: Settings, facts: Facts) -> Iterator[Check]:
    """Version, login, durability, silence of the server's log, fences and clock."""
    if facts.version < _OLDEST_SERVER:
        yield Check("database", "fail", f"PostgreSQL {facts.version_text}", "upgrade it to 15+")
    else:
        yield Check("database", "ok", f"PostgreSQL {facts.version_text}")
    yield from login_checks(settings, facts.login, (SERVICE_ROLE,))
    if facts.open_to_all and not settings.embedded:
        yield Check(
            "database",
            "warn",
            "every login of the server may connect to this database",
            ROLES_AGAIN,
        )
    for name in _DURABLE:
        if facts.settings.get(name) != "on":
            yield Check(
                "database",
                "fail",
                f"{name} is {facts.settings.get(name)}: a crash loses what was acknowledged",
                f"set {name} = on in postgresql.conf",
            )
    if facts.settings.get("synchronous_commit") == "off":
        yield Check(
            "database",
            "fail",
            "synchronous_commit is off: a crash loses audit events of answers given",
            "set synchronous_commit = on in postgresql.conf",
        )
    for name in _SILENT:
        if facts.settings.get(name) != "0":
            yield Check(
                "database",
                "warn",
                f"{name} is not 0: parameters could reach the server's log",
                f"set {name} = 0 in postgresql.conf",
            )
    yield from _fences(facts)
    yield _clock(facts)


def login_checks(settings: Settings, login: Login, wanted: Collection[str]) -> Iterator[Check]:
    """Whether a login may do what it is for, which is to act as ``wanted``, and no more."""
    serious: Literal["warn", "fail"] = "fail" if settings.environment == "prod" else "warn"
    encrypted = "encrypted" if login.encrypted else "not encrypted"
    state: Literal["ok", "fail"] = "ok"
    if settings.environment == "prod" and not login.encrypted:
        state = "fail"
    mend = "switch ssl on at the server" if state == "fail" else ""
    yield Check("database", state, f"login {login.login}, {encrypted}", mend)
    # PCI-DSS 7.2.5: what a login may do is what a thief of it may do.
    for too_much, found in (
        (login.superuser or login.bypasses_fences, "is a superuser or bypasses row-level security"),
        (login.administers, "may make roles or databases, or replicate"),
        (OWNER_ROLE in login.acts_as, "may act as the owner of the tables"),
    ):
        if too_much:
            yield Check("database", serious, f"the login {login.login} {found}", ROLES_AGAIN)
            return
    more = set(login.acts_as) - set(wanted)
    if more and settings.sealer_database_url:
        found = f"the login {login.login} may act as {', '.join(sorted(more))} too"
        yield Check("database", "warn", found, ROLES_AGAIN)


def _fences(facts: Facts) -> Iterator[Check]:
    if not facts.has_schema:
        yield Check("schema", "fail", "the database has no schema of Strongroom", UPGRADE)
        return
    broken = [f"{table} has no row-level security" for table in facts.unfenced]
    if not facts.append_only:
        broken.append("the trigger that keeps audit events append-only is missing or disabled")
    if facts.may_change_audit:
        broken.append("the service's role may change or delete audit events")
    for found in broken:
        mend = "someone changed the schema: find out who, and restore it as the migration makes it"
        yield Check("schema", "fail", found, mend)


def _clock(facts: Facts) -> Check:
    skew = max(0.0, abs(facts.skew) - facts.uncertainty)
    found = f"within {max(skew, facts.uncertainty):.2f} s of the database's"
    mend = "let both machines keep their time by NTP"
    if skew > _SKEW_FAILS:
        return Check("clock", "fail", f"{skew:.1f} s off the database's", mend)
    if skew > _SKEW_WARNS:
        return Check("clock", "warn", f"{skew:.1f} s off the database's", mend)
    return Check("clock", "ok", found)


async def schema_checks(opened: Database) -> list[Check]:
    """Whether the schema is this release's."""
    readiness = Readiness(opened, _no_event)
    try:
        await readiness.database()
    except VaultError as error:
        return [Check("schema", "fail", error.detail, UPGRADE)]
    return [Check("schema", "ok", "of this release, tenants fenced, audit append-only")]


def _no_event() -> NoReturn:
    raise AssertionError("the schema is checked without an event")
