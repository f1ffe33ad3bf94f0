"""The demo's chapter on the log: exported, verified offline, tampered with, caught."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

from vault_service.cli.demo_story import DoesNotHold, Story
from vault_service.domain.notes import VerifierKey
from vault_service.verifier.bundles import BundleReport, verify_bundle
from vault_service.verifier.findings import Kind, Verdict
from vault_service.verifier.receipts import verify_receipt

BUNDLE: Final = "audit.ndjson"
KEY: Final = "audit.vkey"
CHECKPOINT: Final = "kept.checkpoint"
RECEIPT: Final = "reveal.receipt"


def keep(folder: Path, key: str, checkpoint: str) -> None:
    """What an auditor keeps from an earlier visit, out of the operators' reach."""
    (folder / KEY).write_text(f"{key}\n", "utf-8")
    (folder / CHECKPOINT).write_text(checkpoint, "utf-8")


def verify_offline(
    story: Story, folder: Path, receipt: str, event_id: str, export: Callable[[Path], None]
) -> None:
    """Tell and check that the log verifies, and that a changed copy does not. ``receipt`` is
    that of the reveal that ``event_id`` records."""
    story.tell(
        "Nobody has to believe us",
        "Each event is a leaf of a Merkle tree whose root is signed. The auditor kept the log's"
        " public key and a checkpoint; nothing below asks the vault, a database or a network.",
    )
    key = VerifierKey.parse((folder / KEY).read_text("utf-8").strip())
    kept = (folder / CHECKPOINT).read_text("utf-8")
    (folder / RECEIPT).write_text(receipt, "utf-8")
    proven = verify_receipt(receipt.encode(), key)
    if proven.verdict is not Verdict.VERIFIED or proven.event is None:
        raise DoesNotHold("the receipt of the reveal verifies")
    if proven.event.id != event_id:
        raise DoesNotHold("the receipt is of the reveal")
    story.say(
        f"The receipt of the reveal: leaf {proven.leaf}, {proven.event.principal} for"
        f" {proven.event.purpose}, case {proven.event.case}. Verified."
    )
    path = folder / BUNDLE
    export(path)
    lines = path.read_bytes().splitlines(keepends=True)
    report = _verified(lines, key, kept)
    if report.verdict is not Verdict.VERIFIED or report.kept is None:
        raise DoesNotHold("the exported log verifies")
    story.say(
        f"The whole log: {report.events} events, {report.checkpoints} signed checkpoints, each"
        f" shown to extend the last, and the one that was kept. Verified."
    )
    _tamper(story, lines, key, kept, event_id.encode())


def _tamper(story: Story, lines: list[bytes], key: VerifierKey, kept: str, event: bytes) -> None:
    story.say("Now copies of it are tampered with, as somebody who owns the database might:")
    blamed = b'"principal":"support-agent"'
    changed = [
        line.replace(b'"principal":"chargeback-service"', blamed) if event in line else line
        for line in lines
    ]
    gone = [line for line in lines if event not in line]
    for deed, copy, expected in (
        ("the reveal is blamed on somebody else", changed, Kind.EVENT_ALTERED),
        ("the reveal is taken out", gone, Kind.LEAVES_MISSING),
        ("the log ends before it", list(_shortened(lines, event)), Kind.CUT_OFF),
    ):
        report = _verified(copy, key, kept)
        if report.verdict is Verdict.VERIFIED or copy == lines:
            raise DoesNotHold("a log that was tampered with is found out")
        found = next((each for each in report.findings if each.kind is expected), None)
        if found is None:
            raise DoesNotHold(f"the verifier says what happened: {expected.value}")
        story.say(f"  {deed}: {report.verdict.name}. {found.text}")


def _shortened(lines: list[bytes], event: bytes) -> Iterator[bytes]:
    for line in lines:
        if event in line:
            return
        yield line


def _verified(lines: list[bytes], key: VerifierKey, kept: str) -> BundleReport:
    return verify_bundle(BytesIO(b"".join(lines)), key, kept)
