"""What ``strongroom doctor`` asks: each question gives findings that say how to mend."""

import asyncio
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from vault_service.adapters.cedar import CedarEngine
from vault_service.adapters.policy_cases import load_cases, run_cases
from vault_service.adapters.policy_check import validate
from vault_service.adapters.policy_files import PolicyBundle, load_bundle
from vault_service.adapters.postgres import inspection
from vault_service.adapters.postgres.access import Access
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.readiness import Readiness
from vault_service.adapters.postgres.roles import SEALING
from vault_service.bootstrap import utc_now, wrappers
from vault_service.bootstrap_database import sealing_access
from vault_service.cli.doctor_database import (
    ROLES_AGAIN,
    UPGRADE,
    Check,
    database_checks,
    login_checks,
    schema_checks,
)
from vault_service.cli.doctor_log import log_checks
from vault_service.cli.operation import database
from vault_service.domain.errors import ConfigurationError, VaultError
from vault_service.domain.ports import KeyWrapper
from vault_service.production import RULES
from vault_service.services.recording import NO_TENANT, Recorder
from vault_service.settings import Settings, load

_MIB: Final = 1 << 20
_LOW_DISK: Final = 1024 * _MIB
_FULL_DISK: Final = 256 * _MIB
_KEY_SECONDS: Final = 20.0


def examine() -> list[Check]:
    """Every check, on the settings of the environment. Where no database is set, the
    embedded one is asked, started for it if need be."""
    try:
        settings = load()
    except ConfigurationError as error:
        return [Check("settings", "fail", str(error), "set what is named above, as it says")]
    checks = list(_settings(settings))
    bundle: PolicyBundle | None = None
    try:
        bundle = load_bundle(settings.policy_dir, settings.environment)
        checks += _policies(settings, bundle)
    except ConfigurationError as error:
        checks.append(Check("policies", "fail", str(error), "run: strongroom policy check"))
    checks += _disk(settings.home)
    try:
        with database(settings) as access:
            checks += asyncio.run(_services(settings, access, bundle))
    except ConfigurationError as error:
        checks.append(Check("database", "fail", str(error), "do as it says, then ask again"))
    except VaultError as error:
        checks.append(Check("database", "fail", error.detail, "the log line above has more"))
    return checks


def _settings(settings: Settings) -> Iterator[Check]:
    where = "the embedded database" if settings.embedded else "STRONGROOM_DATABASE_URL"
    keys = "AWS KMS" if settings.kms_key_arns else "a local root key"
    drain = f"drains for {settings.drain_seconds} s"
    yield Check("settings", "ok", f"{settings.environment}, {where}, {keys}, {drain}")
    refused = [rule.name for rule in RULES if any(rule.offends(settings))]
    if refused:
        found = f"for production these would have to change: {', '.join(refused)}"
        yield Check("settings", "ok", found)
    if settings.environment == "prod" and not settings.sealer_database_url:
        yield Check(
            "settings",
            "warn",
            "the service's own login seals the log and reads events of every tenant",
            "set STRONGROOM_SEALER_DATABASE_URL to log in as strongroom_seal for that",
        )


def _policies(settings: Settings, bundle: PolicyBundle) -> Iterator[Check]:
    whole = load_bundle(settings.policy_dir, None)
    findings = validate(whole)
    for finding in findings:
        place = f"{finding.file}:{finding.line}: " if finding.file else ""
        yield Check("policies", "fail", f"{place}{finding.rule}: {finding.detail}", "mend the file")
    if findings:
        return
    results = run_cases(CedarEngine(whole), load_cases(whole))
    wrong = sum(not result.passed for result in results)
    if wrong:
        yield Check(
            "policies",
            "fail",
            f"{wrong} of {len(results)} cases are decided otherwise than expected",
            "run: strongroom policy test",
        )
    else:
        left_out = f", left out here: {', '.join(bundle.left_out)}" if bundle.left_out else ""
        yield Check(
            "policies",
            "ok",
            f"{len(bundle.catalog.data_classes)} data classes, {len(bundle.principals)}"
            f" principals, {len(results)} cases as expected{left_out}",
        )


def _disk(home: Path) -> Iterator[Check]:
    place = home
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        yield Check("disk", "fail", f"{place}: {os.strerror(error.errno or 0)}", "mend the disk")
        return
    found = f"{free // _MIB:,} MiB free under {place}"
    mend = "make room, or move STRONGROOM_HOME"
    if free < _FULL_DISK:
        yield Check("disk", "fail", found, mend)
    elif free < _LOW_DISK:
        yield Check("disk", "warn", found, mend)
    else:
        yield Check("disk", "ok", found)


