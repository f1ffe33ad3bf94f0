"""``strongroom audit archive`` on a real database (PCI-DSS 10.5.1): months leave the log for
files that verify, the tree stays as it was, and nothing leaves without its file."""

import asyncio
import hashlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from typer.testing import CliRunner, Result

from tests.conftest import DatabaseUrls
from tests.stored import event
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.event_index import PostgresEventIndex
from vault_service.adapters.postgres.log_archives import open_archives
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.bootstrap import open_services
from vault_service.cli.audit import app
from vault_service.domain import bundle
from vault_service.domain.archives import Archive, Month, MonthChanged
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.events import AuditEvent, canonical_bytes, new_event_id
from vault_service.domain.notes import VerifierKey
from vault_service.services.archive_check import check_file
from vault_service.services.context import RequestContext
from vault_service.settings import load
from vault_service.verifier.bundles import BundleReport, verify_bundle
from vault_service.verifier.findings import Kind, Verdict

POLICIES: Final = Path(__file__).parents[2] / "policies"
THIS: Final = Month.of(datetime.now(UTC))
OLD, OLDER, OLDEST, KEPT = THIS.before(13), THIS.before(14), THIS.before(15), THIS.before(12)
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
SEALERS_LOCK: Final = 0x5374726F6E67


class Vault:
    """A database with events of the past, and the command as its operator runs it."""

    def __init__(self, urls: DatabaseUrls, home: Path) -> None:
        self.urls = urls
        self.folder = home / "archive"
        self.environment = {
            "STRONGROOM_ENV": "test",
            "STRONGROOM_HOME": str(home),
            "STRONGROOM_DATABASE_URL": urls.superuser_url,
            "STRONGROOM_POLICY_DIR": str(POLICIES),
        }
        self.superuser = psycopg.connect(urls.superuser_url, autocommit=True)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, arguments, env=self.environment)

    def did(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def archive(self, *arguments: str) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = json.loads(
            self.did("archive", "-o", str(self.folder), "--json", *arguments)
        )
        return told

    def refused(self, code: int, *arguments: str) -> str:
        """What the command says, which ends with this exit code and changes no event."""
        before = self.query("SELECT tableoid::regclass::text, id FROM strongroom.audit_events")
        result = self.run("archive", "-o", str(self.folder), *arguments)
        assert result.exit_code == code, result.output
        after = self.query("SELECT tableoid::regclass::text, id FROM strongroom.audit_events")
        assert set(before) <= set(after)
        assert self.query("SELECT month FROM strongroom.log_archives") == []
        return result.stderr

    def query(self, statement: str, *parameters: Any) -> list[Any]:
        return self.superuser.execute(statement.encode(), parameters or None).fetchall()

    def put(self, at: datetime, tenant: str = "main") -> AuditEvent:
        """Put an event of the past in, with an id of its time."""
        number = int(at.timestamp() * 1000) << 82 | 7
        random = new_event_id()[15:]
        name = "".join(_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))
        made = event(tenant, id=f"evt_{name[:11]}{random}", occurred_at=at)
        self.superuser.execute(
            "INSERT INTO strongroom.audit_events (id, occurred_at, tenant, action, outcome,"
            " data_classes, terms, body) VALUES (%s, %s, %s, 'x', 'ok', '{}', '{}', %s)",
            [made.id, made.occurred_at, made.tenant, canonical_bytes(made)],
        )
        return made

    def file(self, month: Month) -> Path:
        return self.folder / f"audit-{month}.ndjson"

    def key(self) -> VerifierKey:
        return VerifierKey.parse(self.did("key").strip())

    def verified(self, path: Path, kept: str | None = None) -> BundleReport:
        with path.open("rb") as stream:
            report = verify_bundle(stream, self.key(), kept)
        assert report.verdict is Verdict.VERIFIED, report.findings
        return report

    def exported(self, kept: str | None = None) -> BundleReport:
        """The whole log, exported and verified."""
        path = self.folder.with_name("export.ndjson")
        self.did("export", "-o", str(path))
        return self.verified(path, kept)

    def at_hand(self) -> dict[str, int]:
        return dict(
            self.query(
                "SELECT to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM'), count(*)"
                " FROM strongroom.audit_events GROUP BY 1"
            )
        )


