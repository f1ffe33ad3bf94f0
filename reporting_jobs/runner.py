"""Makes one run of one report: from a signed order to a sealed output.

The order is verified with the log's pinned public key before anything else, and by the
vault again, which leases the run. While it is made, the lease is kept alive beside it; the
output goes piece by piece from the report through its writer and the seal into the store,
and is published only whole. Whatever happens instead ends in a stable code that the vault
records, or leaves the run to the next attempt.

Any number of deliveries of one order may arrive, in any order, here or elsewhere: the lease
lets one process make the run, and finishing is one transaction that the holder of the lease
can do, so that there is one output. No log line holds a value.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, BinaryIO, Final

from reporting_jobs import sealing
from reporting_jobs.context import Context
from reporting_jobs.definitions import definitions, maker
from reporting_jobs.failures import (
    FailureCode,
    LeaseLost,
    OrderRefused,
    OutOfTime,
    RunFailed,
    failure_of,
    rules_of,
)
from reporting_jobs.job_vault import JobVault
from reporting_jobs.lease import BEAT_SECONDS, Lease
from reporting_jobs.outputs import writing
from reporting_jobs.places import Place, public_key
from reporting_jobs.recipients import recipient
from reporting_jobs.stores import Store
from vault_service.client.errors import RequestRefused, StrongroomError
from vault_service.client.report_results import RunInfo
from vault_service.client.report_run import OrderUnreadable, order_of
from vault_service.domain.errors import RETRYABLE, Code
from vault_service.domain.notes import NoteError, VerifierKey
from vault_service.domain.report_notes import WorkOrder, open_order
from vault_service.domain.report_runs import RunState
from vault_service.domain.reports import Format, ParameterType, ReportDefinition, canonical

_log = logging.getLogger("strongroom.reports")
_UNLIMITED: Final = float("inf")
_ENDED: Final = "ended"
"""The vault's rule for a run that ended otherwise than well."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order. ``state`` is the run's, or ``ended`` where it failed or was
    rejected before; ``repeated`` says that it had ended before this order came."""

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
    the number of seconds between two heartbeats."""

    vault: Callable[[str], AbstractContextManager[JobVault]]
    store: Store
    key: VerifierKey
    recipients: Place | None = None
    inputs: Place | None = None
    kms: Callable[[str], Any] = sealing.kms_client
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    beat: float = BEAT_SECONDS

    def run(
        self,
        order: str,
        *,
        only: str | None = None,
        remaining: Callable[[], float] = lambda: _UNLIMITED,
        last: bool = False,
    ) -> Outcome:
        """Make the run of a signed order. ``only`` is the one report that may be made here,
        ``remaining`` tells how many seconds this process has left. With ``last``, what
        might pass fails the run too: nobody will try again.

        Raises :class:`OrderRefused` for an order that is none, was changed, or is not for
        here; :class:`RunFailed` with ``passing`` for what another attempt may better,
        :class:`OutOfTime` and :class:`LeaseLost` where another attempt goes on.
        """
        wanted = self._opened(order)
        if only not in (None, wanted.report) or wanted.report not in definitions():
            raise OrderRefused("not for this job")
        _log.info("report_run_taken", extra=_told(wanted))
        with self.vault(wanted.report) as vault:
            if (ended := self._start(vault, wanted, order)) is not None:
                return ended
            try:
                return self._make(vault, wanted, remaining)
            except (LeaseLost, OutOfTime) as error:
                _log.warning("report_run_left", extra=_told(wanted, reason=type(error).__name__))
                raise
            except Exception as error:  # noqa: BLE001  # a report may raise anything
                failure = failure_of(error)
                _log.error(
                    "report_run_failed",
                    extra=_told(wanted, code=failure.code, passing=failure.passing),
                )
                if failure.passing and not last:
                    raise failure from None
                return self._fail(vault, wanted, order, failure)

    def _opened(self, order: str) -> WorkOrder:
        try:
            return open_order(order, self.key)
        except NoteError:
            _log.error("report_order_refused", extra={"reason": "signature"})
            self._report_refused(order)
            raise OrderRefused("not signed by the log's key, or altered") from None

    def _report_refused(self, order: str) -> None:
        """Let the vault record an order that does not verify, as far as it can be read."""
        try:
            report = order_of(order).report
            if report not in definitions():
                return
            with self.vault(report) as vault:
                vault.start(order)
        except OrderUnreadable:
            return
        except StrongroomError:
            # It refuses the order too, and has recorded that, or cannot be asked now.
            return

    def _start(self, vault: JobVault, wanted: WorkOrder, order: str) -> Outcome | None:
        """Lease the run; what became of it where nothing is left to do."""
        try:
            run = vault.start(order)
        except RequestRefused as error:
            rules = rules_of(error)
            if error.code == Code.IDEMPOTENCY_CONFLICT:
                raise LeaseLost("another process works on it") from None
            if error.code == Code.EXPIRED or _ENDED in rules:
                _log.warning("report_run_over", extra=_told(wanted, code=error.code))
                state = RunState.EXPIRED if error.code == Code.EXPIRED else _ENDED
                return Outcome(wanted.run, wanted.report, state, repeated=True)
            if error.code in RETRYABLE:
                raise failure_of(error) from None
            _log.error("report_order_refused", extra=_told(wanted, code=error.code, rules=rules))
            raise OrderRefused("the vault does not take it") from None
        except StrongroomError as error:
            raise failure_of(error) from None
        if run.state != RunState.RUNNING:
            return Outcome(run.id, run.report, run.state, run.code, rows=run.rows, repeated=True)
        return None

    def _make(self, vault: JobVault, wanted: WorkOrder, remaining: Callable[[], float]) -> Outcome:
        run, definition = vault.run, definitions()[wanted.report]
        if definition.template_hash() != wanted.template_hash:
            raise RunFailed(
                FailureCode.TEMPLATE_CHANGED,
                "This job has another version of the report than was ordered; deploy the same"
                " release to service and jobs.",
            )
        if hashlib.sha256(canonical(run.parameters)).hexdigest() != wanted.parameters_sha256:
            raise RunFailed(FailureCode.ACCESS_DENIED, "The parameters are not those ordered.")
        to = recipient(wanted.recipient, public_key(self.recipients, wanted.recipient))
        with Lease(vault, remaining, self.beat) as lease:
            context = self._context(definition, wanted, run, lease)
            output = maker(wanted.report)(context)
            rows = writing.checked(context, output, wanted.row_cap)
            pieces = writing.pieces(Format(wanted.format), context, output, rows)
            sealed = sealing.Sealed(
                _watched(pieces, lease),
                to,
                sealing.context(wanted.run, wanted.report, wanted.template_hash),
                kms=self.kms,
            )
            name = f"{wanted.report}/{wanted.run}/{max(1, run.attempts)}"
            location = self.store.keep(name, _watched(iter(sealed), lease))
        try:
            ended = vault.finish(
                rows=rows.count,
                columns=rows.columns,
                output_sha256=sealed.sha256,
                output_bytes=sealed.length,
                output_location=location,
            )
        except RequestRefused as error:
            if error.code in (Code.ACCESS_DENIED, Code.IDEMPOTENCY_CONFLICT, Code.EXPIRED):
                raise LeaseLost("another process took it over, or it ended") from None
            raise
        _log.info("report_run_succeeded", extra=_told(wanted, rows=rows.count))
        return Outcome(ended.id, ended.report, ended.state, rows=ended.rows)

    def _context(
        self, definition: ReportDefinition, wanted: WorkOrder, run: RunInfo, lease: Lease
    ) -> Context:
        return Context(
            definition=definition,
            parameters=run.parameters,
            period=wanted.period,
            run_id=wanted.run,
            now=self.clock(),
            vault=lease.vault,
            progress=lease.progress,
            inputs=self._inputs(definition, run.parameters),
            requested_at=datetime.fromisoformat(run.requested_at),
            row_cap=wanted.row_cap,
        )

    def _inputs(
        self, definition: ReportDefinition, parameters: Mapping[str, Any]
    ) -> Mapping[str, Callable[[], BinaryIO]]:
        """How to open each file that a parameter names."""
        return {
            parameter.name: partial(self._open, parameters[parameter.name])
            for parameter in definition.parameters
            if parameter.type == ParameterType.INPUT and parameters.get(parameter.name)
        }

    def _open(self, name: str) -> BinaryIO:
        if self.inputs is None:
            raise FileNotFoundError
        return self.inputs.open(name)

    def _fail(self, vault: JobVault, wanted: WorkOrder, order: str, failure: RunFailed) -> Outcome:
        try:
            run = vault.fail(failure.vault_code)
        except RequestRefused:
            # The vault has failed it already, for what it asked, or another process has it.
            ended = self._start(vault, wanted, order)
            if ended is None:
                raise failure from None
            if ended.state == _ENDED:
                return replace(ended, state=RunState.FAILED, code=failure.code, repeated=False)
            return ended
        except StrongroomError:
            raise RunFailed(failure.code, failure.detail, passing=True) from None
        return Outcome(run.id, run.report, run.state, failure.code)


def _watched(pieces: Iterator[bytes], lease: Lease) -> Iterator[bytes]:
    for piece in pieces:
        lease.check()
        yield piece
    lease.check()


def _told(wanted: WorkOrder, **more: object) -> dict[str, object]:
    return {"run": wanted.run, "report": wanted.report, "tenant": wanted.tenant, **more}
