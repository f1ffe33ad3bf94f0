"""The output of a run, or of a part of one: made, sealed, stored, and finished with.

It goes piece by piece from the report through its writer and the seal into the store, and
is published only whole. Just before that, the vault is told what it is; so a process that
is killed between publishing and finishing leaves a file that the next one takes up, and no
second one is made.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO, Final

from reporting_jobs import sealing
from reporting_jobs.context import Context
from reporting_jobs.definitions import definitions, maker
from reporting_jobs.failures import LeaseLost, RunFailed, rules_of
from reporting_jobs.job_vault import JobVault
from reporting_jobs.lease import Lease
from reporting_jobs.outputs import writing
from reporting_jobs.outputs.checking import CheckedRows
from reporting_jobs.places import Place, public_key
from reporting_jobs.recipients import recipient
from reporting_jobs.stores import Store, location_of
from vault_service.client.errors import RequestRefused
from vault_service.client.report_results import RunInfo
from vault_service.domain.errors import Code
from vault_service.domain.report_failures import FailureCode
from vault_service.domain.report_notes import PartOrder, WorkOrder, order_in
from vault_service.domain.reports import Format, ParameterType, ReportDefinition, canonical

_LOST: Final = frozenset({"lease_lost", "not_running", "approval_expired"})
"""The vault's rules for who has the lease no more, or a run that has ended."""


@dataclass(frozen=True, slots=True)
class Making:
    """Makes outputs with these; see :class:`reporting_jobs.runner.Runner`."""

    store: Store
    recipients: Place | None
    inputs: Place | None
    kms: Callable[[str], Any]
    clock: Callable[[], datetime]
    beat: float

    def take_up(self, vault: JobVault, work: WorkOrder | PartOrder) -> RunInfo | None:
        """Finish with what an attempt before this one has published; ``None`` where there
        is nothing of the kind, nor can be any more."""
        run = vault.run
        sealed = run.sealed if run.part is None else run.part.sealed
        if sealed is None or not self.store.holds(sealed.output_location, sealed.output_bytes):
            return None
        columns = [column.name for column in definitions()[order_in(work).report].columns]
        return _finish(
            vault,
            {
                "rows": sealed.rows,
                "columns": columns,
                "output_sha256": sealed.output_sha256,
                "output_bytes": sealed.output_bytes,
                "output_location": sealed.output_location,
            },
        )

    def make(
        self, vault: JobVault, work: WorkOrder | PartOrder, remaining: Callable[[], float]
    ) -> RunInfo:
        """Make the output and finish with it; the run as it is then. Raises
        :class:`RunFailed`, :class:`LeaseLost` and :class:`OutOfTime`, and whatever the
        report raises."""
        wanted, definition = order_in(work), definitions()[order_in(work).report]
        to = recipient(wanted.recipient, public_key(self.recipients, wanted.recipient))
        with Lease(vault, remaining, self.beat) as lease:
            context = self._context(definition, wanted, vault.run, lease)
            output = maker(wanted.report)(context)
            rows = writing.checked(context, output, wanted.row_cap)
            pieces = writing.pieces(
                Format(wanted.format), context, output, rows, headed=_heads(work)
            )
            bound_to = sealing.context(
                wanted.run,
                wanted.report,
                wanted.template_hash,
                work.place if isinstance(work, PartOrder) else None,
            )
            sealed = sealing.Sealed(_watched(pieces, lease), to, bound_to, kms=self.kms)
            name = _name(work, vault.run)

            def told() -> Mapping[str, Any]:
                return _result(rows, sealed, location_of(name))

            self.store.keep(name, _announced(_watched(iter(sealed), lease), vault, told))
        return _finish(vault, told())

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


def check(run: RunInfo, wanted: WorkOrder) -> None:
    """The report and the parameters must be those that were ordered (:class:`RunFailed`)."""
    if definitions()[wanted.report].template_hash() != wanted.template_hash:
        raise RunFailed(
            FailureCode.TEMPLATE_CHANGED,
            "This job has another version of the report than was ordered; deploy the same"
            " release to service and jobs.",
        )
    if hashlib.sha256(canonical(run.parameters)).hexdigest() != wanted.parameters_sha256:
        raise RunFailed(FailureCode.ACCESS_DENIED, "The parameters are not those ordered.")


def _name(work: WorkOrder | PartOrder, run: RunInfo) -> str:
    """Where the output goes: one name for each attempt at the run, or at the part."""
    wanted = order_in(work)
    if isinstance(work, PartOrder) and run.part is not None:
        return f"{wanted.report}/{wanted.run}/part-{work.part:04}/{max(1, run.part.attempts)}"
    return f"{wanted.report}/{wanted.run}/{max(1, run.attempts)}"


def _heads(work: WorkOrder | PartOrder) -> bool:
    """Whether the names of the columns stand in this output: parts are laid end to end."""
    return not isinstance(work, PartOrder) or work.part == 1


def _result(rows: CheckedRows, sealed: sealing.Sealed, location: str) -> Mapping[str, Any]:
    return {
        "rows": rows.count,
        "columns": rows.columns,
        "output_sha256": sealed.sha256,
        "output_bytes": sealed.length,
        "output_location": location,
    }


def _watched(pieces: Iterator[bytes], lease: Lease) -> Iterator[bytes]:
    for piece in pieces:
        lease.check()
        yield piece
    lease.check()


def _announced(
    pieces: Iterator[bytes], vault: JobVault, told: Callable[[], Mapping[str, Any]]
) -> Iterator[bytes]:
    """The pieces; once all are made, and before the store publishes them, the vault is told."""
    yield from pieces
    with _taken_over_is_lost():
        vault.seal(**told())


@contextmanager
def _taken_over_is_lost() -> Iterator[None]:
    """The vault's refusals of a lease that is no more, as :class:`LeaseLost`. Others fail
    the run: it may not have this output."""
    try:
        yield
    except RequestRefused as error:
        lost = error.code in (Code.ACCESS_DENIED, Code.IDEMPOTENCY_CONFLICT, Code.EXPIRED)
        if lost and _LOST.issuperset(rules_of(error)):
            raise LeaseLost("another process took it over, or it ended") from None
        raise


def _finish(vault: JobVault, told: Mapping[str, Any]) -> RunInfo:
    with _taken_over_is_lost():
        return vault.finish(**told)
