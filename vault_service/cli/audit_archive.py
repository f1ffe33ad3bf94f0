"""``strongroom audit archive``: months past their retention go to files (PCI-DSS 10.5.1)."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vault_service.cli.audit_export import sealed
from vault_service.cli.operation import operator, stop, with_owner
from vault_service.domain.archives import MIN_MONTHS, Archive, ArchiveFiles, LogArchives
from vault_service.domain.errors import Code, VaultError

if TYPE_CHECKING:
    from vault_service.adapters.postgres.access import Access
    from vault_service.bootstrap import Services
    from vault_service.services.archiving import Archiving

_Told = dict[str, Any]


def archive(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder of the files.")
    ],
    keep_months: Annotated[
        int, typer.Option(min=MIN_MONTHS, help="Months of events that stay in the database.")
    ] = 12,
    drop: Annotated[
        bool, typer.Option("--drop", help="Drop the events too, once their file is verified.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Move whole months of the log that are past their retention into files.

    Each file is a bundle for `strongroom audit verify`, and is verified before its month
    leaves the log; the tree and all proofs stay valid. Needs the login that `strongroom db
    upgrade` needs. May be repeated, also after it was interrupted.
    """
    told: list[_Told] = []

    def tell(month: _Told) -> None:
        told.append(month)
        if not as_json:
            typer.echo(_line(month))

    async def run(services: "Services", owner: "Access") -> None:
        from vault_service.adapters.archive_files import ArchiveFolder
        from vault_service.adapters.postgres.log_archives import open_archives

        async with open_archives(owner) as archives:
            work = _Work(services, archives, ArchiveFolder(output), keep_months, tell)
            await (work.foretell() if dry_run else work.archive(drop))

    try:
        with_owner(lambda services, owner: _explained(run(services, owner), output))
        if not told and not as_json:
            typer.echo(f"No month is older than the {keep_months} to be kept.")
    finally:
        if as_json:
            typer.echo(json.dumps(told, indent=2))


@dataclass(frozen=True, slots=True)
class _Work:
    services: "Services"
    archives: LogArchives
    files: ArchiveFiles
    keep_months: int
    tell: Callable[[_Told], None]

    async def foretell(self) -> None:
        """Say what would be done."""
        from vault_service.services.archiving import not_due

        for found in await self.archives.due(not_due(self.services.log.clock(), self.keep_months)):
            self.tell(
                {
                    "month": str(found.month),
                    "state": "unsigned" if found.unsigned else "due",
                    "events": found.events,
                    "unsigned": found.unsigned,
                    "file": self.files.name(found.month),
                }
            )

    async def archive(self, drop: bool) -> None:
        """Archive what is due, the oldest month first."""
        from vault_service.services.archiving import not_due

        await sealed(self.services)
        archiving = self._archiving()
        if drop:
            for earlier in await self.archives.detached():
                await archiving.drop_detached(earlier)
                self._tell_archived(earlier, dropped=True)
        for found in await self.archives.due(not_due(self.services.log.clock(), self.keep_months)):
            self._tell_archived(await archiving.archive(found, drop=drop), dropped=drop)

    def _archiving(self) -> "Archiving":
        from vault_service.services.archiving import Archiving

        return Archiving(
            self.archives,
            self.files,
            self.services.log.reader,
            self.services.application.store,
            self.services.recorder,
            origin=self.services.log.origin,
            key=self.services.log.signer.key,
            operator=f"operator:{operator()}",
        )

    def _tell_archived(self, archive: Archive, *, dropped: bool) -> None:
        self.tell(
            {
                "month": str(archive.month),
                "state": "dropped" if dropped else "detached",
                "events": archive.events,
                "first_leaf": archive.first_leaf,
                "last_leaf": archive.last_leaf,
                "file": self.files.name(archive.month),
                "sha256": archive.sha256.hex(),
                "table": None if dropped else self.archives.table(archive.month),
            }
        )


async def _explained(work: Awaitable[None], folder: Path) -> None:
    """What stands in the way, in words with the mend; exit 1 for a file that is not what it
    should be, else 2."""
    from vault_service.services.archiving import ArchiveRefused, ArchiveSpoiled

    try:
        await work
    except ArchiveRefused as error:
        stop(str(error))
    except ArchiveSpoiled as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        stop(f"Cannot use the folder {folder}: {error.strerror}. Nothing was removed.")
    except VaultError as error:
        if error.code is not Code.INTERNAL:
            raise
        stop(
            "The database refused. Its login must be the one that `strongroom db upgrade`"
            " takes, and a member of strongroom_service, strongroom_sealer and"
            " strongroom_auditor; SQLSTATE 42501 in the line above means it may not."
        )


def _line(month: _Told) -> str:
    events = f"{month['month']}: {month['events']} events"
    if month["state"] == "unsigned":
        return f"{events}, {month['unsigned']} of them not sealed and signed yet: would be refused."
    if month["state"] == "due":
        return f"{events} would go to {month['file']}."
    told = f"{events}, verified in {month['file']}, SHA-256 {month['sha256']}"
    if month["state"] == "dropped":
        return f"{told}; dropped."
    return (
        f"{told}; detached. With --drop, or so, they are dropped:\n  DROP TABLE {month['table']};"
    )
