"""Reports, runs and what jobs read, as they are answered. Times are RFC 3339 in UTC."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from vault_service.api.report_messages import (
    ColumnAnswer,
    HoldingAnswer,
    ParameterAnswer,
    PartAnswer,
    PartsAnswer,
    PolicyAnswer,
    PrincipalAnswer,
    ReadingAnswer,
    ReportAnswer,
    RightsAnswer,
    RunAnswer,
    SealedAnswer,
    StandingAnswer,
    TokenRowAnswer,
)
from vault_service.domain.holdings import Holding, TokenEntry
from vault_service.domain.report_parts import Part
from vault_service.domain.report_ports import Approval
from vault_service.domain.report_runs import Run, RunState
from vault_service.domain.reports import ReportDefinition
from vault_service.domain.rights import Rights


def report_answer(
    definition: ReportDefinition, may_run: bool, may_approve: bool, standing: list[Approval]
) -> ReportAnswer:
    """A definition as it is answered."""
    return ReportAnswer(
        name=definition.name,
        title=definition.title,
        description=definition.description,
        owner=definition.owner,
        purpose=definition.purpose,
        job=definition.job,
        row_cap=definition.limits.row_cap,
        token_cap=definition.token_cap(definition.limits.row_cap),
        minimum_group=definition.limits.minimum_group,
        needs_approval=definition.needs_approval,
        may_run=may_run,
        may_approve=may_approve,
        template_hash=definition.template_hash(),
        formats=[known.value for known in definition.formats],
        reads=[ReadingAnswer(r.data_class, r.form) for r in definition.reads],
        columns=[
            ColumnAnswer(c.name, c.classification.value, c.description) for c in definition.columns
        ],
        parameters=[
            ParameterAnswer(
                p.name,
                p.type.value,
                p.description,
                p.required,
                p.default,
                list(p.choices),
                p.lowest,
                p.highest,
            )
            for p in definition.parameters
        ],
        schedule=definition.schedule,
        standing_approvals=[
            StandingAnswer(
                a.id,
                a.approver,
                a.approved_at.isoformat(),
                a.until.isoformat(),
                msgspec.json.decode(a.binding),
            )
            for a in standing
        ],
    )


def run_answer(
    run: Run,
    definition: ReportDefinition | None,
    request_id: str,
    *,
    created: bool = False,
    job: bool = False,
    part: Part | None = None,
    at: datetime | None = None,
) -> RunAnswer:
    """A run as it is answered. ``definition`` is ``None`` where the report is no more. Its
    ``job`` is also told what was sealed, and of the ``part`` that it makes, ``at`` this
    time."""
    ended = run.state is RunState.SUCCEEDED
    return RunAnswer(
        id=run.id,
        report=run.report,
        purpose="" if definition is None else definition.purpose,
        state=run.state.value,
        parameters=msgspec.json.decode(run.parameters),
        period=run.period,
        format=run.format.value,
        recipient=run.recipient,
        row_cap=run.row_cap,
        requester=run.requester,
        requested_at=run.requested_at.isoformat(),
        expires_at=run.expires_at.isoformat(),
        updated_at=run.updated_at.isoformat(),
        template_hash=run.template_hash,
        needs_approval=definition is not None and definition.needs_approval,
        binding=msgspec.json.decode(run.binding()),
        approver=run.approver,
        approved_at=_time(run.approved_at),
        code=run.code,
        rule=run.rule,
        attempts=run.attempts,
        revealed=run.revealed,
        lease_until=_time(run.lease_until),
        rows=run.rows if ended else None,
        output_sha256=run.output_sha256 if ended else None,
        output_bytes=run.output_bytes if ended else None,
        order=run.order,
        manifest=run.manifest,
        parts=run.parts,
        parts_done=run.parts_done,
        part=None if part is None else _part_answer(part, run, at),
        sealed=_sealed(run) if job and not run.parts else None,
        created=created,
        request_id=request_id,
    )


def parts_answer(run: Run, parts: Sequence[Part], request_id: str, at: datetime) -> PartsAnswer:
    """The parts of a run as they are answered ``at`` this time."""
    return PartsAnswer([_part_answer(part, run, at) for part in parts], request_id)


def _part_answer(part: Part, run: Run, at: datetime | None) -> PartAnswer:
    return PartAnswer(
        number=part.number,
        of=run.parts,
        done=part.done,
        leased=at is not None and part.leased(at),
        attempts=part.attempts,
        sealed=_sealed(part),
        order=part.order,
    )


def _sealed(made: Run | Part) -> SealedAnswer | None:
    if made.output_sha256 is None:
        return None
    return SealedAnswer(
        made.rows or 0, made.output_sha256, made.output_bytes or 0, made.output_location or ""
    )


def token_answer(entry: TokenEntry) -> TokenRowAnswer:
    """A token's entry as it is answered."""
    return TokenRowAnswer(
        entry.token, entry.created_at, entry.subject, entry.tags, entry.expires_at
    )


def holding_answer(held: Holding) -> HoldingAnswer:
    """A row of the inventory as it is answered."""
    return HoldingAnswer(
        data_class=held.data_class,
        tags=list(held.tags),
        key_id=held.key_id,
        epoch=held.epoch,
        key_state=held.key_state,
        key_created_at=held.key_created_at.isoformat(),
        tokens=held.tokens,
        subjects=held.subjects,
        oldest=held.oldest.isoformat(),
        newest=held.newest.isoformat(),
        overdue=held.overdue,
        retention_days=held.retention_days,
        wrapping_key=held.wrapping_key,
    )


def rights_answer(rights: Rights, request_id: str) -> RightsAnswer:
    """Policies and principals as they are answered."""
    return RightsAnswer(
        rights.policy_hash,
        [
            PolicyAnswer(held.source.id, held.source.file, held.source.line, dict(held.body))
            for held in rights.policies
        ],
        [
            PrincipalAnswer(each.name, each.type.value, each.tenant, dict(each.tags))
            for each in rights.principals
        ],
        request_id,
    )


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
