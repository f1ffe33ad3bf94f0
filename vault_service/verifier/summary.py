"""A report in words, and as JSON. Nothing of a file is shown unless it is printable."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from vault_service.domain.bundle import WHOLE_LOG
from vault_service.domain.checkpoints import Checkpoint
from vault_service.domain.notes import VerifierKey
from vault_service.verifier.bundles import BundleReport
from vault_service.verifier.findings import Finding, Verdict, printable
from vault_service.verifier.receipts import ReceiptReport

_HEADS: Final = {
    Verdict.VERIFIED: "VERIFIED",
    Verdict.TAMPERED: "TAMPERED",
    Verdict.UNVERIFIABLE: "UNVERIFIABLE",
}
_MEANING: Final = {
    Verdict.TAMPERED: "the log, or this file, is not what was signed.",
    Verdict.UNVERIFIABLE: "this file and this key do not tell whether the log is whole.",
}


def told_bundle(report: BundleReport, key: VerifierKey) -> Iterator[str]:
    """The lines that tell a person what a bundle showed."""
    if report.verdict is Verdict.VERIFIED:
        whole = "" if report.withheld else ", and none left out"
        yield f"VERIFIED: {_counted(report.events, 'event')} as sealed{whole}."
    else:
        yield f"{_HEADS[report.verdict]}: {_MEANING[report.verdict]}"
    yield from _told_findings(report.findings, report.left_out)
    if not report.origin:
        return
    yield ""
    yield f"Log         {printable(report.origin)}"
    if report.leaves:
        last = report.first + report.leaves - 1
        yield f"Leaves      {report.first} to {last}: {report.events} with their events"
    else:
        yield f"Leaves      none, after the first {report.first}"
    if report.earliest is not None and report.latest is not None:
        yield f"Events from {_time(report.earliest)}"
        yield f"         to {_time(report.latest)}"
    if report.checkpoint is not None:
        yield f"Checkpoint  {_told_checkpoint(report.checkpoint)}"
    if report.kept is not None:
        yield f"Kept        {_told_checkpoint(report.kept)}"
    yield f"Key         {printable(key.name)} {key.key_id.hex()}"
    yield ""
    yield (
        "Checked: every event shown against its sealed hash; ids for repeats; the tree's root"
        f" and the signature at {_counted(report.checkpoints, 'checkpoint')}, each shown to"
        " extend the one before" + ("; the kept checkpoint." if report.kept is not None else ".")
    )
    yield from _told_limits(report)


def told_receipt(report: ReceiptReport, key: VerifierKey) -> Iterator[str]:
    """The lines that tell a person what a receipt showed."""
    event, checkpoint = report.event, report.checkpoint
    if event is None or checkpoint is None:
        meaning = {
            Verdict.TAMPERED: "this receipt is not of an event in the log.",
            Verdict.UNVERIFIABLE: "this file and this key do not tell whether it is genuine.",
        }
        yield f"{_HEADS[report.verdict]}: {meaning[report.verdict]}"
        yield from _told_findings(report.findings, 0)
        return
    yield f"VERIFIED: the event is leaf {report.leaf} of the log."
    yield ""
    yield f"Event       {printable(event.id)}"
    yield f"Time        {_time(event.time)}"
    yield f"Tenant      {printable(event.tenant)}"
    yield f"Principal   {printable(event.principal or 'not authenticated')}"
    yield f"Action      {printable(event.action)}"
    yield f"Purpose     {printable(event.purpose or 'none')}"
    if event.case is not None:
        yield f"Case        {printable(event.case)}"
    yield f"Outcome     {printable(event.outcome)}"
    yield f"Tokens      {event.tokens}"
    yield f"Checkpoint  {_told_checkpoint(checkpoint)}"
    yield f"Key         {printable(key.name)} {key.key_id.hex()}"


def bundle_json(report: BundleReport) -> dict[str, Any]:
    """A bundle's report for a program."""
    return {
        "kind": "bundle",
        "verdict": report.verdict.name.lower(),
        "findings": [asdict(finding) for finding in report.findings],
        "findings_left_out": report.left_out,
        "origin": report.origin,
        "scope": report.scope,
        "first": report.first,
        "leaves": report.leaves,
        "events": report.events,
        "withheld": {why: asdict(stretch) for why, stretch in report.withheld.items()},
        "unsealed": report.unsealed,
        "earliest": None if report.earliest is None else _time(report.earliest),
        "latest": None if report.latest is None else _time(report.latest),
        "backdated": None if report.backdated is None else asdict(report.backdated),
        "checkpoints": report.checkpoints,
        "checkpoint": _checkpoint_json(report.checkpoint),
        "kept": _checkpoint_json(report.kept),
    }


def receipt_json(report: ReceiptReport) -> dict[str, Any]:
    """A receipt's report for a program."""
    event = None
    if report.event is not None:
        event = asdict(report.event) | {"time": _time(report.event.time)}
    return {
        "kind": "receipt",
        "verdict": report.verdict.name.lower(),
        "findings": [asdict(finding) for finding in report.findings],
        "leaf": report.leaf,
        "event": event,
        "checkpoint": _checkpoint_json(report.checkpoint),
    }


def _told_findings(findings: Sequence[Finding], left_out: int) -> Iterator[str]:
    for number, finding in enumerate(findings, 1):
        place = "" if finding.line is None else f" (line {finding.line})"
        event = "" if finding.event_id is None else f" Event {finding.event_id}."
        repeated = finding.event_id is not None and finding.event_id in finding.text
        yield f"  {number}. {finding.text}{'' if repeated else event}{place}"
    if left_out:
        yield f"  … and {left_out} more."


def _told_limits(report: BundleReport) -> Iterator[str]:
    """What the bundle does not show."""
    withheld = report.withheld
    if "tenant" in withheld and report.scope != WHOLE_LOG:
        yield (
            f"Not shown: {_counted(withheld['tenant'].count, 'event')} of other tenants than"
            f" {printable(report.scope)}. Only a bundle of the whole log shows that none of this"
            " tenant's is among them, and that none of them was removed."
        )
    if report.backdated is not None:
        late = report.backdated
        yield (
            f"Out of order: {_counted(late.leaves.count, 'event')} from leaf {late.leaves.first}"
            f" ({printable(late.event_id)}) to {late.leaves.last}, sealed after events that say"
            " they happened more than 5 minutes later: put into the database afterwards, or a"
            " clock was wrong. Ask which."
        )
    if "archived" in withheld:
        stretch = withheld["archived"]
        yield (
            f"Not shown: {_counted(stretch.count, 'event')} that the log calls archived, from"
            f" leaf {stretch.first} to {stretch.last}; the archive's own bundles show them."
        )
    if report.unsealed:
        yield (
            f"Not covered: {_counted(report.unsealed, 'event')} in no leaf yet; nothing vouches"
            " for what these say."
        )
    if report.first and report.kept is None:
        yield (
            f"Not shown: the {report.first} leaves before the first. Keep the checkpoint of each"
            " bundle that you verified, and hand it to --since with the next."
        )


def _told_checkpoint(checkpoint: Checkpoint) -> str:
    root = base64.b64encode(checkpoint.root).decode()
    return f"{checkpoint.size} leaves, root {root}"


def _checkpoint_json(checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    if checkpoint is None:
        return None
    root = base64.b64encode(checkpoint.root).decode()
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": root}


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
