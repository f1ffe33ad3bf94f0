"""The demo's chapter on reports: made by their jobs, sealed, signed for, opened by the reader."""

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from reporting_jobs import sealing
from reporting_jobs.manifest import FileDiffers, verify
from reporting_jobs.places import FolderPlace
from reporting_jobs.recipients import RsaRecipient, rsa_recipient
from reporting_jobs.runner import Runner
from reporting_jobs.stores import FolderStore
from vault_service.cli.demo_log import KEY
from vault_service.cli.demo_story import DoesNotHold, Story
from vault_service.cli.demo_vault import RunningVault
from vault_service.client import Client
from vault_service.client.report_results import RunInfo
from vault_service.client.report_run import RunClient
from vault_service.client.reports import Reporting
from vault_service.domain.notes import NoteError, VerifierKey
from vault_service.domain.report_notes import Manifest
from vault_service.domain.report_runs import RunState

REPORTS: Final = ("access_review", "pci_inventory")
PRINCIPALS: Final = ("compliance-officer", *(f"job:{name}" for name in REPORTS))
PDF: Final = "pci_inventory.pdf"
SEALED: Final = f"{PDF}.sealed"
MANIFEST: Final = f"{PDF}.manifest"
READER: Final = "reader.pem"
_RSA_BITS: Final = 3072


def make_reports(story: Story, vault: RunningVault, folder: Path) -> None:
    """Tell and check that both reports are made, that the inventory opens for its reader
    alone, and that its manifest verifies."""
    story.tell(
        "Reports, without opening the vault",
        "The compliance officer, who can see no value either, asks for two reports. Their jobs"
        " are clients like any other: each may read what its definition declares, for this run.",
    )
    key = VerifierKey.parse((folder / KEY).read_text("utf-8").strip())
    with (
        _recipients(folder) as (recipients, reader, private),
        Client(vault.url, vault.keys["compliance-officer"]) as officer,
    ):
        runner = _runner(vault, recipients, key)
        reporting = Reporting(officer)
        runs = {name: _run(reporting, runner, name, reader) for name in REPORTS}
        for run in runs.values():
            story.say(f"{run.report}: {run.rows} rows, sealed to the reader's key, run {run.id}.")
        run = runs["pci_inventory"]
        sealed, manifest = folder / SEALED, folder / MANIFEST
        reporting.output(run.id, sealed)
    if run.manifest is None:
        raise DoesNotHold("a report has a signed manifest")
    manifest.write_text(run.manifest, "utf-8")
    _verify(story, sealed, run.manifest, key)
    _open(story, sealed, run, private, folder / PDF)


@contextmanager
def _recipients(folder: Path) -> Iterator[tuple[Path, RsaRecipient, bytes]]:
    """A reader's new key: the folder where jobs find its public half, whose it is, and the
    private half, which stays in ``folder`` as well."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    made = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    private = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    reader = rsa_recipient(public.decode())
    _private(folder / READER, private)
    recipients = folder / "recipients"
    recipients.mkdir(mode=0o700, exist_ok=True)
    try:
        name = reader.name.removeprefix("rsa:")
        (recipients / f"{name}.pem").write_bytes(public)
        yield recipients, reader, private
    finally:
        shutil.rmtree(recipients, ignore_errors=True)


def _runner(vault: RunningVault, recipients: Path, key: VerifierKey) -> Runner:
    """What makes the reports here, in this process."""

    @contextmanager
    def opened(report: str) -> Iterator[RunClient]:
        with Client(vault.url, vault.keys[f"job:{report}"]) as client:
            yield RunClient(client)

    return Runner(
        vault=opened,
        store=FolderStore(vault.settings.reports_path),
        key=key,
        recipients=FolderPlace(recipients),
    )


def _run(reporting: Reporting, runner: Runner, name: str, reader: RsaRecipient) -> RunInfo:
    asked = reporting.request_run(name, recipient=reader.name, format="pdf")
    if asked.order is None or not asked.created:
        raise DoesNotHold(f"{name} may start at once: it holds no plain value")
    outcome = runner.run(asked.order)
    if outcome.state != RunState.SUCCEEDED:
        raise DoesNotHold(f"{name} is made ({outcome.code})")
    if not runner.run(asked.order).repeated:
        raise DoesNotHold("the same order again makes no second output")
    return reporting.run(asked.id)


def _verify(story: Story, sealed: Path, note: str, key: VerifierKey) -> None:
    try:
        with sealed.open("rb") as file:
            manifest, checkpoint = verify(file, note, key)
    except (NoteError, FileDiffers):
        raise DoesNotHold("the manifest verifies") from None
    if checkpoint is None:
        raise DoesNotHold("the manifest holds a checkpoint of the log")
    _check_changed(sealed, note, key)
    story.say(
        f"The manifest of pci_inventory, offline with the log's key alone: {manifest.rows} rows of"
        f" {len(manifest.columns)} columns, none with plain values,"
    )
    story.say(
        f"these {manifest.output_bytes:,} bytes, asked for by {manifest.requester}, the log at"
        f" {checkpoint.size} events. Verified; with one bit of the file changed it is not."
    )


def _check_changed(sealed: Path, note: str, key: VerifierKey) -> None:
    changed = bytearray(sealed.read_bytes())
    changed[-1] ^= 1
    try:
        found: Manifest | None = verify(io.BytesIO(changed), note, key)[0]
    except FileDiffers:
        found = None
    if found is not None:
        raise DoesNotHold("the manifest is of this file alone")


def _open(story: Story, sealed: Path, run: RunInfo, private: bytes, target: Path) -> None:
    bound = sealing.context(run.id, run.report, run.template_hash)
    try:
        with sealed.open("rb") as file:
            content = b"".join(sealing.unseal(file, bound, private_key=private))
    except sealing.SealInvalid:
        raise DoesNotHold("the reader's key opens the report") from None
    if not content.startswith(b"%PDF-"):
        raise DoesNotHold("what opens is a PDF")
    _private(target, content)
    story.say(f"The reader opens it: {target.name}, {len(content):,} bytes, figures only.")


def _private(path: Path, content: bytes) -> None:
    """Write a file for its owner alone, in the place of the last demo's."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
