"""Reports as people see them: what there is, asking for runs, taking away what came of
them. Every decision and every change of state is recorded."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Final

from vault_service.domain.access import Action, Decision
from vault_service.domain.errors import Code, FieldError, IntegrityFailure, VaultError
from vault_service.domain.events import AuditEvent, new_event_id
from vault_service.domain.report_notes import WorkOrder
from vault_service.domain.report_parts import Part
from vault_service.domain.report_ports import Approval, OutputStore, RunQuery
from vault_service.domain.report_runs import Run, RunState, new_run_id
from vault_service.domain.reports import ReportDefinition, canonical
from vault_service.services.context import RequestContext
from vault_service.services.report_requests import CheckedRequest, RunCommand, check_request
from vault_service.services.report_runs import Runs, approval_of, binding_rule

MAX_LIMIT: Final = 1000
_TRIES: Final = 5


class Reports:
    """The use cases. One instance serves all requests of a process."""

    def __init__(self, runs: Runs, outputs: OutputStore) -> None:
        self._runs = runs
        self._outputs = outputs
        self._store = runs.store

    @property
    def definitions(self) -> Mapping[str, ReportDefinition]:
        """Every report by name."""
        return self._runs.definitions

    def may(self, context: RequestContext, definition: ReportDefinition) -> tuple[bool, bool]:
        """Whether the caller may run the report, and approve runs that others ask for."""
        principal = context.principal
        return (
            self._runs.decide(principal, Action.RUN_REPORT, definition).allowed,
            self._runs.decide(principal, Action.APPROVE_REPORT, definition).allowed,
        )

    async def request(
        self, context: RequestContext, name: str, command: RunCommand
    ) -> tuple[Run, bool]:
        """A run of the report as asked for, and whether it is new: the same request finds
        the run that is there. Raises ``not_found`` for an unknown report,
        ``invalid_request`` and ``access_denied``."""
        definition = self._runs.definitions.get(name)
        if definition is None:
            raise VaultError(Code.NOT_FOUND, "There is no such report; GET /v1/reports lists them.")
        checked = check_request(definition, command, context.at)
        decision = self._runs.decide(
            context.principal, Action.RUN_REPORT, definition, row_cap=checked.row_cap
        )
        if not decision.allowed:
            raise await self._denied(context, definition, decision, checked.row_cap)
        for _ in range(_TRIES):
            run, approval = await self._new(context, definition, checked)
            events = [self._asked(context, run, definition, decision, created=True)]
            if approval is not None:
                more = {"approver": approval.approver, "standing": approval.standing}
                events.append(self._runs.told("report_approved", run, None, more))
            found = await self._store.add(run, events, approval)
            if found.id == run.id:
                return found, True
            if not await self._void(context, found, definition):
                if command.row_cap not in (None, found.row_cap):
                    detail = "The run is there already, with another row cap; leave it out."
                    error = FieldError("row_cap", "other_row_cap", detail)
                    raise VaultError(Code.INVALID_REQUEST, detail, errors=(error,))
                event = self._asked(context, found, definition, decision, created=False)
                await self._runs.append(event)
                return found, False
        raise VaultError(Code.IDEMPOTENCY_CONFLICT, "Others ask for the same run; ask again.")

    async def run(self, context: RequestContext, run_id: str) -> Run:
        """One run; ``not_found`` for those that the caller has no part in."""
        run = await self._runs.load(context, run_id)
        principal = context.principal
        if principal.name not in (run.requester, run.approver):
            definition = self._runs.definitions.get(run.report)
            if definition is None or not self._sees(context, definition):
                raise VaultError(Code.NOT_FOUND, "There is no such run.")
        return run

    async def list(
        self,
        context: RequestContext,
        *,
        limit: int,
        report: str | None = None,
        state: str | None = None,
        before: str | None = None,
    ) -> Sequence[Run]:
        """Runs that the caller has a part in, newest first."""
        if not 0 < limit <= MAX_LIMIT:
            detail = "Ask for 1 to 1000 runs and page on with the cursor."
            raise VaultError(
                Code.INVALID_REQUEST, detail, errors=(FieldError("limit", "range", detail),)
            )
        seen = frozenset(
            name for name, found in self._runs.definitions.items() if self._sees(context, found)
        )
        query = RunQuery(
            context.principal.tenant, limit, seen, context.principal.name, report, state, before
        )
        return await self._store.list(query)

    async def output(
        self, context: RequestContext, run_id: str, number: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The sealed output, for who asked for the run and who approved it: all its parts,
        laid end to end, or the one of this ``number``. That it was taken is recorded before
        a byte of it is given out. The stream breaks off with :class:`IntegrityFailure` where
        it is not what the manifest says."""
        run = await self._runs.load(context, run_id)
        if context.principal.name not in (run.requester, run.approver):
            raise VaultError(Code.NOT_FOUND, "There is no such run.")
        if run.state is not RunState.SUCCEEDED:
            raise VaultError(Code.NOT_FOUND, "The run has no output.")
        recorded = False
        for made in await self._outputs_of(run, number):
            async with aclosing(self._verified(made)) as pieces:
                async for piece in pieces:
                    if not recorded:
                        # The first piece is at hand: that it cannot be had was an answer.
                        more = {} if number is None else {"part": number}
                        done = self._runs.done(context, "report_output_read", run, **more)
                        await self._runs.append(done)
                        recorded = True
                    yield piece

    async def _outputs_of(self, run: Run, number: int | None) -> Sequence[Run | Part]:
        if not run.parts:
            if number is not None:
                raise VaultError(Code.NOT_FOUND, "The run was not split into parts.")
            return [run]
        parts = await self._runs.parts.parts(run.tenant, run.id)
        found = [part for part in parts if number in (None, part.number)]
        if not found:
            raise VaultError(Code.NOT_FOUND, "The run has no such part.")
        return found

    async def _verified(self, made: Run | Part) -> AsyncGenerator[bytes, None]:
        """A sealed file, of which the last piece is given only where the whole is as it
        was made."""
        async with aclosing(self._outputs.read(made.output_location or "")) as pieces:
            digest, length = sha256(), 0
            piece = await anext(pieces, b"")
            if not piece:
                raise IntegrityFailure("The stored output is not the one that was made.")
            while piece:
                digest.update(piece)
                length += len(piece)
                following = await anext(pieces, b"")
                if not following and (digest.hexdigest(), length) != (
                    made.output_sha256,
                    made.output_bytes,
                ):
                    raise IntegrityFailure("The stored output is not the one that was made.")
                yield piece
                piece = following

    def _sees(self, context: RequestContext, definition: ReportDefinition) -> bool:
        mine = context.principal.name == definition.job
        return mine or any(self.may(context, definition))

    async def _new(
        self, context: RequestContext, definition: ReportDefinition, checked: CheckedRequest
    ) -> tuple[Run, Approval | None]:
        run = Run(
            id=new_run_id(),
            tenant=context.principal.tenant,
            report=definition.name,
            template_hash=definition.template_hash(),
            parameters=canonical(checked.parameters).decode(),
            period=checked.period,
            format=checked.format,
            recipient=checked.recipient,
            row_cap=checked.row_cap,
            requester=context.principal.name,
            state=RunState.REQUESTED,
            requested_at=context.at,
            expires_at=checked.expires_at,
            updated_at=context.at,
            first_event=new_event_id(),
        )
        approval = None
        if definition.needs_approval:
            standing = await self._standing_for(run, definition, context.at)
            if standing is None:
                return run, None
            until = min(standing.until, run.expires_at)
            approval = approval_of(run, standing.approver, context.at, until, standing.id)
            run = replace(
                run,
                state=RunState.APPROVED,
                approver=standing.approver,
                approved_at=context.at,
            )
        order = await self._runs.sign(WorkOrder.of(run, definition.purpose).text())
        return replace(run, order=order), approval

    async def _standing_for(
        self, run: Run, definition: ReportDefinition, at: datetime
    ) -> Approval | None:
        for standing in await self._store.standing(run.tenant, run.report, at):
            if binding_rule(standing, run) is None and self._runs.approver_may(
                standing.approver, run, definition
            ):
                return standing
        return None

    def _asked(
        self,
        context: RequestContext,
        run: Run,
        definition: ReportDefinition,
        decision: Decision,
        *,
        created: bool,
    ) -> AuditEvent:
        detail = {
            "policies": list(decision.policies),
            "report": definition.facts(row_cap=run.row_cap).recorded(),
            "run": run.id,
            "state": run.state.value,
            "created": created,
        }
        event_id = run.first_event if created else None
        return self._runs.recorder.event(
            context, Action.RUN_REPORT, detail=detail, event_id=event_id
        )

    async def _denied(
        self, context: RequestContext, definition: ReportDefinition, decision: Decision, cap: int
    ) -> VaultError:
        error = VaultError(Code.ACCESS_DENIED, "The policies do not allow this request.")
        detail = {
            "policies": list(decision.policies),
            "report": definition.facts(row_cap=cap).recorded(),
        }
        event = self._runs.recorder.event(
            context, Action.RUN_REPORT, code=error.code, detail=detail
        )
        await self._runs.append(event)
        error.event_id = event.id
        return error

    async def _void(self, context: RequestContext, run: Run, definition: ReportDefinition) -> bool:
        """Whether the run that is there stands in the way no longer: it had expired, or is
        of a report that was another then and has not been made."""
        now = await self._runs.load(context, run.id)
        if now.state in (RunState.REQUESTED, RunState.APPROVED) and (
            now.template_hash != definition.template_hash()
        ):
            await self._runs.end(
                now, RunState.EXPIRED, Code.EXPIRED, "template_changed", context.at
            )
            return True
        return now.state not in (
            *(RunState.REQUESTED, RunState.APPROVED, RunState.RUNNING, RunState.SUCCEEDED),
        )
