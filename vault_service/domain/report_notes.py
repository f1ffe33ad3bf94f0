"""Work orders and manifests of report runs: signed notes of one line of canonical JSON.

All are signed by the key that signs the log's checkpoints (C2SP signed-note), so that the
log's public key verifies them. The first line says what it is: the order to make a run, the
order to make one part of it, or the manifest.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from vault_service.domain.notes import NoteMalformed, VerifierKey, open_note, parse_note
from vault_service.domain.report_parts import Part
from vault_service.domain.report_runs import Run
from vault_service.domain.reports import ReportDefinition, canonical

ORDER: Final = "strongroom/report-order"
PART: Final = "strongroom/report-part"
MANIFEST: Final = "strongroom/report-manifest"

_T = TypeVar("_T")


class WorkOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a job is told to do. The parameters, which may be long, come with the run when
    it is started; ``expires_at`` is RFC 3339 in UTC."""

    v: int = 1
    run: str
    tenant: str
    report: str
    purpose: str
    template_hash: str
    parameters_sha256: str
    period: str
    format: str
    recipient: str
    row_cap: int
    requester: str
    expires_at: str

    @classmethod
    def of(cls, run: Run, purpose: str) -> "WorkOrder":
        """The order to make this run."""
        return cls(
            run=run.id,
            tenant=run.tenant,
            report=run.report,
            purpose=purpose,
            template_hash=run.template_hash,
            parameters_sha256=run.parameters_sha256,
            period=run.period,
            format=run.format,
            recipient=run.recipient,
            row_cap=run.row_cap,
            requester=run.requester,
            expires_at=run.expires_at.isoformat(),
        )

    def text(self) -> str:
        """The text to sign."""
        return _text(ORDER, self)


class PartOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a job is told to do of a run that was split: part number ``part`` of ``parts``,
    which is of the tokens behind ``after`` up to and with ``until``."""

    v: int = 1
    order: WorkOrder
    part: int
    parts: int
    after: str | None
    until: str | None

    @property
    def place(self) -> str:
        """Which part it is of how many: what its output is bound to."""
        return f"{self.part}/{self.parts}"

    def text(self) -> str:
        """The text to sign."""
        return _text(PART, self)


class ManifestPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sealed piece of the output: ``rows`` in a file of this SHA-256 (hex) and length, at
    ``location`` below the place of outputs."""

    rows: int
    sha256: str
    bytes: int
    location: str


class ManifestColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column of the output and what it holds."""

    name: str
    classification: str


class AuditRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ids of the events of request and finish; all events of the run lie between."""

    first: str
    last: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What came of a run. ``output_bytes`` is the length of the sealed output, and
    ``output_sha256`` (hex) its digest, ``output_location`` its name below the place of
    outputs. An output of several ``parts`` is theirs, laid end to end in this order; it has
    no digest and no name but theirs. What lies beside them is not the output.

    ``checkpoint`` is the newest of the log when the run was finished, a signed note, and
    lies before ``audit.last``. Times are RFC 3339 in UTC."""

    v: int = 1
    run: str
    tenant: str
    report: str
    template_hash: str
    parameters_sha256: str
    period: str
    rows: int
    row_cap: int
    columns: tuple[ManifestColumn, ...]
    format: str
    recipient: str
    output_sha256: str | None
    output_bytes: int
    output_location: str | None
    parts: tuple[ManifestPart, ...]
    requester: str
    requested_at: str
    approver: str | None
    approved_at: str | None
    finished_at: str
    policy_hash: str
    audit: AuditRange
    checkpoint: str | None

    @classmethod
    def of(
        cls,
        run: Run,
        definition: ReportDefinition,
        *,
        policy_hash: str,
        last_event: str,
        checkpoint: str | None,
        parts: Sequence[Part] = (),
    ) -> "Manifest":
        """The manifest of a run that is to be finished, with its parts where it has any."""
        return cls(
            run=run.id,
            tenant=run.tenant,
            report=run.report,
            template_hash=run.template_hash,
            parameters_sha256=run.parameters_sha256,
            period=run.period,
            rows=run.rows or 0,
            row_cap=run.row_cap,
            columns=tuple(
                ManifestColumn(column.name, column.classification) for column in definition.columns
            ),
            format=run.format,
            recipient=run.recipient,
            output_sha256=run.output_sha256,
            output_bytes=run.output_bytes or 0,
            output_location=run.output_location,
            parts=tuple(
                ManifestPart(
                    part.rows or 0,
                    part.output_sha256 or "",
                    part.output_bytes or 0,
                    part.output_location or "",
                )
                for part in parts
            ),
            requester=run.requester,
            requested_at=run.requested_at.isoformat(),
            approver=run.approver,
            approved_at=None if run.approved_at is None else run.approved_at.isoformat(),
            finished_at=run.updated_at.isoformat(),
            policy_hash=policy_hash,
            audit=AuditRange(run.first_event, last_event),
            checkpoint=checkpoint,
        )

    def text(self) -> str:
        """The text to sign."""
        return _text(MANIFEST, self)


def open_order(note: str, key: VerifierKey) -> WorkOrder:
    """The order in a note that ``key`` signed; ``NoteError`` for any other."""
    return read_order(open_note(note, key))


def read_order(text: str) -> WorkOrder:
    """The order in a note's text, of which nothing is verified; ``NoteMalformed``."""
    return _read(text, ORDER, WorkOrder)


def open_work(note: str, key: VerifierKey) -> WorkOrder | PartOrder:
    """The order, of a run or of a part, in a note that ``key`` signed; ``NoteError``."""
    return read_work(open_note(note, key))


def read_work(text: str) -> WorkOrder | PartOrder:
    """The order, of a run or of a part, in a note's text, of which nothing is verified;
    ``NoteMalformed``."""
    if text.startswith(f"{PART}\n"):
        return _read(text, PART, PartOrder)
    return read_order(text)


def order_in(work: WorkOrder | PartOrder) -> WorkOrder:
    """The run's order: itself, or the one that a part is of."""
    return work.order if isinstance(work, PartOrder) else work


def open_manifest(note: str, key: VerifierKey) -> Manifest:
    """The manifest in a note that ``key`` signed; ``NoteError`` for any other."""
    return _read(open_note(note, key), MANIFEST, Manifest)


def read_manifest(note: str) -> Manifest:
    """The manifest in a note, of which nothing is verified; ``NoteMalformed``."""
    return _read(parse_note(note).text, MANIFEST, Manifest)


def _text(kind: str, content: WorkOrder | PartOrder | Manifest) -> str:
    return f"{kind}\n{canonical(content).decode()}\n"


def _read(text: str, kind: str, content: type[_T]) -> _T:
    first, _, rest = text.partition("\n")
    if first != kind:
        raise NoteMalformed(f"not a note of {kind}")
    try:
        found: Any = msgspec.json.decode(rest.encode(), type=content)
    except msgspec.MsgspecError:
        raise NoteMalformed(f"not a note of {kind}") from None
    # One spelling alone: what is compared and what is shown are the same bytes.
    if f"{kind}\n{canonical(found).decode()}\n" != text:
        raise NoteMalformed(f"not a note of {kind}")
    opened: _T = found
    return opened
