"""A run in the hands of its job: started by a signed order, leased, finished once.

The order says what was approved and is verified again here; the approval is compared when
the run starts and when it is finished. Only who holds the lease can finish, once: one
output.
"""

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import msgspec

from vault_service.domain.errors import Code, VaultError
from vault_service.domain.events import new_event_id
from vault_service.domain.notes import NoteError
from vault_service.domain.report_notes import Manifest, WorkOrder, open_order
from vault_service.domain.report_runs import ENDS, Run, RunState
from vault_service.domain.reports import ReportDefinition
from vault_service.domain.transparency import TreeReader
from vault_service.services.context import RequestContext
from vault_service.services.report_fence import JobFence
from vault_service.services.report_rules import difference, refused
from vault_service.services.report_runs import Runs

LEASE: Final = timedelta(minutes=5)
"""How long a job may be silent before another may take its run over."""
LOCATION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,7}")
"""A name below the place of outputs: no way out of it."""
_REFUSED: Final = "report_refused"
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Result:
    """What a job made: ``rows`` of ``columns``, sealed into a file of this length and
    SHA-256 (hex), which lies at ``location`` below the place of outputs."""

    rows: int
    columns: tuple[str, ...]
    output_sha256: str
    output_bytes: int
    location: str


class ReportJobs:
    """The use cases. One instance serves all requests of a process."""

    def __init__(self, runs: Runs, fence: JobFence, tree: TreeReader) -> None:
        self._runs = runs
        self._fence = fence
        self._tree = tree

    async def start(self, context: RequestContext, run_id: str, order: str, holder: str) -> Run:
        """Lease the run that the order is for. A run that succeeded is given as it is, and
        who holds the lease is given the run again. Raises, recorded: ``order_altered``,
        ``other_job``, ``not_approved``, ``ended`` and the rules of a broken binding;
        ``leased`` while another works on it."""
        for _ in range(_TRIES):
            run = await self._runs.load(context, run_id)
            await self._check_order(context, run, order)
            await self._check_job(context, run)
            if run.state is RunState.SUCCEEDED:
                return run
            await self._check_state(context, run)
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
        raise _contended()

    async def heartbeat(self, context: RequestContext, run_id: str, holder: str) -> Run:
        """Keep the lease; ``lease_lost`` where another has it, ``not_running``."""
        opened = await self._fence.enter(context, _REFUSED, run_id)
        run, until = opened.run, context.at + LEASE
        if not await self._runs.store.extend(run.tenant, run.id, holder, until):
            raise await self._runs.refuse(context, _REFUSED, "lease_lost", run)
        return replace(run, lease_until=until)

    async def finish(
        self, context: RequestContext, run_id: str, holder: str, result: Result
    ) -> Run:
        """End the run well, with a signed manifest. The same result again finds the run
        finished. More rows than the cap, other columns, and an approval that no longer
        binds fail the run. Raises as :meth:`start`, and ``lease_lost``."""
        for _ in range(_TRIES):
            run = await self._runs.load(context, run_id)
            await self._check_job(context, run)
            if run.state is RunState.SUCCEEDED and run.lease_holder == holder:
                if run.output_sha256 != result.output_sha256 or run.rows != result.rows:
                    raise await self._runs.refuse(context, _REFUSED, "other_result", run)
                return run
            opened = await self._fence.enter(context, _REFUSED, run_id)
            run, definition = opened.run, opened.definition
            if run.lease_holder != holder:
                raise await self._runs.refuse(context, _REFUSED, "lease_lost", run)
            rule = await self._unfit(context, run, definition, result)
            if rule is not None:
                raise await self._runs.refuse_and_fail(context, _REFUSED, rule, run)
            event_id = new_event_id()
            finished = await self._finished(context, run, definition, result, event_id)
            event = self._runs.recorder.event(
                context,
                "report_succeeded",
                item_count=result.rows,
                detail={
                    "run": run.id,
                    "report_name": run.report,
                    "state": finished.state.value,
                    "output_sha256": result.output_sha256,
                },
                event_id=event_id,
            )
            if await self._runs.store.change(run, finished, [event]):
                return finished
        raise _contended()

    async def fail(self, context: RequestContext, run_id: str, holder: str, code: Code) -> Run:
        """End the run as failed by ``code``. Raises as :meth:`heartbeat`; a run that the
        holder failed before is given as it is."""
        for _ in range(_TRIES):
            run = await self._runs.load(context, run_id)
            await self._check_job(context, run)
            if run.state is RunState.FAILED and run.lease_holder == holder:
                return run
            if run.state is not RunState.RUNNING:
                raise await self._runs.refuse(context, _REFUSED, "not_running", run)
            if run.lease_holder != holder:
                raise await self._runs.refuse(context, _REFUSED, "lease_lost", run)
            failed = await self._runs.end(
                run, RunState.FAILED, code, None, context.at, context=context
            )
            if failed is not None:
                return failed
        raise _contended()

    async def _check_order(self, context: RequestContext, run: Run, order: str) -> None:
        """The order must be one that the vault signed, of this run as it is. Where the run
        is another than was signed, its row was altered, and it fails."""
        key = await self._runs.verifier()
        try:
            found = open_order(order, key)
        except NoteError:
            found = None
        definition = self._runs.definitions.get(run.report)
        if found is None or found.run != run.id or definition is None:
            raise await self._runs.refuse(context, "report_order_refused", "order_altered", run)
        expected = WorkOrder.of(run, found.purpose)
        if found == expected:
            return
        told: dict[str, Any] = msgspec.to_builtins(found)
        rule = difference(told, msgspec.to_builtins(expected)) or "order_altered"
        if run.state in ENDS:
            raise await self._runs.refuse(context, "report_order_refused", rule, run)
        raise await self._runs.refuse_and_fail(context, "report_order_refused", rule, run)

    async def _check_job(self, context: RequestContext, run: Run) -> None:
        definition = self._runs.definitions.get(run.report)
        if definition is None or context.principal.name != definition.job:
            raise await self._runs.refuse(context, _REFUSED, "other_job", run)

    async def _check_state(self, context: RequestContext, run: Run) -> None:
        if run.state in ENDS:
            ended = "approval_expired" if run.state is RunState.EXPIRED else "ended"
            raise await self._runs.refuse(context, _REFUSED, ended, run)
        definition = self._runs.definitions[run.report]
        if definition.template_hash() != run.template_hash:
            raise await self._runs.refuse(context, _REFUSED, "template_changed", run)
        rule = await self._runs.approval_rule(run, definition, context.at)
        if rule == "not_approved" or (
            rule is None and not self._runs.requester_may(run, definition)
        ):
            raise await self._runs.refuse(context, _REFUSED, rule or "requester_denied", run)
        if rule is not None:
            raise await self._runs.refuse_and_fail(context, _REFUSED, rule, run)

    async def _unfit(
        self, context: RequestContext, run: Run, definition: ReportDefinition, result: Result
    ) -> str | None:
        """The rule that keeps the result from being the run's output."""
        if result.rows > run.row_cap:
            return "row_cap_exceeded"
        if result.columns != tuple(column.name for column in definition.columns):
            return "undeclared_column"
        return await self._runs.approval_rule(run, definition, context.at)

    async def _finished(
        self,
        context: RequestContext,
        run: Run,
        definition: ReportDefinition,
        result: Result,
        event_id: str,
    ) -> Run:
        newest = await self._tree.newest_checkpoint()
        finished = replace(
            run,
            state=RunState.SUCCEEDED,
            rows=result.rows,
            output_sha256=result.output_sha256,
            output_bytes=result.output_bytes,
            output_location=result.location,
            updated_at=context.at,
            version=run.version + 1,
        )
        manifest = Manifest.of(
            finished,
            definition,
            policy_hash=self._runs.authorizer.bundle_hash,
            last_event=event_id,
            checkpoint=None if newest is None else newest.note,
        )
        return replace(finished, manifest=await self._runs.sign(manifest.text()))


def _contended() -> VaultError:
    return VaultError(Code.IDEMPOTENCY_CONFLICT, "Others change this run; ask again.")
