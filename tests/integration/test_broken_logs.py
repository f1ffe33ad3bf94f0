"""A log that was rolled back or rewritten is not signed again (PCI-DSS 10.3.4)."""

import re
import shutil
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from tests.sealed import (
    SealedDatabase,
    signed_at,
    until,
)
from vault_service.adapters.anchors.file import FileAnchor
from vault_service.adapters.signing.local import UnsafeLocalSigningKey
from vault_service.domain.checkpoints import open_checkpoint
from vault_service.services.sealing import LogBroken
from vault_service.verifier.findings import Verdict

ROLL_BACK = (
    "DELETE FROM strongroom.log_leaves WHERE leaf_index >= 5",
    "UPDATE strongroom.log_tree SET size = 5, settled = 0",
    "DELETE FROM strongroom.audit_events WHERE position NOT IN"
    " (SELECT position FROM strongroom.log_leaves)",
)
FORGET = "DELETE FROM strongroom.log_checkpoints WHERE tree_size > 5"
RUNBOOK = Path(__file__).parents[2] / "docs" / "runbooks" / "restore.md"
OTHER_SIZE = "UPDATE strongroom.log_checkpoints SET note = replace(note, E'\\n10\\n', E'\\n9\\n')"
REWRITE = (
    "UPDATE strongroom.log_tiles SET hashes = overlay(hashes PLACING '\\x00112233' FROM 65)"
    " WHERE level = 0"
)


async def five_and_five(sealed: SealedDatabase) -> None:
    """Ten leaves, signed and kept at five and at ten."""
    for _ in range(2):
        await sealed.append(5)
        await sealed.sealer().seal_now()
    assert sorted(sealed.copies()) == [5, 10]


@pytest.mark.parametrize(
    ("done", "copies"),
    [
        pytest.param(ROLL_BACK, False, id="rolled back"),
        pytest.param((*ROLL_BACK, FORGET), True, id="rolled back, checkpoints too"),
        pytest.param((REWRITE,), False, id="rewritten"),
        pytest.param(("DELETE FROM strongroom.log_checkpoints", REWRITE), True, id="and unsigned"),
        pytest.param((OTHER_SIZE,), False, id="note altered"),
        pytest.param(("UPDATE strongroom.log_checkpoints SET note = ''",), False, id="note gone"),
        pytest.param(("DELETE FROM strongroom.log_tiles",), False, id="tiles gone"),
    ],
)
async def test_a_log_that_was_tampered_with_is_not_signed_again(
    sealed: SealedDatabase, done: tuple[str, ...], copies: bool
) -> None:
    """PCI-DSS 10.3.4: by the checkpoint in the database, and by the copy elsewhere."""
    await five_and_five(sealed)
    await sealed.tamper(*done)
    if not copies:
        shutil.rmtree(sealed.folder)  # the database alone gives it away
    before = await sealed.query("SELECT tree_size, note FROM strongroom.log_checkpoints")
    with capture_logs() as lines:
        async with sealed.sealing():

            async def told() -> bool:
                return sealed.watching.broken[-1:] == [True]

            await until(told)
    errors = {line["event"] for line in lines if line["log_level"] != "info"}
    assert errors == {"audit_log_broken"}
    await sealed.append(5)
    with pytest.raises(LogBroken):
        await sealed.sealer().seal_now()
    assert await sealed.query("SELECT tree_size, note FROM strongroom.log_checkpoints") == before


async def test_a_tree_that_is_rewritten_under_its_sealer_is_not_signed(
    sealed: SealedDatabase,
) -> None:
    await sealed.append(5)
    async with sealed.sealing():
        await signed_at(sealed, 5)
        await sealed.tamper(REWRITE)
        await sealed.append()
        await sealed.reader.want(6)

        async def told() -> bool:
            return sealed.watching.broken[-1]

        await until(told)
    await signed_at(sealed, 5)


async def test_a_rollback_is_not_hidden_by_an_anchor_that_was_away(sealed: SealedDatabase) -> None:
    """Whoever can roll back the database may be able to cut the network too: nothing is
    kept over what could not be compared."""
    await five_and_five(sealed)
    kept = sealed.copies()
    await sealed.tamper(*ROLL_BACK, FORGET)
    sealed.anchor.away = True
    async with sealed.sealing():
        await sealed.append(8)
        await sealed.reader.want(13)
        await signed_at(sealed, 5, 13)
        sealed.anchor.away = False

        async def told() -> bool:
            return sealed.watching.broken[-1]

        await until(told)
    assert sealed.copies() == kept


async def test_a_log_that_is_put_right_is_signed_again(sealed: SealedDatabase) -> None:
    await five_and_five(sealed)
    hashes = await sealed.query("SELECT hashes FROM strongroom.log_tiles")
    await sealed.tamper(REWRITE)
    with pytest.raises(LogBroken):
        await sealed.sealer().seal_now()
    await sealed.query("UPDATE strongroom.log_tiles SET hashes = %s", hashes[0][0])
    await sealed.append()
    await sealed.sealer().seal_now()
    assert [checkpoint.size for checkpoint in await sealed.checkpoints()] == [5, 10, 11]
    assert sealed.watching.broken[-1] is False
    assert (await sealed.verified()).verdict is Verdict.VERIFIED


async def test_a_restored_log_goes_on_under_another_name(
    sealed: SealedDatabase, tmp_path: Path
) -> None:
    """By the statements that the runbook prints, with the migrator's login, and not without."""
    await five_and_five(sealed)
    await sealed.tamper(*ROLL_BACK, FORGET)
    name = "vault.example/audit-2"
    signer = UnsafeLocalSigningKey(sealed.directory / "signing.key", name)
    folder = tmp_path / "other-anchor"
    parts = {"origin": name, "signer": signer, "anchor": FileAnchor(folder)}
    await sealed.append()
    with pytest.raises(LogBroken):
        await sealed.sealer(**parts).seal_now()
    printed = re.search(r"```sql\n(.*?)```", RUNBOOK.read_text(encoding="utf-8"), re.DOTALL)
    assert printed is not None
    connecting = psycopg.AsyncConnection.connect(sealed.urls.migrator_url, autocommit=True)
    async with await connecting as connection:
        await connection.execute(printed[1].encode())
    await sealed.sealer(**parts).seal_now()
    newest = await sealed.newest()
    assert open_checkpoint(newest.note, (await signer.open()), name).size == 6
    assert [int(path.stem) for path in folder.iterdir()] == [6]
    with pytest.raises(psycopg.errors.Error):
        await sealed.query("DELETE FROM strongroom.log_checkpoints")
