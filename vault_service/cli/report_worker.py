"""``strongroom report worker`` and ``report run --local``: jobs outside AWS.

Both run the code that Lambda runs, on the settings of ``reporting_jobs/settings.py``.
"""

import asyncio
import os
from typing import TYPE_CHECKING, Final

import typer

from vault_service.cli.operation import stop

if TYPE_CHECKING:
    from reporting_jobs.settings import JobSettings

_DATABASE: Final = "STRONGROOM_WORKER_DATABASE_URL"


def work() -> None:
    """Make the runs of reports on their schedules, and those that were approved.

    Its queue lies in the database of STRONGROOM_WORKER_DATABASE_URL, in a schema that it
    makes at its first start. Ends with Ctrl-C.
    """
    settings = _settings()
    url = os.environ.get(_DATABASE, "")
    if not url:
        stop(f"{_DATABASE} is not set: a PostgreSQL for the queue, with a role of its own.")
    try:
        from reporting_jobs.worker import serve

        asyncio.run(serve(settings, url))
    except ImportError:
        stop("The worker is not installed; run: pip install 'strongroom[server,reports,worker]'")


def make_here(order: str) -> None:
    """Make the run of a signed order in this process; exit 2 where that cannot be."""
    from reporting_jobs import wiring
    from reporting_jobs.failures import LeaseLost, OrderRefused, RunFailed

    try:
        outcome = wiring.runner(_settings()).run(order, last=True)
    except (LeaseLost, OrderRefused, RunFailed) as error:
        stop(f"The run was not made here: {error}.")
    if outcome.code is not None:
        typer.echo(f"The run failed: {outcome.code}.", err=True)


def _settings() -> "JobSettings":
    try:
        from reporting_jobs.settings import load
    except ImportError:
        stop("Reports are not installed; run: pip install 'strongroom[reports]'")
    return load()
