"""What every step of a run needs: the run as it stands now, its report, its events.

A run's expiry is seen when it is looked at. A change of state is written together with its
event, and only where nobody else has changed the run meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec

from vault_service.domain.access import Action, Decision
from vault_service.domain.errors import Code, FieldError, VaultError
from vault_service.domain.events import AuditEvent, new_event_id
from vault_service.domain.notes import VerifierKey, sign_line
from vault_service.domain.ports import CheckpointSigner, TokenStore
from vault_service.domain.principals import Principal
from vault_service.domain.report_ports import Approval, PartStore, ReportStore
from vault_service.domain.report_runs import LIVE, RUN_ID, Run, RunState
from vault_service.domain.reports import ReportDefinition
from vault_service.services.authorize import Authorizer
from vault_service.services.context import RequestContext
from vault_service.services.recording import Recorder
from vault_service.services.report_rules import difference, refused

_TRIES: Final = 5


class Runs:
    """Runs of the reports in ``definitions``, which ``principals`` ask for."""

    def __init__(
        self,
        definitions: Mapping[str, ReportDefinition],
        principals: Mapping[str, Principal],
        authorizer: Authorizer,
        store: ReportStore,
        parts: PartStore,
        log: TokenStore,
        recorder: Recorder,
        signer: CheckpointSigner,
    ) -> None:
        self.definitions = definitions
        self.authorizer = authorizer
        self.store = store
        self.parts = parts
        self.recorder = recorder
        self._principals = principals
        self._log = log
        self._signer = signer

    async def sign(self, text: str) -> str:
        """The text as a note, signed by the key that signs checkpoints;
        ``key_unavailable`` where it cannot be had now."""
        key = await self._signer.open()
        signature = await self._signer.sign(text.encode())
        return f"{text}\n{sign_line(key.name, key.key_id, signature)}"

    async def verifier(self) -> VerifierKey:
        """The key that orders are verified with; ``key_unavailable``."""
        return await self._signer.open()

    async def load(self, context: RequestContext, run_id: str) -> Run:
        """The run of the caller's tenant as it stands now; ``not_found`` for any other."""
        if RUN_ID.fullmatch(run_id) is None:
            detail = "A run's id is run_ and 26 characters."
            raise VaultError(
                Code.INVALID_REQUEST, detail, errors=(FieldError("id", "format", detail),)
            )
        for _ in range(_TRIES):
            run = await self.store.find(context.principal.tenant, run_id)
            if run is None:
                break
            if run.state not in LIVE or context.at < run.expires_at:
                return run
            expired = await self.end(
                run, RunState.EXPIRED, Code.EXPIRED, "approval_expired", context.at
            )
            if expired is not None:
                return expired
        raise VaultError(Code.NOT_FOUND, "There is no such run.")

    async def end(
        self,
        run: Run,
        state: RunState,
        code: Code,
        rule: str | None,
        at: datetime,
        before: Sequence[AuditEvent] = (),
        context: RequestContext | None = None,
    ) -> Run | None:
        """End the run otherwise than well, with the events ``before`` its own; ``None``
        where somebody changed it first, and nothing happened. ``context`` is the caller's
        who did it, where one did."""
        ended = replace(
            run, state=state, code=code.value, rule=rule, updated_at=at, version=run.version + 1
        )
        action = f"report_{state.value}"
        if context is None:
            event = self.told(action, ended, code)
        else:
            event = self.recorder.event(context, action, code=code, detail=_about(ended))
        return ended if await self.store.change(run, ended, [*before, event]) else None

    def told(
        self,
        action: str,
        run: Run,
        code: Code | None = None,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> AuditEvent:
        """The event of a change that no caller made."""
        detail = {**_about(run), **more}
        return self.recorder.system_event(action, tenant=run.tenant, code=code, detail=detail)

    def done(self, context: RequestContext, action: str, run: Run, **more: Any) -> AuditEvent:
        """The event of what a caller did with a run."""
        return self.recorder.event(context, action, detail={**_about(run), **more})

    def decide(
        self,
        principal: Principal,
        action: Action,
        definition: ReportDefinition,
        run: Run | None = None,
        *,
        row_cap: int | None = None,
    ) -> Decision:
        """Whether the principal may run the report, or approve the run of it."""
        requester = run.requester if run is not None and action is Action.APPROVE_REPORT else None
        cap = row_cap if run is None else run.row_cap
        facts = definition.facts(row_cap=cap, requester=requester)
        return self.authorizer.ask(self.authorizer.request(principal, action, report=facts))

    def requester_may(self, run: Run, definition: ReportDefinition) -> bool:
        """Whether who asked for the run may run the report now."""
        requester = self._principals.get(run.requester)
        return (
            requester is not None
            and requester.tenant == run.tenant
            and self.decide(requester, Action.RUN_REPORT, definition, run).allowed
        )

    def approver_may(self, approver: str, run: Run, definition: ReportDefinition) -> bool:
        """Whether who gave a standing approval may approve this run now."""
        principal = self._principals.get(approver)
        return (
            principal is not None
            and principal.tenant == run.tenant
            and principal.name != run.requester
            and self.decide(principal, Action.APPROVE_REPORT, definition, run).allowed
        )

    def current(self, run: Run) -> ReportDefinition:
        """The run's report; refused with ``template_changed`` where it is another by now."""
        definition = self.definitions.get(run.report)
        if definition is None or definition.template_hash() != run.template_hash:
            raise refused("template_changed")
        return definition

    async def approval_rule(
        self, run: Run, definition: ReportDefinition, at: datetime
    ) -> str | None:
        """The rule that the run breaks for want of an approval that binds it as it is;
        ``None`` where all is well."""
        if not definition.needs_approval:
            return None
        approval = await self.store.approval(run.tenant, run.id)
        if approval is None:
            return "not_approved"
        if approval.approver == run.requester:
            return "self_approval"
        return binding_rule(approval, run) or ("approval_expired" if at >= approval.until else None)

    async def refuse(
        self, context: RequestContext, action: str, rule: str, run: Run | None, **more: Any
    ) -> VaultError:
        """The error for a broken rule, once it is recorded; to be raised."""
        error = refused(rule)
        detail = {**({} if run is None else _about(run)), "rule": rule, **more}
        event = self.recorder.event(context, action, code=error.code, detail=detail)
        await self._log.append(event)
        error.event_id = event.id
        return error

    async def refuse_and_fail(
        self, context: RequestContext, action: str, rule: str, run: Run, **more: Any
    ) -> VaultError:
        """The same, and the run has failed by it."""
        error = refused(rule)
        detail = {**_about(run), "rule": rule, **more}
        event = self.recorder.event(context, action, code=error.code, detail=detail)
        failed = await self.end(
            run, RunState.FAILED, error.code, rule, context.at, [event], context
        )
        if failed is None:
            await self._log.append(event)
        error.event_id = event.id
        return error

    async def append(self, event: AuditEvent) -> None:
        """Record what changes no run."""
        await self._log.append(event)


def _about(run: Run) -> dict[str, Any]:
    found = {"run": run.id, "report_name": run.report, "state": run.state.value}
    return found if run.rule is None else found | {"rule": run.rule}


def binding_rule(approval: Approval, run: Run) -> str | None:
    """The rule by which the approval is not of this run as it is."""
    bound = run.standing_binding() if approval.run is None else run.binding()
    try:
        approved = msgspec.json.decode(approval.binding, type=dict[str, Any])
    except msgspec.MsgspecError:
        return "other_report"
    return difference(approved, msgspec.json.decode(bound))


def approval_of(
    run: Run, approver: str, at: datetime, until: datetime, standing: str | None = None
) -> Approval:
    """The approval of one run; ``standing`` is the standing approval that it follows from."""
    return Approval(
        id="apr_" + crockford_id(),
        tenant=run.tenant,
        report=run.report,
        run=run.id,
        binding=run.binding().decode(),
        approver=approver,
        approved_at=at,
        until=until,
        standing=standing,
    )


def crockford_id() -> str:
    """26 random characters, as other ids have them."""
    return new_event_id().removeprefix("evt_")