async def _services(settings: Settings, access: Access, bundle: PolicyBundle | None) -> list[Check]:
    opened = Database(access, hot_connections=1, ordinary_connections=1)
    await opened.open()
    try:
        checks: list[Check] = []
        ready = False
        try:
            facts = await inspection.inspect(opened, utc_now)
            checks += database_checks(settings, facts)
            ready = facts.has_schema
            checks += await schema_checks(opened) if ready else []
            if ready and settings.sealer_database_url:
                checks += await _sealing(settings, access)
        except VaultError as error:
            mend = "start it, mend STRONGROOM_DATABASE_URL, or on a new database " + UPGRADE
            checks.append(Check("database", "fail", error.detail, mend))
        tenants = [NO_TENANT]
        if bundle is not None:
            tenants += sorted({principal.tenant for principal in bundle.principals.values()})
        checks += await _keys(settings, opened if ready else None, tenants)
        if ready and bundle is not None:
            checks.append(await _audit(opened, bundle, tenants))
        if ready:
            checks += [check async for check in log_checks(settings, opened, utc_now)]
        return checks
    finally:
        await opened.close()


async def _sealing(settings: Settings, access: Access) -> list[Check]:
    sealing = Database(sealing_access(settings, access))
    try:
        login = await inspection.sealing_login(sealing)
        return list(login_checks(settings, login, SEALING.member_of))
    except VaultError:
        found = "the login of STRONGROOM_SEALER_DATABASE_URL cannot act as the sealer"
        return [Check("database", "fail", found, ROLES_AGAIN)]
    finally:
        await sealing.close()


async def _keys(settings: Settings, opened: Database | None, tenants: Sequence[str]) -> list[Check]:
    try:
        by_domain = wrappers(settings)
    except ConfigurationError as error:
        return [Check("keys", "fail", str(error), "do as it says, then ask again")]
    checks = []
    wrapping: dict[str, KeyWrapper] = {w.reference: w for w in by_domain.values()}
    for reference, wrapper in wrapping.items():
        checks.append(await _probe(settings, reference, wrapper))
    for each in by_domain.values():
        each.close()
    stored = {} if opened is None else await inspection.wrapped_by(opened, tenants)
    for reference, count in stored.items():
        if reference in wrapping:
            checks.append(Check("keys", "ok", f"{count} data keys under {reference}"))
        else:
            local = reference.startswith("local:")
            checks.append(
                Check(
                    "keys",
                    "fail" if local else "warn",
                    f"{count} data keys lie under {reference}, which is not in use here",
                    "restore the root.key that made them"
                    if local
                    else "keep that KMS key enabled as long as they are needed",
                )
            )
    return checks


async def _probe(settings: Settings, reference: str, wrapper: KeyWrapper) -> Check:
    secret = secrets.token_bytes(32)
    context = {
        "environment": settings.environment,
        "tenant": NO_TENANT,
        "data_class": "-",
        "purpose": "record",
        "key_id": "0",
    }
    try:
        async with asyncio.timeout(_KEY_SECONDS):
            intact = await wrapper.unwrap(await wrapper.wrap(secret, context), context) == secret
    except (VaultError, TimeoutError) as error:
        found = error.detail if isinstance(error, VaultError) else "no answer in time"
        mend = "check that the key is enabled, and that this role may use it"
        return Check("keys", "fail", f"{reference}: {found}", mend)
    if not intact:
        return Check("keys", "fail", f"{reference} gives back another key", "use another KMS")
    return Check("keys", "ok", f"{reference} wraps and unwraps")


async def _audit(opened: Database, bundle: PolicyBundle, tenants: Sequence[str]) -> Check:
    try:
        recorder = Recorder(CedarEngine(bundle), utc_now)
    except ConfigurationError:
        return Check("audit", "warn", "not examined: an event names the policies in force")
    try:
        await Readiness(opened, lambda: recorder.system_event("check_readiness")).audit()
    except VaultError as error:
        mend = "look for a full disk, a read-only database or a changed table audit_events"
        return Check("audit", "fail", error.detail, mend)
    newest = await inspection.newest_event(opened, tenants)
    if newest is None:
        return Check("audit", "ok", "can be written; no event yet")
    age = max(0.0, (datetime.now(UTC) - newest).total_seconds())
    return Check("audit", "ok", f"can be written; the newest event is {_told(age)} old")


def _told(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
