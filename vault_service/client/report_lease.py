"""A report's run, or a part of one, in the hands of the job that makes it."""

import secrets
from collections.abc import Sequence
from typing import Any

from vault_service.client import report_operations
from vault_service.client.errors import StrongroomError
from vault_service.client.exchange import Steps
from vault_service.client.report_results import PartInfo, RunInfo
from vault_service.client.sync import Client
from vault_service.domain.notes import NoteError, parse_note
from vault_service.domain.report_notes import PartOrder, WorkOrder, order_in, read_work
from vault_service.domain.report_runs import RunState


class OrderUnreadable(StrongroomError):
    """What was given for a work order is none. Nothing was asked of the vault."""


class RunLease:
    """A run, or a part of one, that this process has the lease of. :meth:`start` it first.

    ``holder`` names this process among others that try to make the same (random where it is
    not given). Methods raise what :class:`Client`'s do: ``RequestRefused`` with
    ``access_denied`` where another has taken over, or the run has ended.
    """

    def __init__(self, client: Client, *, holder: str | None = None) -> None:
        self._client = client
        self.holder = holder or secrets.token_hex(16)
        self._run: RunInfo | None = None
        self._part: int | None = None

    @property
    def run(self) -> RunInfo:
        """The run, as the vault last told it."""
        if self._run is None:
            raise RuntimeError("start the run first")
        return self._run

    @property
    def done(self) -> bool:
        """Whether the run succeeded before, so that there is nothing to do."""
        return self.run.state == RunState.SUCCEEDED

    def start(self, order: str) -> RunInfo:
        """Lease the run, or the part of one, that the signed ``order`` is about. A run that
        succeeded already, or was split, and a part that is done, are told as such: there is
        no lease then. Raises :class:`OrderUnreadable` for what is no order, and
        ``RequestRefused``: ``access_denied`` for an altered order, ``idempotency_conflict``
        while another holds the lease."""
        work = work_of(order)
        steps = report_operations.start(order_in(work).run, order, self.holder, self._client.retry)
        self._part = work.part if isinstance(work, PartOrder) else None
        self._run = self._client.run(steps)
        return self._run

    def heartbeat(self) -> RunInfo:
        """Keep the lease for some minutes more; ``access_denied`` where another has it.
        May be called beside the work: :attr:`run` stays as the work's own calls tell it."""
        return self._client.run(self._asked("heartbeat", {}))

    def release(self, reason: str) -> RunInfo:
        """Give the lease back, so that another attempt need not wait for its end;
        ``reason`` is a :class:`~vault_service.domain.report_failures.FailureCode`."""
        return self._on("release", {"reason": reason})

    def split(self) -> list[PartInfo]:
        """Cut the run into parts where its report splits and it is large enough, which gives
        the lease up; the parts, each with its signed order, or none."""
        steps = report_operations.split(self.run.id, self.holder, self._client.retry)
        return self._client.run(steps).parts

    def seal(
        self,
        *,
        rows: int,
        columns: Sequence[str],
        output_sha256: str,
        output_bytes: int,
        output_location: str,
    ) -> RunInfo:
        """Tell what is sealed and about to be published, as :meth:`finish` does, so that
        whoever takes over can finish with it. What the run may not have fails it."""
        fields = _fields(rows, columns, output_sha256, output_bytes, output_location)
        return self._on("seal", fields)

    def finish(
        self,
        *,
        rows: int,
        columns: Sequence[str],
        output_sha256: str,
        output_bytes: int,
        output_location: str,
    ) -> RunInfo:
        """End the run, or its part, well: its output, sealed, lies at ``output_location`` (a
        name below the place of outputs) and has this length and SHA-256 (hex). The answer
        about a run that has ended has the signed manifest."""
        fields = _fields(rows, columns, output_sha256, output_bytes, output_location)
        return self._on("finish", fields)

    def fail(self, code: str, reason: str | None = None) -> RunInfo:
        """End the run as failed; ``code`` is one of the vault's error codes, ``reason`` a
        :class:`~vault_service.domain.report_failures.FailureCode`."""
        return self._on("fail", {"code": code, "reason": reason})

    def _on(self, verb: str, fields: dict[str, Any]) -> RunInfo:
        self._run = self._client.run(self._asked(verb, fields))
        return self._run

    def _asked(self, verb: str, fields: dict[str, Any]) -> Steps[RunInfo]:
        asked = {"holder": self.holder, "part": self._part, **fields}
        return report_operations.on_run(self.run.id, verb, asked, self._client.retry)


def work_of(note: str) -> WorkOrder | PartOrder:
    """What the order of a run, or of a part, says, unverified: the vault verifies it when
    that is started. :class:`OrderUnreadable` for what is no order."""
    try:
        return read_work(parse_note(note).text)
    except NoteError:
        raise OrderUnreadable("this is no work order of a vault") from None


def _fields(
    rows: int,
    columns: Sequence[str],
    output_sha256: str,
    output_bytes: int,
    output_location: str,
) -> dict[str, Any]:
    return {
        "rows": rows,
        "columns": list(columns),
        "output_sha256": output_sha256,
        "output_bytes": output_bytes,
        "output_location": output_location,
    }
