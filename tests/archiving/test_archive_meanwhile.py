"""``strongroom audit archive`` beside others who write, and killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from tests.archiving.vault import KEPT, OLD, OLDER, OLDEST, THIS, ArchivedVault, Filled
from tests.stored import event
from vault_service.adapters.postgres.log_archives import open_archives
from vault_service.domain.archives import Archive, Month, MonthChanged
from vault_service.domain.events import canonical_bytes, new_event_id
from vault_service.verifier.bundles import verify_bundle
from vault_service.verifier.findings import Kind


def test_what_comes_in_late_for_an_archived_month(vault: ArchivedVault, filled: Filled) -> None:
    archived = sum(each["events"] for each in vault.archive())
    late = vault.put(OLD.start)
    report = vault.exported()
    assert report.withheld["archived"].count == archived
    assert canonical_bytes(late) in vault.folder.with_name("export.ndjson").read_bytes()
    assert vault.archive() == []
    # Were it to vanish, it would be missing, and not archived.
    vault.superuser.execute("ALTER TABLE strongroom.audit_events DISABLE TRIGGER USER")
    vault.superuser.execute("DELETE FROM strongroom.audit_events WHERE id = %s", [late.id])
    path = vault.folder.with_name("export.ndjson")
    vault.did("export", "-o", str(path))
    with path.open("rb") as stream:
        report = verify_bundle(stream, vault.key())
    assert {finding.kind for finding in report.findings} == {Kind.EVENT_MISSING}


@pytest.mark.parametrize("month", [OLDER, OLD])
async def test_what_comes_in_while_its_month_is_written(
    vault: ArchivedVault, filled: Filled, month: Month
) -> None:
    """It is not in the file, so the month stays; in a partition of its own and not."""
    async with open_archives(vault.urls.migrator_url) as archives:
        [found] = [each for each in await archives.due(KEPT) if each.month == month]
        assert found.first_leaf is not None
        assert found.last_leaf is not None
        assert found.events == len(filled[month])
        archive = Archive(month, found.first_leaf, found.last_leaf, found.events, bytes(32))
        late = vault.put(month.start)
        where = "SELECT tableoid FROM strongroom.audit_events WHERE id = %s"
        before = vault.query(where, late.id)
        with pytest.raises(MonthChanged):
            await archives.take_off(archive, found.last_position, drop=True)
        assert vault.query(where, late.id) == before
        assert vault.at_hand()[str(month)] == found.events + 1
        assert await archives.detached() == []
        await archives.take_off(archive, 1 << 62, drop=False)
        assert await archives.detached() == [archive]
    for change in ("UPDATE {} SET body = ''", "DELETE FROM {}"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            vault.superuser.execute(change.format("strongroom.audit_events_default").encode())


def _somebody_waits(connection: psycopg.Connection[Any]) -> bool:
    return bool(connection.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall())


# Held up before the month is taken off, and after that, before the commit.
@pytest.mark.parametrize(
    ("table", "mode"),
    [("audit_events", "ROW EXCLUSIVE"), ("log_archives", "SHARE")],
)
def test_killed_in_the_middle(vault: ArchivedVault, filled: Filled, table: str, mode: str) -> None:
    """kill -9, at each of the three months: the next run finishes, from the file that is
    there."""
    for month in (OLDEST, OLDER, OLD):
        with psycopg.connect(vault.urls.superuser_url) as holder:
            holder.execute(f"LOCK TABLE strongroom.{table} IN {mode} MODE".encode())
            command = start(vault, "--keep-months", str(_months_kept(month)))
            while not _somebody_waits(vault.superuser):
                assert command.poll() is None, command.communicate()
                time.sleep(0.02)
            command.send_signal(signal.SIGKILL)
            command.communicate()
            written = vault.file(month).read_bytes()
            (vault.folder / f".audit-{month.before(-1)}.ndjson.part").write_bytes(b"half")
        _wait_until_gone(vault.superuser)
        assert str(month) in vault.at_hand()
        assert vault.query(
            "SELECT count(*) FROM strongroom.log_archives WHERE month >= %s", month.first
        ) == [(0,)]
        vault.archive("--keep-months", str(_months_kept(month)))
        assert str(month) not in vault.at_hand()
        assert vault.file(month).read_bytes() == written
    assert vault.exported().withheld["archived"].count == sum(
        len(filled[month]) for month in (OLDEST, OLDER, OLD)
    )


def _months_kept(month: Month) -> int:
    """So many that ``month`` is the youngest that is archived."""
    return [THIS.before(n) for n in range(20)].index(month) - 1


def start(vault: ArchivedVault, *arguments: str) -> "subprocess.Popen[bytes]":
    command: Sequence[str] = (
        sys.executable,
        *("-m", "vault_service", "audit", "archive", "-o", str(vault.folder)),
        *arguments,
    )
    return subprocess.Popen(
        command,
        env={**os.environ, **vault.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _wait_until_gone(connection: psycopg.Connection[Any]) -> None:
    """Until the server has noticed that the killed command's connections are gone."""
    while connection.execute(
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    ).fetchall():
        time.sleep(0.02)


def test_archiving_while_events_are_recorded(vault: ArchivedVault, filled: Filled) -> None:
    """Inserts are held up for a moment at most, and none is lost."""
    command = start(vault)
    put = 0
    with psycopg.connect(vault.urls.superuser_url, autocommit=True) as writer:
        while command.poll() is None:
            writer.execute(
                "INSERT INTO strongroom.audit_events (id, occurred_at, tenant, action, outcome,"
                " data_classes, terms, body) VALUES (%s, now(), 'main', 'put', 'ok', '{}', '{}',"
                " %s)",
                [made := new_event_id(), canonical_bytes(event("main", id=made))],
            )
            put += 1
    output, _ = command.communicate()
    assert command.returncode == 0, output
    assert vault.query("SELECT count(*) FROM strongroom.audit_events WHERE action = 'put'") == [
        (put,)
    ]
    assert vault.exported().withheld["archived"].count == sum(
        len(filled[month]) for month in (OLDEST, OLDER, OLD)
    )
