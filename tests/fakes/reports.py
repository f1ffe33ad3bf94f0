"""Runs, their parts and approvals in memory; meets ``ReportStore`` and ``PartStore`` as
PostgreSQL does."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from vault_service.domain.events import AuditEvent
from vault_service.domain.report_parts import Part
from vault_service.domain.report_ports import Approval, PartChange, RunQuery
from vault_service.domain.report_runs import NEXT, Run, RunState

_PART_GOES_ON = (
    *("done", "attempts", "lease_holder", "lease_until"),
    *("rows", "output_sha256", "output_bytes", "output_location"),
)
_BAD_ENDS = (RunState.FAILED, RunState.EXPIRED, RunState.REJECTED)


def _identity(run: Run) -> tuple[str, ...]:
    return (run.tenant, run.report, run.parameters, run.period, run.format, run.recipient)


class MemoryReports:
    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.approvals: dict[str, Approval] = {}
        self.events: list[AuditEvent] = []
        self._parts: dict[tuple[str, int], Part] = {}
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
        parts: Sequence[Part] = (),
    ) -> bool:
        if after.state not in NEXT.get(before.state, ()) and not (
            before.state is after.state is RunState.RUNNING
        ):
            raise ValueError("a run cannot go from this state to that")
        found = await self.find(before.tenant, before.id)
        if found is None or (found.version, found.state) != (before.version, before.state):
            return False
        self.runs[before.id] = replace(
            after,
            version=before.version + 1,
            revealed=found.revealed,
            parts_done=found.parts_done,
        )
        self._parts |= {(part.run, part.number): part for part in parts}
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

    async def parts(self, tenant: str, run_id: str) -> Sequence[Part]:
        found = [part for (run, _), part in sorted(self._parts.items()) if run == run_id]
        return [part for part in found if part.tenant == tenant]

    async def part(self, tenant: str, run_id: str, number: int) -> Part | None:
        part = self._parts.get((run_id, number))
        return part if part is not None and part.tenant == tenant else None

    async def change_part(
        self, before: Part, after: Part, events: Sequence[AuditEvent], *, cap: int, at: datetime
    ) -> PartChange:
        run = await self.find(before.tenant, before.run)
        found = await self.part(before.tenant, before.run, before.number)
        if run is None or found is None or run.state is not RunState.RUNNING:
            return PartChange.LOST
        if found.done or found.version != before.version:
            return PartChange.LOST
        together = [*await self.parts(before.tenant, before.run)]
        together[together.index(found)] = after
        if sum(part.rows or 0 for part in together) > cap:
            return PartChange.OVER
        self._parts[(before.run, before.number)] = replace(
            found,
            **{name: getattr(after, name) for name in _PART_GOES_ON},
            version=before.version + 1,
        )
        if after.done:
            self.runs[run.id] = replace(
                run,
                parts_done=run.parts_done + 1,
                rows=(run.rows or 0) + (after.rows or 0),
                output_bytes=(run.output_bytes or 0) + (after.output_bytes or 0),
                updated_at=at,
                version=run.version + 1,
            )
        self._keep(events, ())
        return PartChange.WRITTEN

    async def extend_part(self, part: Part, holder: str, until: datetime) -> bool:
        run = await self.find(part.tenant, part.run)
        found = await self.part(part.tenant, part.run, part.number)
        if run is None or found is None or run.state is not RunState.RUNNING:
            return False
        if found.done or found.lease_holder != holder:
            return False
        self._parts[(part.run, part.number)] = replace(found, lease_until=until)
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
