"""What ``strongroom audit archive`` refuses: nothing leaves the log without its file."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.archiving.vault import OLD, OLDEST, SEALERS_LOCK, ArchivedVault, Filled
from vault_service.domain.events import canonical_bytes
from vault_service.services.archive_check import check_file
from vault_service.verifier.findings import Verdict


def test_what_is_not_signed_stays(vault: ArchivedVault, filled: Filled) -> None:
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
    vault: ArchivedVault, filled: Filled, spoil: Callable[[Path], None]
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


def written_only(vault: ArchivedVault) -> None:
    """Have the first month's file written, and its month not taken off: somebody reads."""
    with psycopg.connect(vault.urls.superuser_url) as reader:
        reader.execute("SELECT count(*) FROM strongroom.audit_events")
        said = vault.refused(2)
    assert f"{OLDEST} is in its file, and still in the log: somebody reads" in said
    assert vault.file(OLDEST).exists()


def test_files_that_are_not_the_months(vault: ArchivedVault, filled: Filled) -> None:
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


def test_a_file_of_another_log(vault: ArchivedVault, filled: Filled, tmp_path: Path) -> None:
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


def test_a_log_that_was_tampered_with_is_not_archived(vault: ArchivedVault, filled: Filled) -> None:
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


def test_the_services_login_may_not_archive(vault: ArchivedVault, filled: Filled) -> None:
    vault.environment["STRONGROOM_DATABASE_URL"] = vault.urls.app_url
    assert "strongroom db upgrade" in vault.refused(2)
    assert not vault.folder.exists()


def test_one_command_at_a_time(vault: ArchivedVault, filled: Filled) -> None:
    vault.query("SELECT pg_advisory_lock(%s)::text", 0x41726368697665)
    assert "Another command is archiving" in vault.refused(2)


def test_a_folder_that_cannot_be_used(vault: ArchivedVault, filled: Filled) -> None:
    vault.folder.write_text("a file")
    assert str(vault.folder) in vault.refused(2)


def test_a_bundle_is_read_once(vault: ArchivedVault, filled: Filled) -> None:
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
