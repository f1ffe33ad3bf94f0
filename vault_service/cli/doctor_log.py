"""What ``strongroom doctor`` asks of the transparency log: is it sealed, signed, and kept?"""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final, Literal

from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.log_reader import PostgresLogReader
from vault_service.bootstrap_log import checkpoint_anchor, signing_key
from vault_service.cli.doctor_database import Check
from vault_service.domain.checkpoints import open_checkpoint
from vault_service.domain.errors import ConfigurationError, VaultError
from vault_service.domain.notes import NoteError, VerifierKey
from vault_service.domain.ports import Clock
from vault_service.services.sealing import ALARMING
from vault_service.settings import Settings

_REWRITTEN: Final = (
    "export the log and verify it with a checkpoint that an auditor kept; see docs/audit-log.md"
)


async def log_checks(settings: Settings, opened: Database, clock: Clock) -> AsyncIterator[Check]:
    """The signing key, the copies of checkpoints, and what is not sealed yet."""
    reader = PostgresLogReader(opened)
    try:
        signer, anchor = signing_key(settings), checkpoint_anchor(settings)
    except ConfigurationError as error:
        yield Check("log", "fail", str(error), "do as it says, then ask again")
        return
    kept: str | None = None
    try:
        kept = await anchor.newest()
    except VaultError as error:
        yield Check("log", "fail", f"no copy of checkpoints is kept: {error.detail}", "see there")
    else:
        yield _anchor(settings)
    try:
        key = await signer.open()
    except VaultError as error:
        mend = "check that the key is enabled, and that this role may use it"
        yield Check("log", "fail", f"the signing key: {error.detail}", mend)
    else:
        yield Check("log", "ok", f"{key.name} is signed by key {key.key_id.hex()}")
        newest = await reader.newest_checkpoint()
        notes = ([] if newest is None else [newest.note]) + ([] if kept is None else [kept])
        yield _signed(settings, key, notes, await reader.size())
    finally:
        signer.close()
        anchor.close()
    since = await reader.unsealed_since()
    yield _unsealed(timedelta() if since is None else clock() - since)


def _anchor(settings: Settings) -> Check:
    if settings.audit_anchor:
        return Check("log", "ok", f"checkpoints are kept in {settings.audit_anchor}")
    state: Literal["ok", "warn"] = "warn" if settings.environment == "prod" else "ok"
    # PCI-DSS 10.3.3
    mend = "set STRONGROOM_AUDIT_ANCHOR_BUCKET to a bucket with Object Lock"
    found = f"checkpoints are kept in {settings.anchor_path}, within reach of this host"
    return Check("log", state, found, mend if state == "warn" else "")


def _signed(settings: Settings, key: VerifierKey, notes: list[str], size: int) -> Check:
    signed = 0
    for note in notes:
        try:
            signed = max(signed, open_checkpoint(note, key, settings.audit_origin).size)
        except NoteError:
            found = "a checkpoint that was signed before is not of this key and name"
            mend = "set the signing key and STRONGROOM_AUDIT_ORIGIN back to what they were"
            return Check("log", "fail", found, mend)
    if signed > size:
        found = f"{signed} leaves were signed, {size} are here: the log was rolled back"
        return Check("log", "fail", found, _REWRITTEN)
    return Check("log", "ok", f"{signed} of {size} leaves are signed")


def _unsealed(age: timedelta) -> Check:
    seconds = max(0, int(age.total_seconds()))
    if age <= ALARMING:
        found = f"what is not sealed yet is {seconds} seconds old" if seconds else "all is sealed"
        return Check("log", "ok", found)
    mend = "start the service; where it runs, its log says what stands in the sealer's way"
    return Check("log", "warn", f"events of {seconds // 60} minutes ago are not sealed", mend)
