"""Makes runs of reports: from a signed order to a sealed output.

An order is verified with the log's pinned public key before anything else, and by the
vault again, which leases the run. While it is made, the lease is kept alive beside it.
Whatever happens instead ends in a stable code that the vault records, or gives the lease
back and leaves the run to the next attempt.

A heavy run is cut into parts by the vault. Its order then only hands on the orders of the
parts, each of which is an order of its own; without a queue they are made here, in turn.

Any number of deliveries of one order may arrive, in any order, here or elsewhere: the lease
lets one process make the run, or the part, and finishing is one transaction that the holder
of the lease can do, so that there is one output. No log line holds a value.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from reporting_jobs import making, sealing
from reporting_jobs.definitions import definitions
from reporting_jobs.failures import (
    LeaseLost,
    OrderRefused,
    OutOfTime,
    RunFailed,
    failure_of,
    rules_of,
)
from reporting_jobs.job_vault import JobVault
from reporting_jobs.lease import BEAT_SECONDS
from reporting_jobs.making import Making
from reporting_jobs.places import Place
from reporting_jobs.stores import Store
from vault_service.client.errors import RequestRefused, StrongroomError
from vault_service.client.report_lease import OrderUnreadable, work_of
from vault_service.client.report_results import PartInfo, RunInfo
from vault_service.domain.errors import RETRYABLE, Code
from vault_service.domain.notes import NoteError, VerifierKey
from vault_service.domain.report_failures import FailureCode
from vault_service.domain.report_notes import PartOrder, WorkOrder, open_work, order_in
from vault_service.domain.report_runs import RunState
from vault_service.domain.reports import Format

_log = logging.getLogger("strongroom.reports")
_UNLIMITED: Final = float("inf")
_ENDED: Final = "ended"
"""The vault's rule for a run that ended otherwise than well."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order. ``state`` is the run's, or ``ended`` where it failed or was
    rejected before; a run that was split is ``running`` until its last part is done.
    ``repeated`` says that what was ordered had ended before this order came."""

    run_id: str
    report: str
    state: str
    code: str | None = None
    rows: int | None = None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Runner:
    """Makes runs with these: ``vault`` opens the vault for the job of a report, ``key`` is
    the log's pinned public key, ``kms`` makes KMS clients by region, and ``beat`` is
    the number of seconds between two heartbeats. ``hand_on`` puts the orders of parts on a
    queue, and raises :class:`RunFailed` where it cannot."""

    vault: Callable[[str], AbstractContextManager[JobVault]]
    store: Store
    key: VerifierKey
    recipients: Place | None = None
    inputs: Place | None = None
    kms: Callable[[str], Any] = sealing.kms_client
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    beat: float = BEAT_SECONDS
    hand_on: Callable[[Sequence[str]], None] | None = None

    def run(
        self,
        order: str,
        *,
        only: str | None = None,
        remaining: Callable[[], float] = lambda: _UNLIMITED,
        last: bool = False,
    ) -> Outcome:
        """Make the run, or the part of one, of a signed order. ``only`` is the one report
        that may be made here, ``remaining`` tells how many seconds this process has left.
        With ``last``, what might pass fails the run too: nobody will try again.

        Raises :class:`OrderRefused` for an order that is none, was changed, or is not for
        here; :class:`RunFailed` with ``passing`` for what another attempt may better,
        :class:`OutOfTime` and :class:`LeaseLost` where another attempt goes on.
        """
        work = self._opened(order)
        wanted = order_in(work)
        if only not in (None, wanted.report) or wanted.report not in definitions():
            raise OrderRefused("not for this job")
        with self.vault(wanted.report) as vault:
            return self._attempt(vault, work, order, remaining, last)

    def _opened(self, order: str) -> WorkOrder | PartOrder:
        try:
            return open_work(order, self.key)
        except NoteError:
            _log.error("report_order_refused", extra={"reason": "signature"})
            self._report_refused(order)
            raise OrderRefused("not signed by the log's key, or altered") from None

    def _report_refused(self, order: str) -> None:
        """Let the vault record an order that does not verify, as far as it can be read."""
        try:
            report = order_in(work_of(order)).report
            if report not in definitions():
                return
            with self.vault(report) as vault:
                vault.start(order)
        except OrderUnreadable:
            return
        except StrongroomError:
            # It refuses the order too, and has recorded that, or cannot be asked now.
            return

    def _attempt(
        self,
        vault: JobVault,
        work: WorkOrder | PartOrder,
        order: str,
        remaining: Callable[[], float],
        last: bool,
    ) -> Outcome:
        _log.info("report_run_taken", extra=_told(work))
        if (ended := self._start(vault, work, order)) is not None:
            return ended
        try:
            found = self._made(vault, work, remaining)
        except LeaseLost:
            _log.warning("report_run_left", extra=_told(work, reason="lease_lost"))
            raise
        except OutOfTime:
            if not last:
                self._give_back(vault, work, FailureCode.OUT_OF_TIME)
                raise
            failure = RunFailed(FailureCode.OUT_OF_TIME, "No attempt had enough time.")
            return self._fail(vault, work, order, failure)
        except Exception as error:  # noqa: BLE001  # a report may raise anything
            failure = failure_of(error)
            _log.error(
                "report_run_failed",
                extra=_told(work, code=failure.code, passing=failure.passing),
            )
            if failure.passing and not last:
                self._give_back(vault, work, failure.code)
                raise failure from None
            return self._fail(vault, work, order, failure)
        if isinstance(found, RunInfo):
            _log.info("report_run_succeeded", extra=_told(work, state=found.state))
            return Outcome(found.id, found.report, found.state, found.code, rows=found.rows)
        return self._parts(vault, work, found, remaining, last)

    def _start(self, vault: JobVault, work: WorkOrder | PartOrder, order: str) -> Outcome | None:
        """Lease the run or the part; what became of it where nothing is left to do."""
        wanted = order_in(work)
        try:
            run = vault.start(order)
        except RequestRefused as error:
            rules = rules_of(error)
            if error.code == Code.IDEMPOTENCY_CONFLICT:
                raise LeaseLost("another process works on it") from None
            if error.code == Code.EXPIRED or _ENDED in rules:
                _log.warning("report_run_over", extra=_told(work, code=error.code))
                state = RunState.EXPIRED if error.code == Code.EXPIRED else _ENDED
                return Outcome(wanted.run, wanted.report, state, repeated=True)
            if error.code in RETRYABLE:
                raise failure_of(error) from None
            _log.error("report_order_refused", extra=_told(work, code=error.code, rules=rules))
            raise OrderRefused("the vault does not take it") from None
        except StrongroomError as error:
            raise failure_of(error) from None
        if run.state != RunState.RUNNING or (run.part is not None and run.part.done):
            return Outcome(run.id, run.report, run.state, run.code, rows=run.rows, repeated=True)
        return None

    def _made(
        self, vault: JobVault, work: WorkOrder | PartOrder, remaining: Callable[[], float]
    ) -> RunInfo | list[PartInfo]:
        """The run once the output is made, or the parts that it was cut into."""
        wanted = order_in(work)
        making.check(vault.run, wanted)
        makes = Making(self.store, self.recipients, self.inputs, self.kms, self.clock, self.beat)
        if (ended := makes.take_up(vault, work)) is not None:
            return ended
        definition = definitions()[wanted.report]
        if isinstance(work, WorkOrder) and definition.splitting(Format(wanted.format)):
            parts = vault.split()
            if parts:
                return parts
        return makes.make(vault, work, remaining)

    def _parts(
        self,
        vault: JobVault,
        work: WorkOrder | PartOrder,
        parts: Sequence[PartInfo],
        remaining: Callable[[], float],
        last: bool,
    ) -> Outcome:
        """Hand on those parts that nobody has done or works on."""
        wanted = order_in(work)
        waiting = [part.order for part in parts if not (part.done or part.leased)]
        _log.info("report_run_split", extra=_told(work, parts=len(parts), waiting=len(waiting)))
        outcome = Outcome(wanted.run, wanted.report, RunState.RUNNING)
        if self.hand_on is not None:
            self.hand_on(waiting)
            return outcome
        for order in waiting:
            part = open_work(order, self.key)
            outcome = self._attempt(vault, part, order, remaining, last)
            if outcome.state != RunState.RUNNING:
                break
        return outcome

    def _give_back(self, vault: JobVault, work: WorkOrder | PartOrder, reason: FailureCode) -> None:
        """End the lease, so that the next attempt need not wait for its end."""
        _log.warning("report_run_left", extra=_told(work, reason=reason))
        try:
            vault.release(reason)
        except StrongroomError:
            # It ends by itself, or another process has it.
            return

    def _fail(
        self, vault: JobVault, work: WorkOrder | PartOrder, order: str, failure: RunFailed
    ) -> Outcome:
        try:
            run = vault.fail(failure.vault_code, failure.code)
        except RequestRefused:
            # The vault has failed it already, for what it asked, or another process has it.
            ended = self._start(vault, work, order)
            if ended is None:
                raise failure from None
            if ended.state == _ENDED:
                return replace(ended, state=RunState.FAILED, code=failure.code, repeated=False)
            return ended
        except StrongroomError:
            raise RunFailed(failure.code, failure.detail, passing=True) from None
        return Outcome(run.id, run.report, run.state, failure.code)


def _told(work: WorkOrder | PartOrder, **more: object) -> dict[str, object]:
    wanted = order_in(work)
    found = {"run": wanted.run, "report": wanted.report, "tenant": wanted.tenant, **more}
    return found if isinstance(work, WorkOrder) else found | {"part": work.part}
