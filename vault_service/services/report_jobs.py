"""A run in the hands of its job: started by a signed order, leased, finished once.

The order says what was approved and is verified again here; the approval is compared when
the run starts and when it is finished. Only who holds the lease can finish, once: one
output. A run that was split is in the hands of those who make its parts (``report_parts``).
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import msgspec

from vault_service.domain.errors import Code
from vault_service.domain.notes import NoteError
from vault_service.domain.report_failures import FailureCode
from vault_service.domain.report_notes import PartOrder, WorkOrder, open_work, order_in
from vault_service.domain.report_runs import ENDS, Run, RunState
from vault_service.services.context import RequestContext
from vault_service.services.report_fence import JobFence
from vault_service.services.report_results import REFUSED, TRIES, Result, Results, contended
from vault_service.services.report_rules import difference, refused
from vault_service.services.report_runs import Runs

LEASE: Final = timedelta(minutes=5)
"""How long a job may be silent before another may take its run over."""


class ReportJobs:
    """The use cases. One instance serves all requests of a process."""

    def __init__(self, runs: Runs, fence: JobFence, results: Results) -> None:
        self._runs = runs
        self._fence = fence
        self._results = results

    async def start(self, context: RequestContext, run_id: str, order: str, holder: str) -> Run:
        """Lease the run that the order is for. A run that succeeded, or was split, is given
        as it is, and who holds the lease is given the run again. Raises, recorded:
        ``order_altered``, ``other_job``, ``not_approved``, ``ended`` and the rules of a
        broken binding; ``leased`` while another works on it."""
        for _ in range(TRIES):
            run, _found = await self.admit(context, run_id, order)
            if run.state is RunState.SUCCEEDED:
                return run
            if run.parts:
                definition = self._runs.definitions[run.report]
                return await self._results.complete(context, run, definition)
            at, until = context.at, run.lease_until
            if run.state is RunState.RUNNING and until is not None and at < until:
                if run.lease_holder == holder:
                    return run
                raise refused("leased", retry_after=int((until - at).total_seconds()) + 1)
            started = replace(
                run,
                state=RunState.RUNNING,
                attempts=run.attempts + 1,
                lease_holder=holder,
                lease_until=at + LEASE,
                updated_at=at,
                version=run.version + 1,
            )
            event = self._runs.done(context, "report_started", started, attempt=started.attempts)
            if await self._runs.store.change(run, started, [event]):
                return started
        raise contended()

    async def admit(
        self, context: RequestContext, run_id: str, order: str
    ) -> tuple[Run, WorkOrder | PartOrder]:
        """The run, and what the order tells to do of it: it is signed, for this job, and the
        run may be made or has succeeded. Raises what :meth:`start` does."""
        run = await self._runs.load(context, run_id)
        found = await self._check_order(context, run, order)
        await self.check_job(context, run)
        if run.state is not RunState.SUCCEEDED:
            await self._check_state(context, run)
        return run, found

    async def heartbeat(self, context: RequestContext, run_id: str, holder: str) -> Run:
        """Keep the lease; ``lease_lost`` where another has it, ``not_running``."""
        opened = await self._fence.enter(context, REFUSED, run_id)
        run, until = opened.run, context.at + LEASE
        if not await self._runs.store.extend(run.tenant, run.id, holder, until):
            raise await self._runs.refuse(context, REFUSED, "lease_lost", run)
        return replace(run, lease_until=until)

    async def release(
        self, context: RequestContext, run_id: str, holder: str, reason: FailureCode
    ) -> Run:
        """Give the lease back, so that the next attempt need not wait for its end. A run
        whose lease nobody has is given as it is. Raises as :meth:`heartbeat`."""
        for _ in range(TRIES):
            run = (await self._fence.enter(context, REFUSED, run_id)).run
            if run.lease_holder is None:
                return run
            if run.lease_holder != holder:
                raise await self._runs.refuse(context, REFUSED, "lease_lost", run)
            free = replace(
                run,
                lease_holder=None,
                lease_until=None,
                updated_at=context.at,
                version=run.version + 1,
            )
            event = self._runs.done(
                context, "report_released", free, attempt=run.attempts, reason=reason.value
            )
            if await self._runs.store.change(run, free, [event]):
                return free
        raise contended()

    async def seal(self, context: RequestContext, run_id: str, holder: str, result: Result) -> Run:
        """Keep what the job has sealed and is about to publish, so that whoever takes over
        can finish with it. Held against the run as :meth:`finish` does."""
        for _ in range(TRIES):
            opened = await self._fence.enter(context, REFUSED, run_id)
            run = opened.run
            if run.lease_holder != holder:
                raise await self._runs.refuse(context, REFUSED, "lease_lost", run)
            if result.is_of(run):
                return run
            await self._results.check(context, run, opened.definition, result)
            sealed = replace(_made(run, result), version=run.version + 1)
            if await self._runs.store.change(run, sealed, []):
                return sealed
        raise contended()

    async def finish(
        self, context: RequestContext, run_id: str, holder: str, result: Result
    ) -> Run:
        """End the run well, with a signed manifest. The same result again finds the run
        finished. More rows than the cap, other columns, and an approval that no longer
        binds fail the run. Raises as :meth:`start`, and ``lease_lost``."""
        for _ in range(TRIES):
            run = await self._runs.load(context, run_id)
            await self.check_job(context, run)
            if run.state is RunState.SUCCEEDED and run.lease_holder == holder:
                if run.output_sha256 != result.output_sha256 or run.rows != result.rows:
                    raise await self._runs.refuse(context, REFUSED, "other_result", run)
                return run
            # Of the run as it was looked at: another of the same may end it at any time.
            definition = (await self._fence.admit(context, REFUSED, run)).definition
            if run.lease_holder != holder:
                raise await self._runs.refuse(context, REFUSED, "lease_lost", run)
            await self._results.check(context, run, definition, result)
            ended = await self._results.succeed(context, run, _made(run, result), definition)
            if ended is not None:
                return ended
        raise contended()

    async def fail(
        self,
        context: RequestContext,
        run_id: str,
        holder: str,
        code: Code,
        reason: FailureCode | None = None,
        number: int | None = None,
    ) -> Run:
        """End the run as failed by ``code``, and by the job's own ``reason``. Whoever makes
        part ``number`` of it can fail it too. Raises as :meth:`heartbeat`; a run that the
        holder failed before is given as it is."""
        for _ in range(TRIES):
            run = await self._runs.load(context, run_id)
            await self.check_job(context, run)
            held_by = run.lease_holder
            if number is not None:
                part = await self._runs.parts.part(run.tenant, run.id, number)
                held_by = None if part is None or part.done else part.lease_holder
            if run.state is RunState.FAILED and held_by == holder:
                return run
            if run.state is not RunState.RUNNING:
                raise await self._runs.refuse(context, REFUSED, "not_running", run)
            if held_by != holder:
                raise await self._runs.refuse(context, REFUSED, "lease_lost", run)
            rule = None if reason is None else reason.value
            failed = await self._runs.end(
                run, RunState.FAILED, code, rule, context.at, context=context
            )
            if failed is not None:
                return failed
        raise contended()

    async def _check_order(
        self, context: RequestContext, run: Run, order: str
    ) -> WorkOrder | PartOrder:
        """The order must be one that the vault signed, of this run as it is. Where the run
        is another than was signed, its row was altered, and it fails."""
        key = await self._runs.verifier()
        try:
            work = open_work(order, key)
        except NoteError:
            work = None
        definition = self._runs.definitions.get(run.report)
        if work is None or order_in(work).run != run.id or definition is None:
            raise await self._runs.refuse(context, "report_order_refused", "order_altered", run)
        found = order_in(work)
        expected = WorkOrder.of(run, found.purpose)
        if found == expected:
            return work
        told: dict[str, Any] = msgspec.to_builtins(found)
        rule = difference(told, msgspec.to_builtins(expected)) or "order_altered"
        if run.state in ENDS:
            raise await self._runs.refuse(context, "report_order_refused", rule, run)
        raise await self._runs.refuse_and_fail(context, "report_order_refused", rule, run)

    async def check_job(self, context: RequestContext, run: Run) -> None:
        """The caller must be the run's job: ``other_job``."""
        definition = self._runs.definitions.get(run.report)
        if definition is None or context.principal.name != definition.job:
            raise await self._runs.refuse(context, REFUSED, "other_job", run)

    async def _check_state(self, context: RequestContext, run: Run) -> None:
        if run.state in ENDS:
            ended = "approval_expired" if run.state is RunState.EXPIRED else "ended"
            raise await self._runs.refuse(context, REFUSED, ended, run)
        definition = self._runs.definitions[run.report]
        if definition.template_hash() != run.template_hash:
            raise await self._runs.refuse(context, REFUSED, "template_changed", run)
        rule = await self._runs.approval_rule(run, definition, context.at)
        if rule == "not_approved" or (
            rule is None and not self._runs.requester_may(run, definition)
        ):
            raise await self._runs.refuse(context, REFUSED, rule or "requester_denied", run)
        if rule is not None:
            raise await self._runs.refuse_and_fail(context, REFUSED, rule, run)


def _made(run: Run, result: Result) -> Run:
    """The run with what was made of it."""
    return replace(
        run,
        rows=result.rows,
        output_sha256=result.output_sha256,
        output_bytes=result.output_bytes,
        output_location=result.location,
    )
