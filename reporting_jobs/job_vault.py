"""The vault as the making of a run needs it, beyond what its report reads."""

from collections.abc import Sequence
from typing import Protocol

from reporting_jobs.context import RunVault
from vault_service.client.report_results import PartInfo, RunInfo


class JobVault(RunVault, Protocol):
    """The vault as a job's run needs it:
    :class:`vault_service.client.report_run.RunClient`."""

    @property
    def run(self) -> RunInfo:
        """The run, as the vault last told it."""

    @property
    def done(self) -> bool:
        """Whether it succeeded before."""

    def start(self, order: str) -> RunInfo:
        """Lease the run, or the part of one, of the signed order."""

    def heartbeat(self) -> RunInfo:
        """Keep the lease."""

    def release(self, reason: str) -> RunInfo:
        """Give the lease back."""

    def split(self) -> list[PartInfo]:
        """The parts that the run is cut into; none where it stays whole."""

    def seal(
        self,
        *,
        rows: int,
        columns: Sequence[str],
        output_sha256: str,
        output_bytes: int,
        output_location: str,
    ) -> RunInfo:
        """Tell what is sealed and about to be published."""

    def finish(
        self,
        *,
        rows: int,
        columns: Sequence[str],
        output_sha256: str,
        output_bytes: int,
        output_location: str,
    ) -> RunInfo:
        """End the run, or the part, well."""

    def fail(self, code: str, reason: str | None = None) -> RunInfo:
        """End the run as failed."""
