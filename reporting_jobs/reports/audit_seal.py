"""Checks that the audit log is being sealed, and keeps its newest checkpoint (PCI-DSS
10.3.4)."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from reporting_jobs.byte_stream import stream_of
from reporting_jobs.context import Cell, Context, Output, Section
from reporting_jobs.moments import moment, stamp
from vault_service.domain import bundle
from vault_service.domain.checkpoints import open_checkpoint
from vault_service.domain.notes import VerifierKey
from vault_service.domain.reports import (
    Classification,
    Column,
    Format,
    Limits,
    Parameter,
    ParameterType,
    ReportDefinition,
)

DEFINITION = ReportDefinition(
    name="audit_seal",
    title="Sealing of the audit log",
    description="The newest signed checkpoint of the audit log, and how old the oldest event"
    " is that no checkpoint covers. Kept elsewhere, checkpoints show later that the log was"
    " not rewritten.",
    owner="audit",
    purpose="operations",
    reads=(),
    columns=(
        Column("verdict", Classification.IDENTIFIER, "sealing, or stalled"),
        Column("origin", Classification.IDENTIFIER, "The log's name"),
        Column("leaves", Classification.FIGURE, "Events under the checkpoint"),
        Column("root", Classification.IDENTIFIER, "The tree's root, base64"),
        Column("unsealed_events", Classification.FIGURE, "The tenant's events in no leaf yet"),
        Column("oldest_unsealed", Classification.FIGURE, "When the oldest of them was recorded"),
        Column("tail_age_seconds", Classification.FIGURE, "How long ago that is"),
        Column("checked_at", Classification.FIGURE, "When this was looked at"),
        Column("checkpoint", Classification.IDENTIFIER, "The signed checkpoint itself"),
        Column("verifier_key", Classification.IDENTIFIER, "The key that it verifies with"),
    ),
    limits=Limits(row_cap=1, minimum_group=1),
    formats=(Format.JSON, Format.CSV, Format.PDF),
    parameters=(
        Parameter(
            "stalled_after_seconds",
            ParameterType.INTEGER,
            "An unsealed event older than this means that sealing is stalled",
            required=False,
            default=300,
            lowest=10,
            highest=86_400,
        ),
    ),
    schedule="cron(10 * * * ? *)",
)


class _Told(msgspec.Struct, gc=False):
    time: datetime


def make(context: Context) -> Output:
    """One row. ``NoteError`` fails the run where the checkpoint does not verify."""
    key = context.vault.verifier_key()
    note = context.vault.checkpoint()
    checkpoint = open_checkpoint(note, VerifierKey.parse(key))
    unsealed, oldest = _tail(context.vault.export_log(cursor=checkpoint.size))
    limit = timedelta(seconds=context.parameters["stalled_after_seconds"])
    age = timedelta() if oldest is None else max(context.now - oldest, timedelta())
    verdict = "stalled" if age > limit else "sealing"
    seconds = int(age.total_seconds())
    row: Sequence[Cell] = (
        *(verdict, checkpoint.origin, checkpoint.size, b64encode(checkpoint.root).decode()),
        *(unsealed, stamp(oldest), seconds, stamp(context.now), note, key),
    )
    told = (
        f"Sealing is alive: the checkpoint covers {checkpoint.size} events, and the oldest"
        f" event that it does not cover is {seconds} seconds old."
        if verdict == "sealing"
        else f"Sealing is STALLED: an event has waited for {seconds} seconds. See to the sealer"
        " and its signing key: strongroom doctor tells more."
    )
    return Output([row], lambda: [Section("Is the log being sealed?", [told])])


def _tail(pieces: Iterator[bytes]) -> tuple[int, datetime | None]:
    """Events in no leaf, and the time of the oldest of them."""
    stream = stream_of(pieces)
    count, oldest = 0, None
    while raw := stream.readline(bundle.MAX_LINE_BYTES + 1):
        line = bundle.decode(raw)
        if isinstance(line, bundle.Unsealed):
            count += 1
            at = moment(msgspec.json.decode(line.body, type=_Told).time)
            oldest = at if oldest is None else min(oldest, at)
    return count, oldest
