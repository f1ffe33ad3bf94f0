"""``strongroom audit verify``: an auditor's check of the log, without the service.

Needs no network, database, AWS or settings; the base install has all it imports.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from vault_service.cli.operation import stop
from vault_service.domain.checkpoints import Checkpoint
from vault_service.domain.log_proofs import MAX_PROOF_BYTES
from vault_service.domain.notes import NoteError, VerifierKey, parse_note
from vault_service.verifier import summary
from vault_service.verifier.bundles import verify_bundle
from vault_service.verifier.receipts import FIRST_LINE, verify_receipt

_MAX_SMALL_BYTES: Final = 1 << 20


def verify(
    file: Annotated[Path, typer.Argument(help="A bundle of the log, or a receipt.")],
    key: Annotated[
        str, typer.Option(help="The log's public key, which you had from elsewhere, or its file.")
    ],
    since: Annotated[
        Path | None, typer.Option(help="A checkpoint that you kept when you last verified.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Verify an export of the audit log, or one event's receipt, offline.

    Exits 0 where it verified, 1 where the log or the file was tampered with, 3 where this
    file and this key cannot tell: an unknown key, a part that is missing.
    """
    pinned = _key(key)
    kept = None if since is None else _kept(since)
    try:
        with file.open("rb") as stream:
            is_receipt = stream.read(len(FIRST_LINE)) == FIRST_LINE
            stream.seek(0)
            if is_receipt:
                if kept is not None:
                    stop("--since is for bundles: a receipt cannot be compared with a checkpoint.")
                receipt = verify_receipt(stream.read(MAX_PROOF_BYTES + 1), pinned)
                verdict, body = receipt.verdict, summary.receipt_json(receipt)
                lines = summary.told_receipt(receipt, pinned)
            else:
                with _progress(stream) as progress:
                    report = verify_bundle(stream, pinned, kept, progress)
                verdict, body = report.verdict, summary.bundle_json(report)
                lines = summary.told_bundle(report, pinned)
    except OSError as error:
        stop(f"Cannot read the file: {error.strerror or 'it is not a regular one'}.")
    if as_json:
        typer.echo(json.dumps(body, indent=2))
    else:
        for line in lines:
            typer.echo(line)
    raise typer.Exit(verdict.value)


def _key(text: str) -> VerifierKey:
    try:
        return VerifierKey.parse(text)
    except NoteError:
        pass
    try:
        return VerifierKey.parse(_small(Path(text)).strip())
    except (OSError, ValueError):
        stop("--key is neither a verifier key (name+id+key) nor a file that holds one.")


def _kept(path: Path) -> str:
    try:
        text = _small(path)
        Checkpoint.parse(parse_note(text).text)
    except OSError as error:
        stop(f"Cannot read the kept checkpoint: {error.strerror}.")
    except ValueError:
        stop("What --since names is no signed checkpoint.")
    return text


def _small(path: Path) -> str:
    with path.open("rb") as stream:
        return stream.read(_MAX_SMALL_BYTES).decode()


@contextmanager
def _progress(stream: BinaryIO) -> Iterator[Callable[[int], None]]:
    """Shows how much was read, on standard error where that is a terminal."""
    total = stream.seek(0, 2)
    stream.seek(0)
    with Progress(
        TextColumn("Verifying"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as shown:
        task = shown.add_task("Verifying", total=total)
        yield lambda read: shown.update(task, completed=read)
