"""``strongroom audit archive`` on a real database (PCI-DSS 10.5.1): months leave the log for
files that verify, and the tree stays as it was."""

import asyncio
import hashlib
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.archiving.vault import KEPT, OLD, OLDER, OLDEST, THIS, ArchivedVault, Filled
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.event_index import PostgresEventIndex
from vault_service.bootstrap import open_services
from vault_service.domain import bundle
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.events import canonical_bytes, new_event_id
from vault_service.services.context import RequestContext
from vault_service.settings import load
from vault_service.verifier.bundles import verify_bundle
from vault_service.verifier.findings import Kind, Verdict


def test_months_past_their_retention_go_to_files_that_verify(
    vault: ArchivedVault, filled: Filled
) -> None:
    kept = vault.did("checkpoint")
    before = vault.exported(kept)
    assert set(before.withheld) == set()
    told = vault.archive()
    assert [each["month"] for each in told] == [str(month) for month in (OLDEST, OLDER, OLD)]
    for each, month in zip(told, (OLDEST, OLDER, OLD), strict=True):
        path = vault.file(month)
        assert each["state"] == "detached"
        assert each["file"] == str(path)
        assert each["events"] == len(filled[month])
        assert each["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        report = vault.verified(path)
        assert report.scope == "all"
        lines = map(bundle.decode, path.read_bytes().splitlines(keepends=True))
        shown = {line.body for line in lines if isinstance(line, bundle.Event)}
        assert {canonical_bytes(made) for made in filled[month]} <= shown
    assert set(vault.at_hand()) == {str(KEPT), str(THIS)}
    assert vault.query(
        "SELECT to_char(month, 'YYYY-MM'), first_leaf, last_leaf, events, encode(sha256, 'hex')"
        " FROM strongroom.log_archives ORDER BY 1"
    ) == [
        tuple(each[name] for name in ("month", "first_leaf", "last_leaf", "events", "sha256"))
        for each in told
    ]
    # The tree is the same, with the leaves that it had, and says what is where.
    after = vault.exported(kept)
    assert after.leaves > before.leaves
    assert set(after.withheld) == {"archived"}
    assert after.withheld["archived"].count == sum(len(filled[m]) for m in (OLDEST, OLDER, OLD))
    assert vault.archive() == []


def test_that_it_was_archived_is_recorded(vault: ArchivedVault, filled: Filled) -> None:
    told = vault.archive()
    bodies = [
        json.loads(body)
        for (body,) in vault.query(
            "SELECT body FROM strongroom.audit_events WHERE action = 'archive_audit'"
            " ORDER BY position"
        )
    ]
    names = ("month", "first_leaf", "last_leaf", "events", "sha256")
    assert [body["detail"] for body in bodies] == [{n: each[n] for n in names} for each in told]
    assert all(body["principal"].startswith("operator:") for body in bodies)


def test_what_was_detached_stays_as_it_was_until_it_is_dropped(
    vault: ArchivedVault, filled: Filled
) -> None:
    for each, month in zip(vault.archive(), (OLDEST, OLDER, OLD), strict=True):
        rows = vault.query(f"SELECT body FROM {each['table']}")
        assert {bytes(body) for (body,) in rows} == set(map(canonical_bytes, filled[month]))
        for change in ("UPDATE {} SET body = ''", "DELETE FROM {}", "TRUNCATE {}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                vault.superuser.execute(change.format(each["table"]).encode())
        assert vault.query(
            "SELECT relrowsecurity, relacl IS NULL FROM pg_class WHERE oid = to_regclass(%s)",
            each["table"],
        ) == [(True, True)]
    # Not without the file that it was archived in.
    path = vault.file(OLDER)
    path.rename(path.with_suffix(".away"))
    result = vault.run("archive", "-o", str(vault.folder), "--drop")
    assert result.exit_code == 2
    assert str(path) in result.stderr
    path.with_suffix(".away").rename(path)
    assert [each["state"] for each in vault.archive("--drop")] == ["dropped"] * 2
    assert vault.archive("--drop") == []
    for month in (OLDEST, OLDER, OLD):
        name = f"strongroom.audit_events_{month.first:%Y_%m}"
        assert vault.query("SELECT to_regclass(%s)", name) == [(None,)]


def test_archived_and_dropped_at_once(vault: ArchivedVault, filled: Filled) -> None:
    assert [each["state"] for each in vault.archive("--drop")] == ["dropped"] * 3
    tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'audit\\_events\\_%'"
    [(left,)] = vault.query(tables)
    assert left == 6  # KEPT, this month, the next three, the default one
    assert vault.exported().withheld["archived"].count == sum(
        len(filled[month]) for month in (OLDEST, OLDER, OLD)
    )


async def test_the_index_forgets_what_left_the_log(vault: ArchivedVault, filled: Filled) -> None:
    """And finds what is left, in a segment that is of several months."""
    database = Database(vault.urls.app_url)
    await database.open()
    index = PostgresEventIndex(database, least_events=1, least_terms=1)
    assert await index.extend()
    vault.put(KEPT.end - timedelta(days=1))
    for _ in range(20):
        vault.put(OLD.start)
    await asyncio.to_thread(vault.did, "checkpoint")
    assert await index.extend()
    segments = "SELECT last_position FROM strongroom.event_segments ORDER BY 1"
    first, second = vault.query(segments)
    await asyncio.to_thread(vault.archive)
    assert vault.query(segments) == [first, second], "each has events of the months that are kept"
    await asyncio.to_thread(vault.archive, "--keep-months", "11")
    assert vault.query(segments) == [second], "where the next one begins"
    postings = "SELECT DISTINCT last_position FROM strongroom.event_postings"
    assert vault.query(postings) in ([], [second])
    await database.close()


def test_a_dry_run_does_nothing(vault: ArchivedVault, filled: Filled) -> None:
    vault.put(OLD.start)
    told = vault.archive("--dry-run", "--keep-months", "12")
    assert [(each["month"], each["state"], each["unsigned"]) for each in told] == [
        (str(OLDEST), "due", 0),
        (str(OLDER), "due", 0),
        (str(OLD), "unsigned", 1),
    ]
    assert not vault.folder.exists()
    assert "would be refused" in vault.did("archive", "-o", str(vault.folder), "--dry-run")
    assert sum(vault.at_hand().values()) == sum(map(len, filled.values())) + 1


def test_how_long_events_stay_at_hand(vault: ArchivedVault, filled: Filled) -> None:
    """PCI-DSS 10.5.1: three months, whatever is asked for."""
    assert "3" in vault.refused(2, "--keep-months", "2")
    vault.put(THIS.before(4).end - timedelta(microseconds=1))
    vault.put(THIS.before(3).start)
    told = vault.archive("--keep-months", "3")
    assert [each["month"] for each in told] == [
        str(month) for month in (OLDEST, OLDER, OLD, KEPT, THIS.before(4))
    ]
    assert str(THIS.before(3)) in vault.at_hand()


def test_what_went_without_the_command_is_missing(
    vault: ArchivedVault, filled: Filled, tmp_path: Path
) -> None:
    """``archived`` is said of what the command took off, and of nothing else."""
    vault.archive()
    table = f"strongroom.audit_events_{KEPT.first:%Y_%m}"
    vault.superuser.execute(
        f"ALTER TABLE strongroom.audit_events DETACH PARTITION {table}".encode()
    )
    path = tmp_path / "export.ndjson"
    vault.did("export", "-o", str(path))
    with path.open("rb") as stream:
        report = verify_bundle(stream, vault.key())
    assert report.verdict is Verdict.TAMPERED
    assert {finding.kind for finding in report.findings} == {Kind.EVENT_MISSING}
    assert report.withheld["missing"].count == len(filled[KEPT])
    assert report.withheld["archived"].count == sum(len(filled[m]) for m in (OLDEST, OLDER, OLD))


def test_receipts_of_archived_events(vault: ArchivedVault, filled: Filled) -> None:
    assert vault.did("receipt", filled[OLD][0].id).startswith("c2sp.org/tlog-proof@v1\n")
    vault.archive()
    result = vault.run("receipt", filled[OLD][0].id)
    assert result.exit_code == 2
    assert f"audit-{OLD}.ndjson" in result.stderr
    assert vault.did("receipt", filled[KEPT][0].id).startswith("c2sp.org/tlog-proof@v1\n")
    result = vault.run("receipt", new_event_id())
    assert result.stderr.strip() == "There is no such event."


async def test_receipts_of_archived_events_for_callers(
    vault: ArchivedVault, filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for an id that never was: whether there was one is not told."""
    await asyncio.to_thread(vault.archive)
    for name, value in vault.environment.items():
        monkeypatch.setenv(name, value)
    mine = next(made for made in filled[OLD] if made.tenant == "main").id
    async with open_services(load()) as services:
        proof = services.application.proofs.proof
        context = RequestContext(services.principals["auditor"], "req", datetime.now(UTC))
        for asked in (mine, mine[:-4] + "zzzz"):
            with pytest.raises(VaultError) as raised:
                await proof(context, asked)
            assert raised.value.code is Code.NOT_FOUND
            assert f"audit-{OLD}.ndjson" in raised.value.detail
        with pytest.raises(VaultError) as raised:
            await proof(context, "evt_" + "z" * 26)
        assert raised.value.detail == "There is no such event."


def test_the_migrators_login_suffices(vault: ArchivedVault, filled: Filled) -> None:
    """No superuser's rights are needed: those of the four roles (PCI-DSS 7.2.5)."""
    vault.environment["STRONGROOM_DATABASE_URL"] = vault.urls.migrator_url
    roles = "strongroom_service, strongroom_sealer, strongroom_auditor"
    vault.superuser.execute(f"GRANT {roles} TO strongroom_migrator".encode())
    try:
        assert len(vault.archive("--drop")) == 3
    finally:
        vault.superuser.execute(f"REVOKE {roles} FROM strongroom_migrator".encode())


def test_not_even_the_owner_changes_what_is_noted(vault: ArchivedVault, filled: Filled) -> None:
    vault.archive()
    vault.superuser.execute("SET ROLE strongroom_owner")
    for change in ("UPDATE {} SET events = 0", "DELETE FROM {}", "TRUNCATE {}"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            vault.superuser.execute(change.format("strongroom.log_archives").encode())
