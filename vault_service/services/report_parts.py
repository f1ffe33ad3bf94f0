"""Parts of a run in the hands of its job: cut once, leased one by one, each finished once.

Whoever finishes the last part ends the run; where that fails, the next who asks for any of
it does. The run's caps hold over its parts together, counted here.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vault_service.domain.report_failures import FailureCode
from vault_service.domain.report_notes import PartOrder, WorkOrder, order_in
from vault_service.domain.report_parts import MAX_PARTS, Part, ranges
from vault_service.domain.report_ports import PartChange, TokenRanges
from vault_service.domain.report_runs import Run, RunState
from vault_service.domain.reports import ReportDefinition
from vault_service.services.context import RequestContext
from vault_service.services.report_fence import JobFence
from vault_service.services.report_jobs import LEASE, ReportJobs
from vault_service.services.report_results import REFUSED, TRIES, Result, Results, contended
from vault_service.services.report_rules import refused
from vault_service.services.report_runs import Runs


class ReportParts:
    """The use cases. One instance serves all requests of a process."""

    def __init__(
        self,
        runs: Runs,
        fence: JobFence,
        jobs: ReportJobs,
        results: Results,
        tokens: TokenRanges,
    ) -> None:
        self._runs = runs
        self._fence = fence
        self._jobs = jobs
        self._results = results
        self._tokens = tokens

    async def split(
        self, context: RequestContext, run_id: str, holder: str
    ) -> tuple[Run, Sequence[Part]]:
        """The run, cut into parts where its report splits and it is large enough, and those
        parts; none of a run that stays whole. Who holds the lease of the run can cut it,
        once, and gives the lease up by it; whoever asks later is told the parts there are.
        Reads the metadata of every row. Raises ``lease_lost``, ``not_running``."""
        for _ in range(TRIES):
            opened = await self._fence.enter(context, REFUSED, run_id)
            run, split = opened.run, opened.definition.splitting(opened.run.format)
            if run.parts:
                return run, await self._runs.parts.parts(run.tenant, run.id)
            if run.lease_holder != holder:
                raise await self._runs.refuse(context, REFUSED, "lease_lost", run)
            if split is None:
                return run, []
            ends = await self._tokens.boundaries(
                run.tenant, split.data_class, split.tokens, MAX_PARTS
            )
            if not ends:
                return run, []
            parts = await self._cut(run, opened.definition, ends)
            cut = replace(
                run,
                parts=len(parts),
                lease_holder=None,
                lease_until=None,
                rows=None,
                output_sha256=None,
                output_bytes=None,
                output_location=None,
                updated_at=context.at,
                version=run.version + 1,
            )
            event = self._runs.done(context, "report_split", cut, parts=len(parts))
            if await self._runs.store.change(run, cut, [event], parts=parts):
                return cut, parts
        raise contended()

    async def start(
        self, context: RequestContext, run_id: str, order: str, holder: str
    ) -> tuple[Run, Part]:
        """Lease the part that the signed order is for. One that is done is given as it is.
        Raises what :meth:`ReportJobs.start` does; ``order_altered`` also for a part that is
        not as it was cut."""
        for _ in range(TRIES):
            run, found = await self._jobs.admit(context, run_id, order)
            number = found.part if isinstance(found, PartOrder) else 0
            part = await self._runs.parts.part(run.tenant, run.id, number)
            if part is None or found != _order(run, part, order_in(found)):
                raise await self._runs.refuse(context, "report_order_refused", "order_altered", run)
            if run.state is RunState.SUCCEEDED or part.done:
                definition = self._runs.definitions[run.report]
                return await self._results.complete(context, run, definition), part
            at, until = context.at, part.lease_until
            if part.leased(at) and until is not None:
                if part.lease_holder == holder:
                    return run, part
                raise refused("leased", retry_after=int((until - at).total_seconds()) + 1)
            started = replace(
                part,
                attempts=part.attempts + 1,
                lease_holder=holder,
                lease_until=at + LEASE,
                version=part.version + 1,
            )
            more = {"attempt": started.attempts}
            if await self._changed(context, run, part, started, "report_part_started", more):
                return run, started
        raise contended()

    async def heartbeat(
        self, context: RequestContext, run_id: str, number: int, holder: str
    ) -> tuple[Run, Part]:
        """Keep the lease; ``lease_lost`` where another has it, ``not_running``."""
        run, _, part = await self._held(context, run_id, number, holder)
        until = context.at + LEASE
        if not await self._runs.parts.extend_part(part, holder, until):
            raise await self._runs.refuse(context, REFUSED, "lease_lost", run, part=number)
        return run, replace(part, lease_until=until)

    async def release(
        self, context: RequestContext, run_id: str, number: int, holder: str, reason: FailureCode
    ) -> tuple[Run, Part]:
        """Give the lease of a part back. Raises as :meth:`heartbeat`."""
        for _ in range(TRIES):
            run, _, part = await self._held(context, run_id, number, holder, free=True)
            if part.lease_holder is None:
                return run, part
            free = replace(part, lease_holder=None, lease_until=None, version=part.version + 1)
            more = {"attempt": part.attempts, "reason": reason.value}
            if await self._changed(context, run, part, free, "report_released", more):
                return run, free
        raise contended()

    async def seal(
        self, context: RequestContext, run_id: str, number: int, holder: str, result: Result
    ) -> tuple[Run, Part]:
        """Keep what was sealed of a part and is about to be published, as
        :meth:`ReportJobs.seal` does; the rows of all parts together are held against the
        cap."""
        for _ in range(TRIES):
            run, definition, part = await self._held(context, run_id, number, holder)
            if result.is_of(part):
                return run, part
            await self._results.check(context, run, definition, result)
            sealed = replace(_made(part, result), version=part.version + 1)
            if await self._changed(context, run, part, sealed):
                return run, sealed
        raise contended()

    async def finish(
        self, context: RequestContext, run_id: str, number: int, holder: str, result: Result
    ) -> tuple[Run, Part]:
        """Count the part as done, and end the run where it is the last. The same result
        again finds it done. Raises as :meth:`ReportJobs.finish`."""
        for _ in range(TRIES):
            run = await self._runs.load(context, run_id)
            await self._jobs.check_job(context, run)
            part = await self._runs.parts.part(run.tenant, run.id, number)
            if part is not None and part.done and part.lease_holder == holder:
                if not result.is_of(part):
                    raise await self._runs.refuse(
                        context, REFUSED, "other_result", run, part=number
                    )
                return await self._completed(context, run_id), part
            # Of both as they were looked at: another of the same may end them at any time.
            definition, part = await self._lease_of(context, run, part, number, holder)
            await self._results.check(context, run, definition, result)
            done = replace(_made(part, result), done=True, version=part.version + 1)
            more = {"output_sha256": result.output_sha256}
            if await self._changed(context, run, part, done, "report_part_succeeded", more):
                return await self._completed(context, run_id), done
        raise contended()

    async def _completed(self, context: RequestContext, run_id: str) -> Run:
        run = await self._runs.load(context, run_id)
        return await self._results.complete(context, run, self._runs.definitions[run.report])

    async def _held(
        self,
        context: RequestContext,
        run_id: str,
        number: int,
        holder: str,
        *,
        free: bool = False,
    ) -> tuple[Run, ReportDefinition, Part]:
        """The running run and the part that the holder has the lease of; with ``free``,
        also one that nobody has."""
        run = await self._runs.load(context, run_id)
        part = await self._runs.parts.part(run.tenant, run.id, number)
        definition, part = await self._lease_of(context, run, part, number, holder, free=free)
        return run, definition, part

    async def _lease_of(
        self,
        context: RequestContext,
        run: Run,
        part: Part | None,
        number: int,
        holder: str,
        *,
        free: bool = False,
    ) -> tuple[ReportDefinition, Part]:
        opened = await self._fence.admit(context, REFUSED, run)
        if part is None:
            raise await self._runs.refuse(context, REFUSED, "no_part", run)
        if part.done or not (part.lease_holder == holder or (free and part.lease_holder is None)):
            raise await self._runs.refuse(context, REFUSED, "lease_lost", run, part=number)
        return opened.definition, part

    async def _changed(
        self,
        context: RequestContext,
        run: Run,
        before: Part,
        after: Part,
        action: str | None = None,
        more: dict[str, Any] | None = None,
    ) -> bool:
        """Write how a part goes on, with its event; whether it was as ``before``. Fails the
        run where its parts have too many rows together."""
        events = []
        if action is not None:
            events = [self._runs.done(context, action, run, part=before.number, **(more or {}))]
        ended = await self._runs.parts.change_part(
            before, after, events, cap=run.row_cap, at=context.at
        )
        if ended is PartChange.OVER:
            raise await self._runs.refuse_and_fail(
                context, REFUSED, "row_cap_exceeded", run, part=before.number
            )
        return ended is PartChange.WRITTEN

    async def _cut(
        self, run: Run, definition: ReportDefinition, ends: Sequence[str]
    ) -> Sequence[Part]:
        order = WorkOrder.of(run, definition.purpose)
        count = len(ends) + 1
        cut = replace(run, parts=count)
        parts = []
        for number, within in enumerate(ranges(ends), start=1):
            part = Part(run.tenant, run.id, number, within.after, within.until, order="")
            note = await self._runs.sign(_order(cut, part, order).text())
            parts.append(replace(part, order=note))
        return parts


def _order(run: Run, part: Part, order: WorkOrder) -> PartOrder:
    """The work item of a part as it is."""
    return PartOrder(
        order=order, part=part.number, parts=run.parts, after=part.after, until=part.until
    )


def _made(part: Part, result: Result) -> Part:
    """The part with what was made of it."""
    return replace(
        part,
        rows=result.rows,
        output_sha256=result.output_sha256,
        output_bytes=result.output_bytes,
        output_location=result.location,
    )
