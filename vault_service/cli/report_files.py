"""``strongroom report open`` and ``report verify``: a sealed output in its reader's hands.

Neither asks the vault. ``open`` needs the recipient's key, and KMS where that is one.
"""

import getpass
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from vault_service.cli.operation import stop
from vault_service.domain.notes import NoteError, VerifierKey
from vault_service.domain.report_notes import Manifest, open_manifest, read_manifest

if TYPE_CHECKING:
    from vault_service.domain.checkpoints import Checkpoint

_MAX_SMALL_BYTES: Final = 1 << 20
_KMS: Final = "arn:"

ManifestFile = Annotated[
    Path, typer.Option("--manifest", help="The run's signed manifest, as `report show` has it.")
]
PartNumber = Annotated[
    int | None,
    typer.Option("--part", min=1, help="The file is this part alone, of a run that was split."),
]


def open_output(
    file: Annotated[Path, typer.Argument(help="The sealed output.")],
    manifest: ManifestFile,
    key: Annotated[
        str,
        typer.Option(help="Your key: the file of an RSA private key (PEM), or a KMS key's ARN."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")],
    log_key: Annotated[
        str | None,
        typer.Option(help="The log's public key or its file: verify the manifest with it first."),
    ] = None,
    part: PartNumber = None,
) -> None:
    """Open a sealed output with the recipient's key.

    The parts of a run that was split become one file. It is written for its owner alone,
    and only where it is whole and of the manifest's run. Exits 1 where it does not open.
    """
    try:
        from reporting_jobs import sealing
        from reporting_jobs.manifest import FileDiffers, pieces_of
    except ImportError:
        stop("Reports are not installed; run: pip install 'strongroom[reports]'")
    text = _small(manifest, "--manifest")
    try:
        about = read_manifest(text) if log_key is None else open_manifest(text, _log_key(log_key))
    except NoteError:
        _found("The manifest is none, or is not signed by the log's key.")
    whose: dict[str, Any] = (
        {"key_arn": key} if key.startswith(_KMS) else {"private_key": _private_key(Path(key))}
    )
    try:
        with file.open("rb") as sealed, _appearing(output) as opened:
            for piece in pieces_of(about, part):
                bound_to = sealing.context(
                    about.run, about.report, about.template_hash, piece.place
                )
                opened.writelines(sealing.unseal(piece.stream(sealed), bound_to, **whose))
            if sealed.read(1):
                raise sealing.SealInvalid
    except (sealing.SealInvalid, FileDiffers):
        _found("The file does not open: it is for another key, of another run, or was changed.")
    except FileExistsError:
        stop(f"{output} is there already; nothing was written.")
    except OSError as error:
        stop(f"The file cannot be read or written: {error.strerror}.")
    typer.echo(f"Opened {about.report}, run {about.run}: {about.rows} rows of {about.format}.")


def verify_output(
    file: Annotated[Path, typer.Argument(help="The sealed output.")],
    manifest: ManifestFile,
    key: Annotated[
        str, typer.Option(help="The log's public key, which you had from elsewhere, or its file.")
    ],
    part: PartNumber = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Verify a sealed output against its signed manifest, offline.

    Exits 0 where it verified, 1 where the file or the manifest is another.
    """
    from reporting_jobs.manifest import FileDiffers, verify

    pinned, note = _log_key(key), _small(manifest, "--manifest")
    try:
        with file.open("rb") as sealed:
            about, checkpoint = verify(sealed, note, pinned, part)
    except NoteError:
        _found("The manifest is none, was changed, or is not signed by this key.")
    except FileDiffers:
        _found("The file is not the one that the manifest is of.")
    except OSError as error:
        stop(f"Cannot read the file: {error.strerror or 'it is not a regular one'}.")
    if as_json:
        import msgspec

        typer.echo(json.dumps(msgspec.to_builtins(about), indent=2))
    else:
        for line in _told(about, checkpoint):
            typer.echo(line)


def _told(about: Manifest, checkpoint: "Checkpoint | None") -> Iterator[str]:
    yield f"Verified: {about.report}, run {about.run}, finished {about.finished_at}."
    yield f"  {about.rows} rows of at most {about.row_cap}, {about.format}, for {about.recipient}"
    if about.parts:
        rows = ", ".join(str(part.rows) for part in about.parts)
        yield f"  {len(about.parts)} parts, of {rows} rows"
    yield f"  requested by {about.requester} {about.requested_at}"
    if about.approver is not None:
        yield f"  approved by {about.approver} {about.approved_at}"
    held = ", ".join(f"{column.name} ({column.classification})" for column in about.columns)
    yield f"  columns: {held}"
    if checkpoint is not None:
        yield f"  the log had {checkpoint.size} sealed events, signed by the same key"


def _log_key(text: str) -> VerifierKey:
    try:
        return VerifierKey.parse(text)
    except NoteError:
        pass
    try:
        return VerifierKey.parse(_small(Path(text), "The key").strip())
    except NoteError:
        stop("The key is neither a verifier key (name+id+key) nor a file that holds one.")


def _private_key(path: Path) -> bytes:
    """The RSA private key of a file as unencrypted PEM, in memory alone; asks for its
    passphrase where it has one."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    pem = _small(path, "--key").encode()
    try:
        try:
            key = load_pem_private_key(pem, None)
        except TypeError:
            secret = getpass.getpass("Passphrase: ", stream=sys.stderr)
            key = load_pem_private_key(pem, secret.encode())
    except ValueError:
        stop("--key is neither the ARN of a KMS key nor the file of a private key (PEM).")
    if not isinstance(key, RSAPrivateKey):
        stop("--key is not an RSA key.")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _small(path: Path, what: str) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_SMALL_BYTES).decode()
    except (OSError, ValueError):
        stop(f"{what} cannot be read.")


@contextmanager
def _appearing(path: Path) -> Iterator[Any]:
    """A new file at ``path``, of mode 0600, that is there only if the block ends well."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.link(part, path)
    finally:
        part.unlink()


def _found(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