@pytest.fixture
def vault(empty_database: DatabaseUrls, tmp_path: Path) -> Iterator[Vault]:
    upgrade(empty_database.migrator_url)
    made = Vault(empty_database, tmp_path)
    with made.superuser:
        for month in (OLDEST, OLDER, KEPT):  # OLD lies in the default partition
            made.query("SELECT strongroom.add_audit_partition(%s)::text", month.first)
        yield made


@pytest.fixture
def filled(vault: Vault) -> dict[Month, list[AuditEvent]]:
    """Events of each month, of two tenants; at the borders the order of times and leaves
    differs."""
    tick = timedelta(microseconds=1)
    made: dict[Month, list[AuditEvent]] = {OLDEST: [], OLDER: [], OLD: [], KEPT: []}
    for month in made:
        for day in range(20):
            tenant = "other" if day % 3 == 0 else "main"
            made[month].append(vault.put(month.start + timedelta(days=day), tenant))
        made[month].append(vault.put(month.end - tick))
        if month > OLDEST:
            made[month.before(1)].append(vault.put(month.start - 2 * tick))
    vault.did("checkpoint")
    return made


def test_months_past_their_retention_go_to_files_that_verify(
    vault: Vault, filled: dict[Month, list[AuditEvent]]
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


def test_that_it_was_archived_is_recorded(
    vault: Vault, filled: dict[Month, list[AuditEvent]]
) -> None:
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
    vault: Vault, filled: dict[Month, list[AuditEvent]]
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


def test_archived_and_dropped_at_once(vault: Vault, filled: dict[Month, list[AuditEvent]]) -> None:
    assert [each["state"] for each in vault.archive("--drop")] == ["dropped"] * 3
    tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'audit\\_events\\_%'"
    [(left,)] = vault.query(tables)
    assert left == 6  # KEPT, this month, the next three, the default one
    assert vault.exported().withheld["archived"].count == sum(
        len(filled[month]) for month in (OLDEST, OLDER, OLD)
    )


async def test_the_index_forgets_what_left_the_log(
    vault: Vault, filled: dict[Month, list[AuditEvent]]
) -> None:
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


def test_a_dry_run_does_nothing(vault: Vault, filled: dict[Month, list[AuditEvent]]) -> None:
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


def test_how_long_events_stay_at_hand(vault: Vault, filled: dict[Month, list[AuditEvent]]) -> None:
    """PCI-DSS 10.5.1: three months, whatever is asked for."""
    assert "3" in vault.refused(2, "--keep-months", "2")
    vault.put(THIS.before(4).end - timedelta(microseconds=1))
    vault.put(THIS.before(3).start)
    told = vault.archive("--keep-months", "3")
    assert [each["month"] for each in told] == [
        str(month) for month in (OLDEST, OLDER, OLD, KEPT, THIS.before(4))
    ]
    assert str(THIS.before(3)) in vault.at_hand()


def test_what_is_not_signed_stays(vault: Vault, filled: dict[Month, list[AuditEvent]]) -> None:
    """Another process seals, and does not get to it."""
    vault.put(OLDEST.start)
    vault.query("SELECT pg_advisory_lock(%s)::text", SEALERS_LOCK)
    said = vault.refused(2)
    assert f"{OLDEST}: 1 of {len(filled[OLDEST]) + 1} events are not sealed" in said
    assert "strongroom audit checkpoint" in said
    assert not vault.folder.exists()
    vault.query("SELECT pg_advisory_unlock(%s)", SEALERS_LOCK)
    assert len(vault.archive()) == 3


def _altered(path: Path) -> None:
    text = path.read_bytes()
    path.write_bytes(text.replace(b"checkout", b"checkouT", 1))


def _shortened(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [_altered, _shortened, _emptied])
def test_a_file_that_does_not_verify_is_refused(
    vault: Vault, filled: dict[Month, list[AuditEvent]], spoil: Callable[[Path], None]
) -> None:
    written_only(vault)
    whole = vault.file(OLDEST).read_bytes()
    spoil(vault.file(OLDEST))
    said = vault.refused(1)
    assert str(vault.file(OLDEST)) in said
    assert "does not verify" in said
    assert "move it away" in said
    vault.file(OLDEST).unlink()
    assert len(vault.archive()) == 3
    assert vault.file(OLDEST).read_bytes() == whole


def written_only(vault: Vault) -> None:
    """Have the first month's file written, and its month not taken off: somebody reads."""
    with psycopg.connect(vault.urls.superuser_url) as reader:
        reader.execute("SELECT count(*) FROM strongroom.audit_events")
        said = vault.refused(2)
    assert f"{OLDEST} is in its file, and still in the log: somebody reads" in said
    assert vault.file(OLDEST).exists()


def test_files_that_are_not_the_months(vault: Vault, filled: dict[Month, list[AuditEvent]]) -> None:
    """Bundles of this log, which verify, and do not show all that is to be removed."""
    vault.folder.mkdir()
    path = str(vault.file(OLDEST))
    vault.did("export", "--tenant", "main", "-o", path)
    assert "no bundle of this log with the events of all tenants" in vault.refused(1)
    vault.did("export", "--cursor", "3", "-o", path)
    assert "does not show the event of leaf 0" in vault.refused(1)
    vault.did("export", "-o", path)
    late = vault.put(OLDEST.start)
    said = vault.refused(1)
    assert "does not show the event of leaf" in said
    Path(path).unlink()
    vault.archive()
    assert canonical_bytes(late) in Path(path).read_bytes()


def test_a_file_of_another_log(
    vault: Vault, filled: dict[Month, list[AuditEvent]], tmp_path: Path
) -> None:
    """Signed with another key; and with the same key, over another tree."""
    written_only(vault)
    path = vault.file(OLDEST)
    right = path.read_bytes()
    [key] = [each for each in tmp_path.iterdir() if "sign" in each.name]
    moved = key.rename(key.with_suffix(".away"))
    said = vault.refused(1)  # the file was signed with the key that is away
    assert "does not verify" in said
    key.unlink()
    moved.rename(key)
    vault.superuser.execute(
        "ALTER TABLE strongroom.log_tiles DISABLE TRIGGER ALL;"
        "UPDATE strongroom.log_tiles SET hashes = overlay(hashes PLACING '\\x00'::bytea FROM 1)"
        " WHERE level = 0 AND tile_index = 0"
    )
    assert path.read_bytes() == right
    assert "no bundle of this log" in vault.refused(1)


def test_a_log_that_was_tampered_with_is_not_archived(
    vault: Vault, filled: dict[Month, list[AuditEvent]]
) -> None:
    vault.superuser.execute("ALTER TABLE strongroom.audit_events DISABLE TRIGGER USER")
    vault.superuser.execute(
        "UPDATE strongroom.audit_events SET body = convert_to(replace(convert_from(body, 'UTF8'),"
        " 'checkout', 'somebody'), 'UTF8') WHERE id = %s",
        [filled[OLDEST][3].id],
    )
    said = vault.refused(1)
    assert filled[OLDEST][3].id in said
    # What the file would lack: an event that was deleted.
    vault.file(OLDEST).unlink()
    vault.superuser.execute(
        "DELETE FROM strongroom.audit_events WHERE id = %s", [filled[OLDEST][3].id]
    )
    assert "does not verify" in vault.refused(1)


def test_what_went_without_the_command_is_missing(
    vault: Vault, filled: dict[Month, list[AuditEvent]], tmp_path: Path
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


def test_receipts_of_archived_events(vault: Vault, filled: dict[Month, list[AuditEvent]]) -> None:
    assert vault.did("receipt", filled[OLD][0].id).startswith("c2sp.org/tlog-proof@v1\n")
    vault.archive()
    result = vault.run("receipt", filled[OLD][0].id)
    assert result.exit_code == 2
    assert f"audit-{OLD}.ndjson" in result.stderr
    assert vault.did("receipt", filled[KEPT][0].id).startswith("c2sp.org/tlog-proof@v1\n")
    result = vault.run("receipt", new_event_id())
    assert result.stderr.strip() == "There is no such event."


async def test_receipts_of_archived_events_for_callers(
    vault: Vault, filled: dict[Month, list[AuditEvent]], monkeypatch: pytest.MonkeyPatch
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


def test_what_comes_in_late_for_an_archived_month(
    vault: Vault, filled: dict[Month, list[AuditEvent]]
) -> None:
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
    vault: Vault, filled: dict[Month, list[AuditEvent]], month: Month
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


def test_the_services_login_may_not_archive(
    vault: Vault, filled: dict[Month, list[AuditEvent]]
) -> None:
    vault.environment["STRONGROOM_DATABASE_URL"] = vault.urls.app_url
    assert "strongroom db upgrade" in vault.refused(2)
    assert not vault.folder.exists()


def test_the_migrators_login_suffices(vault: Vault, filled: dict[Month, list[AuditEvent]]) -> None:
    """No superuser's rights are needed: those of the four roles (PCI-DSS 7.2.5)."""
    vault.environment["STRONGROOM_DATABASE_URL"] = vault.urls.migrator_url
    roles = "strongroom_service, strongroom_sealer, strongroom_auditor"
    vault.superuser.execute(f"GRANT {roles} TO strongroom_migrator".encode())
    try:
        assert len(vault.archive("--drop")) == 3
    finally:
        vault.superuser.execute(f"REVOKE {roles} FROM strongroom_migrator".encode())


def test_not_even_the_owner_changes_what_is_noted(
    vault: Vault, filled: dict[Month, list[AuditEvent]]
) -> None:
    vault.archive()
    vault.superuser.execute("SET ROLE strongroom_owner")
    for change in ("UPDATE {} SET events = 0", "DELETE FROM {}", "TRUNCATE {}"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            vault.superuser.execute(change.format("strongroom.log_archives").encode())


def test_one_command_at_a_time(vault: Vault, filled: dict[Month, list[AuditEvent]]) -> None:
    vault.query("SELECT pg_advisory_lock(%s)::text", 0x41726368697665)
    assert "Another command is archiving" in vault.refused(2)


def test_a_folder_that_cannot_be_used(vault: Vault, filled: dict[Month, list[AuditEvent]]) -> None:
    vault.folder.write_text("a file")
    assert str(vault.folder) in vault.refused(2)


def _somebody_waits(connection: psycopg.Connection[Any]) -> bool:
    return bool(connection.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall())


# Held up before the month is taken off, and after that, before the commit.
@pytest.mark.parametrize(
    ("table", "mode"),
    [("audit_events", "ROW EXCLUSIVE"), ("log_archives", "SHARE")],
)
def test_killed_in_the_middle(
    vault: Vault, filled: dict[Month, list[AuditEvent]], table: str, mode: str
) -> None:
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


def start(vault: Vault, *arguments: str) -> "subprocess.Popen[bytes]":
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


def test_archiving_while_events_are_recorded(
    vault: Vault, filled: dict[Month, list[AuditEvent]]
) -> None:
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


def test_a_bundle_is_read_once(vault: Vault, filled: dict[Month, list[AuditEvent]]) -> None:
    """The digest is of the very bytes that were verified, to the last."""
    vault.archive()
    path = vault.file(OLD)
    checked = check_file(io.FileIO(path), vault.key())
    assert checked.sha256 == hashlib.sha256(path.read_bytes()).digest()
    shown = [leaf for run in checked.shown for leaf in run]
    assert len(shown) == checked.report.events
    path.write_bytes(path.read_bytes() + b"x" * (1 << 24) + b"y" * (1 << 24))
    checked = check_file(io.FileIO(path), vault.key())
    assert checked.report.verdict is Verdict.UNVERIFIABLE
    assert checked.sha256 == hashlib.sha256(path.read_bytes()).digest()
