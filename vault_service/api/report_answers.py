"""Reports, runs and what jobs read, as they are answered. Times are RFC 3339 in UTC."""

from datetime import datetime

import msgspec

from vault_service.api.report_messages import (
    ColumnAnswer,
    HoldingAnswer,
    ParameterAnswer,
    PolicyAnswer,
    PrincipalAnswer,
    ReadingAnswer,
    ReportAnswer,
    RightsAnswer,
    RunAnswer,
    StandingAnswer,
    TokenRowAnswer,
)
from vault_service.domain.holdings import Holding, TokenEntry
from vault_service.domain.report_ports import Approval
from vault_service.domain.report_runs import Run
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
    run: Run, definition: ReportDefinition | None, request_id: str, *, created: bool = False
) -> RunAnswer:
    """A run as it is answered. ``definition`` is ``None`` where the report is no more."""
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
        rows=run.rows,
        output_sha256=run.output_sha256,
        output_bytes=run.output_bytes,
        order=run.order,
        manifest=run.manifest,
        created=created,
        request_id=request_id,
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
