"""What a job may read: what its report declares, for a run of it, up to the run's cap.

No job reads anything without a run (decision 0009). What goes beyond the definition is
refused and fails the run; both are recorded. The requester must still be allowed to run the
report at every read, so that a job never does for somebody what they may not ask for.
"""

import hashlib
from collections.abc import Collection, Iterable

from vault_service.domain.access import Action, Decision
from vault_service.domain.errors import VaultError
from vault_service.domain.principals import PrincipalType
from vault_service.domain.report_runs import Run, RunState
from vault_service.domain.reports import ReportDefinition
from vault_service.services.context import RequestContext
from vault_service.services.report_runs import Runs


class OpenRun:
    """A running run that the calling job reads for. Methods raise ``access_denied``,
    recorded, and the run has failed then."""

    def __init__(
        self,
        runs: Runs,
        context: RequestContext,
        action: str,
        run: Run,
        definition: ReportDefinition,
    ) -> None:
        self.run = run
        self.definition = definition
        self._runs = runs
        self._context = context
        self._action = action

    async def check_purpose(self, purpose: str) -> None:
        """The purpose must be the definition's."""
        if purpose != self.definition.purpose:
            raise await self._broken("other_purpose")

    async def check_class(self, data_class: str) -> None:
        """The class must be declared, in whatever form."""
        if data_class not in self.definition.data_classes:
            raise await self._broken("undeclared_class")

    async def check_readings(self, readings: Iterable[tuple[str, str]]) -> None:
        """Classes must be declared in these forms."""
        declared = {(reading.data_class, reading.form) for reading in self.definition.reads}
        for data_class, form in readings:
            await self.check_class(data_class)
            if (data_class, form) not in declared:
                raise await self._broken("undeclared_form")

    async def check_rights(self) -> Decision:
        """The definition must declare that it reads rights, and the policies must let the
        job read the log, which says who used them. Returns that decision."""
        if not self.definition.reads_rights:
            raise await self._broken("undeclared_rights")
        decision = self._runs.authorizer.decide(self._context.principal, Action.READ_AUDIT)
        if not decision.allowed:
            raise await self._broken("rights_denied")
        return decision

    async def count(self, tokens: Collection[str]) -> None:
        """Count distinct tokens against the cap, durably, before any is shown. The same
        tokens asked for together again are counted once."""
        # Pages come in order, which a set would lose and sorting would have to find again.
        distinct = sorted(dict.fromkeys(tokens))
        if not distinct:
            return
        digest = hashlib.sha256("\n".join(distinct).encode()).digest()
        run = self.run
        counted = await self._runs.store.count_read(
            run.tenant, run.id, digest, len(distinct), self.definition.token_cap(run.row_cap)
        )
        if not counted:
            raise await self._broken("row_cap_exceeded")

    async def _broken(self, rule: str) -> VaultError:
        return await self._runs.refuse_and_fail(self._context, self._action, rule, self.run)


class JobFence:
    """Lets jobs in. One instance serves all requests of a process."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def enter(
        self, context: RequestContext, action: str, run_id: str | None = None
    ) -> OpenRun:
        """The run that the caller reads for: ``run_id``, or the one that the request named.
        Raises ``access_denied``, recorded: ``no_run``, and as :meth:`admit`."""
        if run_id is None:
            run_id = context.run
        if run_id is None:
            raise await self._runs.refuse(context, action, "no_run", None)
        return await self.admit(context, action, await self._runs.load(context, run_id))

    async def admit(self, context: RequestContext, action: str, run: Run) -> OpenRun:
        """This run, which was loaded a moment ago, to whoever makes it. Raises
        ``access_denied``, recorded: ``other_job``, ``not_running``; where the requester lost
        the right, the run has failed by ``requester_denied``."""
        runs = self._runs
        principal = context.principal
        definition = runs.definitions.get(run.report)
        if (
            definition is None
            or principal.type is not PrincipalType.JOB
            or principal.name != definition.job
        ):
            raise await runs.refuse(context, action, "other_job", run)
        if run.state is not RunState.RUNNING:
            raise await runs.refuse(context, action, "not_running", run)
        if definition.template_hash() != run.template_hash:
            raise await runs.refuse_and_fail(context, action, "template_changed", run)
        if not runs.requester_may(run, definition):
            raise await runs.refuse_and_fail(context, action, "requester_denied", run)
        return OpenRun(runs, context, action, run, definition)
