"""Runs and approvals in memory; meets ``ReportStore`` as PostgreSQL does."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from vault_service.domain.events import AuditEvent
from vault_service.domain.report_ports import Approval, RunQuery
from vault_service.domain.report_runs import NEXT, Run, RunState

_BAD_ENDS = (RunState.FAILED, RunState.EXPIRED, RunState.REJECTED)


def _identity(run: Run) -> tuple[str, ...]:
    return (run.tenant, run.report, run.parameters, run.period, run.format, run.recipient)


class MemoryReports:
    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.approvals: dict[str, Approval] = {}
        self.events: list[AuditEvent] = []
        self._reads: set[tuple[str, bytes]] = set()

    async def add(self, run: Run, events: Sequence[AuditEvent], approval: Approval | None) -> Run:
        for found in self.runs.values():
            if _identity(found) == _identity(run) and found.state not in _BAD_ENDS:
                return found
        self.runs[run.id] = run
        self._keep(events, [] if approval is None else [approval])
        return run

    async def find(self, tenant: str, run_id: str) -> Run | None:
        run = self.runs.get(run_id)
        return run if run is not None and run.tenant == tenant else None

    async def list(self, query: RunQuery) -> Sequence[Run]:
        found = [
            run
            for run in self.runs.values()
            if run.tenant == query.tenant
            and (run.report in query.reports or query.principal in (run.requester, run.approver))
            and query.report in (None, run.report)
            and query.state in (None, run.state)
            and (query.before is None or run.id < query.before)
        ]
        return sorted(found, key=lambda run: run.id, reverse=True)[: query.limit]

    async def change(
        self,
        before: Run,
        after: Run,
        events: Sequence[AuditEvent],
        approvals: Sequence[Approval] = (),
    ) -> bool:
        if after.state not in NEXT.get(before.state, ()) and not (
            before.state is after.state is RunState.RUNNING
        ):
            raise ValueError("a run cannot go from this state to that")
        found = await self.find(before.tenant, before.id)
        if found is None or (found.version, found.state) != (before.version, before.state):
            return False
        self.runs[before.id] = replace(after, version=before.version + 1, revealed=found.revealed)
        self._keep(events, approvals)
        return True

    async def extend(self, tenant: str, run_id: str, holder: str, until: datetime) -> bool:
        run = await self.find(tenant, run_id)
        if run is None or run.state is not RunState.RUNNING or run.lease_holder != holder:
            return False
        self.runs[run_id] = replace(run, lease_until=until)
        return True

    async def count_read(
        self, tenant: str, run_id: str, digest: bytes, tokens: int, cap: int
    ) -> bool:
        run = await self.find(tenant, run_id)
        if run is None or run.state is not RunState.RUNNING:
            return False
        if (run_id, digest) in self._reads:
            return True
        if run.revealed + tokens > cap:
            return False
        self._reads.add((run_id, digest))
        self.runs[run_id] = replace(run, revealed=run.revealed + tokens)
        return True

    async def approval(self, tenant: str, run_id: str) -> Approval | None:
        for approval in self.approvals.values():
            if (approval.tenant, approval.run) == (tenant, run_id):
                return approval
        return None

    async def standing(self, tenant: str, report: str | None, at: datetime) -> Sequence[Approval]:
        return [
            approval
            for _, approval in sorted(self.approvals.items())
            if approval.tenant == tenant
            and approval.run is None
            and report in (None, approval.report)
            and approval.until > at
            and approval.withdrawn_at is None
        ]

    async def withdraw(
        self, tenant: str, approval_id: str, at: datetime, event: AuditEvent
    ) -> bool:
        for approval in await self.standing(tenant, None, at):
            if approval.id == approval_id:
                self.approvals[approval_id] = replace(approval, withdrawn_at=at)
                self.events.append(event)
                return True
        return False

    def _keep(self, events: Sequence[AuditEvent], approvals: Sequence[Approval]) -> None:
        self.approvals |= {approval.id: approval for approval in approvals}
        self.events += events
