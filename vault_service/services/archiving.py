"""Retention: months of the log go to files, and out of the database (PCI-DSS 10.5.1).

For each month the same order: everything of it is sealed and signed; its bundle is in a
file; the file verifies; that it is archived is in the log; only then it is taken off.
Killed anywhere in between, the next run begins with what is there.
"""

from contextlib import aclosing
from datetime import datetime
from typing import Final

from vault_service.domain.archives import (
    Archive,
    ArchiveFiles,
    LogArchives,
    LogBusy,
    Month,
    MonthAtHand,
    MonthChanged,
)
from vault_service.domain.merkle import tree_root
from vault_service.domain.notes import VerifierKey
from vault_service.domain.ports import TokenStore
from vault_service.domain.tiles import TileNodes, tiles_for_root
from vault_service.domain.transparency import LogReader
from vault_service.services import log_export
from vault_service.services.archive_check import FileCheck, check_file
from vault_service.services.recording import Recorder
from vault_service.verifier.findings import Verdict

ACTION: Final = "archive_audit"
_LEAVES: Final = 10_000


class ArchiveRefused(Exception):
    """The month cannot be archived now; the text says why, and the mend."""


class ArchiveSpoiled(Exception):
    """The file does not verify, or does not hold the month; the text says what is wrong,
    and the mend. Nothing was removed."""


def not_due(now: datetime, keep_months: int) -> Month:
    """The oldest month of which an event may be younger than ``keep_months`` months."""
    return Month.of(now).before(keep_months)


class Archiving:
    """The use case. ``origin`` and ``key`` are the log's name and public key; ``operator``
    is recorded as who did it."""

    def __init__(
        self,
        archives: LogArchives,
        files: ArchiveFiles,
        reader: LogReader,
        store: TokenStore,
        recorder: Recorder,
        *,
        origin: str,
        key: VerifierKey,
        operator: str,
    ) -> None:
        self._archives = archives
        self._files = files
        self._reader = reader
        self._store = store
        self._recorder = recorder
        self._origin = origin
        self._key = key
        self._operator = operator

    async def archive(self, found: MonthAtHand, *, drop: bool) -> Archive:
        """Put a month into its file and take it off. A file that is there already is
        verified and used. Raises :class:`ArchiveRefused`, :class:`ArchiveSpoiled`,
        ``OSError`` of the files and ``database_unavailable``."""
        refuse_unsigned(found)
        checked = self._checked(found.month)
        if checked is None:
            await self._write(found)
            checked = self._checked(found.month)
            assert checked is not None
        archive = await self._holds(found, checked)
        await self._record(archive)
        try:
            await self._archives.take_off(archive, found.last_position, drop=drop)
        except MonthChanged:
            raise ArchiveRefused(
                f"Events of {found.month} came in meanwhile; nothing was removed. Move"
                f" {self._files.name(found.month)} away and repeat."
            ) from None
        except LogBusy:
            raise ArchiveRefused(
                f"{found.month} is in its file, and still in the log: somebody reads that for"
                " long, for a backup or a backtest. Repeat when that has ended."
            ) from None
        return archive

    async def drop_detached(self, archive: Archive) -> None:
        """Drop the table of a month that was taken off earlier, whose file is there as it
        was. Raises as :meth:`archive`."""
        checked = self._checked(archive.month)
        if checked is None or checked.sha256 != archive.sha256:
            raise ArchiveRefused(
                f"{self._files.name(archive.month)} is not the file that was archived, or not"
                " there; the table stays. Put the file there and repeat."
            )
        await self._archives.drop(archive.month)

    async def _write(self, found: MonthAtHand) -> None:
        assert found.first_leaf is not None
        assert found.last_leaf is not None
        async with self._reader.contents() as contents:
            stretch = await log_export.covering(contents, found.first_leaf, found.last_leaf + 1)
            lines = log_export.write(
                contents, stretch, tenant=None, origin=self._origin, key=self._key
            )
            with self._files.writing(found.month) as stream:
                async with aclosing(lines):
                    async for piece in lines:
                        stream.write(piece)

    def _checked(self, month: Month) -> FileCheck | None:
        """The month's file, verified, if there is one."""
        name = self._files.name(month)
        file = self._files.open(month)
        if file is None:
            return None
        checked = check_file(file, self._key)
        if checked.report.verdict is not Verdict.VERIFIED:
            first = checked.report.findings[0]
            raise ArchiveSpoiled(
                f"{name} does not verify: {first.text} Nothing was removed. See"
                f" `strongroom audit verify`; to have it written again, move it away and repeat."
            )
        return checked

    async def _holds(self, found: MonthAtHand, checked: FileCheck) -> Archive:
        """The archive, if the file is of this log and shows every event of the month."""
        name = self._files.name(found.month)
        signed = checked.report.checkpoint
        assert signed is not None  # or it would not have verified
        nodes = TileNodes(await self._reader.tiles(tiles_for_root(signed.size)))
        if not checked.whole_log or tree_root(signed.size, nodes.node) != signed.root:
            raise ArchiveSpoiled(
                f"{name} is no bundle of this log with the events of all tenants. Nothing was"
                " removed. Move it away and repeat."
            )
        shown = iter(checked.shown)
        run, first, last, count = range(0), 0, -1, 0
        while page := await self._archives.leaves(found.month, last, _LEAVES):
            for leaf in page:
                while leaf >= run.stop:
                    run = next(shown, range(leaf + 1, leaf + 2))
                if leaf < run.start:
                    raise ArchiveSpoiled(
                        f"{name} does not show the event of leaf {leaf}, which is of"
                        f" {found.month}. Nothing was removed. Move it away and repeat."
                    )
            first = page[0] if count == 0 else first
            count, last = count + len(page), page[-1]
        return Archive(found.month, first, last, count, checked.sha256)

    async def _record(self, archive: Archive) -> None:
        """Before the month is taken off: it never is without (PCI-DSS 10.2.1.6)."""
        event = self._recorder.system_event(
            ACTION,
            principal=self._operator,
            detail={
                "month": str(archive.month),
                "first_leaf": archive.first_leaf,
                "last_leaf": archive.last_leaf,
                "events": archive.events,
                "sha256": archive.sha256.hex(),
            },
        )
        await self._store.append(event)


def refuse_unsigned(found: MonthAtHand) -> None:
    """:class:`ArchiveRefused` where an event of the month is not sealed and signed."""
    if found.unsigned:
        raise ArchiveRefused(
            f"{found.month}: {found.unsigned} of {found.events} events are not sealed and signed."
            " Run `strongroom audit checkpoint`, which seals and signs; where that does not help,"
            " `strongroom doctor` says what keeps the log from being sealed."
        )
