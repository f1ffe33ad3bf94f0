"""The lease of a run while it is made: kept alive beside the work, looked at on the way.

Where the vault says that another process has the run, or where this process's time runs
out, the next piece of the output, call of the vault or report of progress raises, so that
nothing is published. Clocks are not compared: only the vault says when a lease has ended.
"""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, cast

from reporting_jobs.context import RunVault
from reporting_jobs.failures import LeaseLost, OutOfTime
from reporting_jobs.job_vault import JobVault
from vault_service.client.errors import RequestRefused, StrongroomError
from vault_service.domain.errors import RETRYABLE

BEAT_SECONDS: Final = 20.0
"""Between two heartbeats: several fit into a lease."""
RESERVE_SECONDS: Final = 20.0
"""What is left of a process's time when it gives up: enough to end the upload."""
_JOIN_SECONDS: Final = 1.0
_READS: Final = frozenset(
    {
        "tokens",
        "reveal",
        "delete",
        "rights",
        "events",
        "inventory",
        "catalog",
        "export_log",
        "checkpoint",
        "verifier_key",
    }
)

_log = logging.getLogger("strongroom.reports")


class Lease:
    """Keeps the lease of ``vault.run`` within its ``with`` block, every ``beat`` seconds.
    ``remaining`` tells how many seconds this process has left."""

    def __init__(
        self, vault: JobVault, remaining: Callable[[], float], beat: float = BEAT_SECONDS
    ) -> None:
        self._job = vault
        self._remaining = remaining
        self._lost = False
        self._ended = threading.Event()
        self._beat_seconds = beat
        self._beating = threading.Thread(target=self._beat, name="report-lease", daemon=True)

    @property
    def vault(self) -> RunVault:
        """The vault as the report may read it, with a look at the lease at each call."""
        return cast(RunVault, _Attentive(self._job, self))

    def check(self) -> None:
        """Raise :class:`LeaseLost` or :class:`OutOfTime` where the work must stop."""
        if self._lost:
            raise LeaseLost("another process took it over, or it ended")
        if self._remaining() < RESERVE_SECONDS:
            raise OutOfTime

    def progress(self, done: int, total: int | None) -> None:
        """What a report tells of its progress."""
        self.check()
        _log.info("report_progress", extra={"run": self._job.run.id, "done": done, "of": total})

    def __enter__(self) -> Self:
        self.check()
        self._beating.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        # A heartbeat under way may wait for a vault that is away: it is let go.
        self._beating.join(_JOIN_SECONDS)

    def _beat(self) -> None:
        while not self._ended.wait(self._beat_seconds):
            try:
                self._job.heartbeat()
            except RequestRefused as error:
                if error.code not in RETRYABLE:
                    self._lost = True
                    return
            except StrongroomError:
                # No answer now; the lease lasts for some of these.
                continue


class _Attentive:
    """The reading methods of a vault, each of which looks at the lease first."""

    def __init__(self, vault: JobVault, lease: Lease) -> None:
        self._vault = vault
        self._lease = lease

    def __getattr__(self, name: str) -> Any:
        if name not in _READS:
            raise AttributeError(name)
        self._lease.check()
        return getattr(self._vault, name)
