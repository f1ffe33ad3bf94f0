"""Verifies the whole audit log as an outsider would (PCI-DSS 10.3.4, 10.5.1)."""

from base64 import b64encode
from collections.abc import Iterator, Sequence

from reporting_jobs.byte_stream import stream_of
from reporting_jobs.context import Cell, Context, Output, ReportRefused, Section
from vault_service.domain.notes import MAX_NOTE_BYTES, NoteError, VerifierKey
from vault_service.domain.report_failures import FailureCode
from vault_service.domain.reports import (
    Classification,
    Column,
    Format,
    Limits,
    Parameter,
    ParameterType,
    ReportDefinition,
)
from vault_service.verifier.bundles import BundleReport, verify_bundle
from vault_service.verifier.summary import told_bundle

DEFINITION = ReportDefinition(
    name="audit_verify",
    title="Verification of the audit log",
    description="Exports the audit log and verifies every event, the tree and the signatures,"
    " as anybody can offline. Give the key and a checkpoint that you kept: what the vault"
    " says of itself shows less.",
    owner="audit",
    purpose="operations",
    reads=(),
    columns=(
        Column("item", Classification.IDENTIFIER, "verdict, a fact, or finding"),
        Column("name", Classification.IDENTIFIER, "Which fact, or the kind of finding"),
        Column("text", Classification.FIGURE, "What it is"),
        Column("leaf", Classification.FIGURE, "The leaf that a finding is about"),
        Column("event", Classification.IDENTIFIER, "The id of its event"),
        Column("line", Classification.FIGURE, "The line of the export, from 1"),
    ),
    limits=Limits(row_cap=1000, minimum_group=1),
    formats=(Format.PDF, Format.JSON, Format.CSV),
    parameters=(
        Parameter(
            "verifier_key",
            ParameterType.TEXT,
            "The key that you keep, name+id+base64; without it the vault's own is taken",
            required=False,
        ),
        Parameter(
            "kept_checkpoint",
            ParameterType.INPUT,
            "A file with a checkpoint that you kept: shows that the log still extends it",
            required=False,
        ),
    ),
    schedule="cron(30 1 * * ? *)",
)


def make(context: Context) -> Output:
    """The verdict, what it rests on, and each finding. What is wrong with the log is in the
    output; :class:`ReportRefused` where the key or the kept checkpoint is none."""
    given = context.parameters.get("verifier_key")
    try:
        key = VerifierKey.parse(given or context.vault.verifier_key())
        # Taken before the export: the export has to reach it.
        newest = context.vault.checkpoint()
        kept = _kept(context) or newest
        report = verify_bundle(
            stream_of(context.vault.export_log()),
            key,
            kept,
            lambda read: context.progress(read, None),
        )
    except NoteError:
        raise ReportRefused(
            FailureCode.INPUT_INVALID, "The key or the kept checkpoint is not spelled as one."
        ) from None
    rows = list(_rows(report, key, newest, pinned=bool(given)))
    lines = [line for line in told_bundle(report, key) if line]
    return Output(rows, lambda: [Section("What the verification showed", lines)])


def _kept(context: Context) -> str | None:
    if not context.parameters.get("kept_checkpoint"):
        return None
    try:
        with context.inputs["kept_checkpoint"]() as file:
            return file.read(MAX_NOTE_BYTES + 1).decode()
    except FileNotFoundError:
        raise ReportRefused(
            FailureCode.INPUT_MISSING, "There is no such file with a kept checkpoint."
        ) from None
    except UnicodeDecodeError:
        raise ReportRefused(FailureCode.INPUT_INVALID, "The kept checkpoint is no text.") from None


def _rows(
    report: BundleReport, key: VerifierKey, newest: str, *, pinned: bool
) -> Iterator[Sequence[Cell]]:
    yield _fact("verdict", "verdict", report.verdict.name.lower())
    yield _fact("fact", "events", str(report.events))
    yield _fact("fact", "leaves", str(report.leaves))
    yield _fact("fact", "withheld", str(sum(s.count for s in report.withheld.values())))
    yield _fact("fact", "unsealed", str(report.unsealed))
    yield _fact("fact", "checkpoints", str(report.checkpoints))
    if report.checkpoint is not None:
        yield _fact("fact", "tree_size", str(report.checkpoint.size))
        yield _fact("fact", "root", b64encode(report.checkpoint.root).decode())
    yield _fact("fact", "verifier_key", key.encode())
    yield _fact("fact", "key_from", "parameter" if pinned else "vault")
    yield _fact("fact", "checkpoint", newest)
    for finding in report.findings:
        yield (
            *("finding", finding.kind.value, finding.text),
            *(finding.leaf, finding.event_id, finding.line),
        )
    if report.left_out:
        yield _fact("finding", "left_out", f"{report.left_out} more findings")


def _fact(item: str, name: str, text: str) -> Sequence[Cell]:
    return item, name, text, None, None, None
