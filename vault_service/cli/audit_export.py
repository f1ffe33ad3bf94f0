"""``strongroom audit export``, ``receipt``, ``checkpoint`` and ``key``: the log for those who
verify it, from the database."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vault_service.cli.operation import operator, stop, with_services
from vault_service.domain.access import Action
from vault_service.domain.checkpoints import Checkpoint
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.notes import parse_note

if TYPE_CHECKING:
    from vault_service.bootstrap import Services
    from vault_service.services.log_export import Wanted

_NO_TENANT: Final = "-"
_FORMATS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]
_MAX_NOTE: Final = 1 << 20
_Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The file to write; else standard output.")
]


def export(
    output: _Output = None,
    since: Annotated[
        datetime | None,
        typer.Option("--from", formats=_FORMATS, help="Only events from then on, in UTC."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--to", formats=_FORMATS, help="Only up to the checkpoint after then."),
    ] = None,
    cursor: Annotated[
        int | None, typer.Option(min=0, help="Begin at this leaf: where the last bundle ended.")
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option("--since", help="Connect the bundle to this checkpoint, which you kept."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(help="Show the events of this tenant alone.")
    ] = None,
) -> None:
    """Write the log, or a stretch of it, as a bundle that `strongroom audit verify` verifies.

    What was recorded so far is sealed and signed first. That it was exported is recorded.
    """
    from vault_service.services.log_export import Wanted

    wanted = Wanted(_utc(since), _utc(until), cursor, None if kept is None else _kept_size(kept))

    async def run(services: "Services") -> tuple[int, int]:
        if tenant is not None and tenant not in services.tenants:
            stop("There is no such tenant; policies/principals.yml names them.")
        with _written(output) as stream:
            return await write_bundle(services, wanted, tenant, stream)

    first, size = with_services(run)
    where = "" if output is None else f" to {output}"
    typer.echo(f"Wrote leaves {first} to {size}{where}.", err=True)


def receipt(
    event_id: Annotated[str, typer.Argument(help="The event's id, as an answer's receipt has it.")],
    output: _Output = None,
) -> None:
    """Write the proof that an event is in the signed log. It verifies alone."""

    async def run(services: "Services") -> str:
        from vault_service.services.proofs import EVENT_ID, VIEW, receipt, unfound

        reader = services.log.reader
        if EVENT_ID.fullmatch(event_id) is None:
            stop("An event id is evt_ and 26 characters, as receipts have it.")
        for tenant in (*services.tenants, _NO_TENANT):
            found = await reader.event(tenant, event_id)
            if found is not None:
                break
        else:
            raise await unfound(reader, event_id)
        await sealed(services)
        await _record(services, tenant, {"view": VIEW, "event": event_id})
        return await receipt(reader, tenant, event_id, found)

    text = with_services(run)
    with _written(output) as stream:
        stream.write(text.encode())


def checkpoint(output: _Output = None) -> None:
    """Write the newest signed checkpoint. Keep it, away from the database: it shows later
    that the log was not rolled back or rewritten."""

    async def run(services: "Services") -> str:
        await sealed(services)
        return await services.application.proofs.checkpoint()

    text = with_services(run)
    with _written(output) as stream:
        stream.write(text.encode())


def key(output: _Output = None) -> None:
    """Write the log's public key, which verifies its checkpoints. Compare it with what you
    get by another way before you trust it."""

    async def run(services: "Services") -> str:
        return await services.application.proofs.key()

    text = with_services(run)
    with _written(output) as stream:
        stream.write(f"{text}\n".encode())


async def write_bundle(
    services: "Services", wanted: "Wanted", tenant: str | None, stream: BinaryIO
) -> tuple[int, int]:
    """Write the bundle of the wanted stretch with the events of ``tenant`` (``None``: of
    all); the first leaf that was written, and the tree's size."""
    from vault_service.services import log_export
    from vault_service.services.export_audit import VIEW

    if wanted.until is None:
        await sealed(services)
    async with services.log.reader.contents() as contents:
        stretch = await log_export.plan(contents, wanted)
        told = {"view": VIEW, "first": stretch.first, "size": stretch.size}
        for name in [*services.tenants, _NO_TENANT] if tenant is None else [tenant]:
            await _record(services, name, told)
        lines = log_export.write(
            contents,
            stretch,
            tenant=tenant,
            origin=services.log.origin,
            key=await services.log.signer.open(),
        )
        with _progress(stretch.size - stretch.first) as written:
            async with aclosing(lines):
                async for piece in lines:
                    stream.write(piece)
                    written(piece.count(b"\n"))
    return stretch.first, stretch.size


async def sealed(services: "Services") -> None:
    """Have everything sealed and signed: by the service where one runs, else here."""
    from vault_service.domain.transparency import Overtaken
    from vault_service.services.sealing import LogBroken
    from vault_service.services.signed import signed_tree

    try:
        await services.log.sealer.seal_now()
    except Overtaken:
        await signed_tree(services.log.reader, await services.log.reader.size())
    except LogBroken:
        # What is there is what an auditor has to see; the verifier will say what is wrong.
        typer.echo("The log contradicts what was signed before; it is not signed again.", err=True)
    except VaultError as error:
        if error.code is not Code.KEY_UNAVAILABLE:
            raise
        typer.echo("The signing key is unavailable; the newest events stay unsigned.", err=True)


async def _record(services: "Services", tenant: str, detail: dict[str, object]) -> None:
    # PCI-DSS 10.2.1.3: access to the log is in the log, before anything is shown.
    event = services.recorder.system_event(
        Action.READ_AUDIT.value,
        principal=f"operator:{operator()}",
        tenant=tenant,
        detail=detail,
    )
    await services.application.store.append(event)


def _kept_size(path: Path) -> int:
    try:
        with path.open("rb") as stream:
            return Checkpoint.parse(parse_note(stream.read(_MAX_NOTE).decode()).text).size
    except OSError as error:
        stop(f"Cannot read the kept checkpoint: {error.strerror}.")
    except ValueError:
        stop("What --since names is no signed checkpoint.")


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)


@contextmanager
def _written(output: Path | None) -> Iterator[BinaryIO]:
    """The stream to write to. A file is there complete or not at all."""
    if output is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.flush()
        except BrokenPipeError:
            raise  # whoever reads has seen enough
        except OSError as error:
            stop(f"Cannot write to standard output: {error.strerror}.")
        return
    partial = output.with_name(f".{output.name}.part")
    try:
        with open(partial, "wb", opener=_private) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(output)
    except OSError as error:
        stop(f"Cannot write {output}: {error.strerror}.")
    finally:
        partial.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _progress(leaves: int) -> Iterator[Callable[[int], None]]:
    """Shows how far it is, on standard error where that is a terminal."""
    with Progress(
        TextColumn("Exporting"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as shown:
        task = shown.add_task("Exporting", total=leaves)
        yield lambda lines: shown.advance(task, lines)
