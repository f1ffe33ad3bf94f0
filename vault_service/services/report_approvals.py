"""Approving runs of reports: by somebody else than who asked, and of exactly what they saw.

An approval binds what :meth:`Run.binding` says, so that it is void where any of it differs
later. A standing approval binds the same without a period, for a schedule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from vault_service.domain.access import Action, Decision
from vault_service.domain.errors import Code, FieldError, VaultError
from vault_service.domain.events import AuditEvent
from vault_service.domain.report_notes import WorkOrder
from vault_service.domain.report_ports import Approval
from vault_service.domain.report_runs import Run, RunState
from vault_service.domain.reports import ReportDefinition
from vault_service.services.context import RequestContext
from vault_service.services.report_rules import difference, refused
from vault_service.services.report_runs import Runs, approval_of, crockford_id

LONGEST_STANDING: Final = timedelta(days=400)
_TRIES: Final = 5


class ReportApprovals:
    """The use cases. One instance serves all requests of a process."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._store = runs.store

    async def standing(self, context: RequestContext) -> Sequence[Approval]:
        """The standing approvals of the caller's tenant that hold."""
        return await self._store.standing(context.principal.tenant, None, context.at)

    async def approve(
        self,
        context: RequestContext,
        run_id: str,
        *,
        seen: Mapping[str, Any] | None = None,
        until: datetime | None = None,
    ) -> Run:
        """Approve the run as it is. ``seen`` is the binding that the approver was shown:
        where the run is another, its rule is named and nothing is approved. With ``until``
        runs alike are approved until then, whatever their period. Raises what
        ``report_rules`` says, and ``access_denied``."""
        if until is not None and not context.at < until <= context.at + LONGEST_STANDING:
            detail = "Give a time in the next 400 days."
            raise VaultError(
                Code.INVALID_REQUEST, detail, errors=(FieldError("until", "range", detail),)
            )
        approver = context.principal.name
        for _ in range(_TRIES):
            run = await self._runs.load(context, run_id)
            definition, decision = await self._verdict(context, run, seen, again=True)
            if run.state is RunState.APPROVED:
                return run
            approved = replace(
                run,
                state=RunState.APPROVED,
                approver=approver,
                approved_at=context.at,
                updated_at=context.at,
                version=run.version + 1,
            )
            order = await self._runs.sign(WorkOrder.of(approved, definition.purpose).text())
            approved = replace(approved, order=order)
            approvals = [approval_of(approved, approver, context.at, run.expires_at)]
            more: dict[str, Any] = {"verdict": "approved"}
            if until is not None:
                standing = _standing(run, approver, context.at, until)
                approvals.append(standing)
                more |= {"standing": standing.id, "until": until.isoformat()}
            event = self._decided(context, approved, definition, decision, None, **more)
            if await self._store.change(run, approved, [event], approvals):
                return approved
        raise _contended()

    async def reject(self, context: RequestContext, run_id: str) -> Run:
        """Reject a run that waits for an approval; errors as :meth:`approve`."""
        for _ in range(_TRIES):
            run = await self._runs.load(context, run_id)
            definition, decision = await self._verdict(context, run, None, again=False)
            rejected = replace(
                run,
                state=RunState.REJECTED,
                code=Code.ACCESS_DENIED.value,
                rule="rejected",
                updated_at=context.at,
                version=run.version + 1,
            )
            event = self._decided(context, rejected, definition, decision, None, verdict="rejected")
            if await self._store.change(run, rejected, [event]):
                return rejected
        raise _contended()

    async def withdraw(self, context: RequestContext, approval_id: str) -> None:
        """Withdraw a standing approval: its approver may, and whoever may approve the
        report. Runs that followed from it stay approved. ``not_found`` for any other."""
        principal = context.principal
        for approval in await self.standing(context):
            if approval.id == approval_id and self._may_withdraw(context, approval):
                event = self._runs.recorder.event(
                    context,
                    "report_approval_withdrawn",
                    detail={"standing": approval.id, "report_name": approval.report},
                )
                at = context.at
                if await self._store.withdraw(principal.tenant, approval.id, at, event):
                    return
        raise VaultError(Code.NOT_FOUND, "There is no such standing approval.")

    def _may_withdraw(self, context: RequestContext, approval: Approval) -> bool:
        definition = self._runs.definitions.get(approval.report)
        return approval.approver == context.principal.name or (
            definition is not None
            and self._runs.decide(context.principal, Action.APPROVE_REPORT, definition).allowed
        )

    async def _verdict(
        self,
        context: RequestContext,
        run: Run,
        seen: Mapping[str, Any] | None,
        *,
        again: bool,
    ) -> tuple[ReportDefinition, Decision]:
        """Whether the caller may decide on the run; raises, recorded, where not. ``again``:
        a run that they approved already is all right."""
        principal = context.principal
        definition = self._runs.definitions.get(run.report)
        if definition is None:
            raise await self._runs.refuse(context, "report_refused", "template_changed", run)
        decision = self._runs.decide(principal, Action.APPROVE_REPORT, definition, run)
        error: VaultError | None = None
        rule = self._rule(context, run, definition, seen, again=again)
        if rule == "self_approval" or decision.allowed:
            error = None if rule is None else refused(rule)
        else:
            rule = None
            error = VaultError(Code.ACCESS_DENIED, "The policies do not allow this request.")
        if error is None:
            return definition, decision
        event = self._decided(context, run, definition, decision, error.code, rule=rule)
        await self._runs.append(event)
        error.event_id = event.id
        raise error

    def _rule(
        self,
        context: RequestContext,
        run: Run,
        definition: ReportDefinition,
        seen: Mapping[str, Any] | None,
        *,
        again: bool,
    ) -> str | None:
        if context.principal.name == run.requester:
            return "self_approval"
        if run.state is RunState.EXPIRED:
            return "approval_expired"
        if run.state is RunState.APPROVED:
            if not again or run.approver != context.principal.name:
                return "not_waiting"
        elif run.state is not RunState.REQUESTED or not definition.needs_approval:
            return "not_waiting"
        if definition.template_hash() != run.template_hash:
            return "template_changed"
        return None if seen is None else difference(seen, msgspec.json.decode(run.binding()))

    def _decided(
        self,
        context: RequestContext,
        run: Run,
        definition: ReportDefinition,
        decision: Decision,
        code: Code | None,
        **more: Any,
    ) -> AuditEvent:
        facts = definition.facts(row_cap=run.row_cap, requester=run.requester)
        detail = {
            "policies": list(decision.policies),
            "report": facts.recorded(),
            "run": run.id,
            "state": run.state.value,
            **{name: value for name, value in more.items() if value is not None},
        }
        return self._runs.recorder.event(context, Action.APPROVE_REPORT, code=code, detail=detail)


def _standing(run: Run, approver: str, at: datetime, until: datetime) -> Approval:
    return Approval(
        id="sap_" + crockford_id(),
        tenant=run.tenant,
        report=run.report,
        run=None,
        binding=run.standing_binding().decode(),
        approver=approver,
        approved_at=at,
        until=until,
    )


def _contended() -> VaultError:
    return VaultError(Code.IDEMPOTENCY_CONFLICT, "Others change this run; ask again.")
