"""The same jobs outside AWS: a worker with the definitions' schedules, on procrastinate.

``strongroom report worker`` runs it. On each tick of a schedule it asks the vault for a run
whose period is the tick, and every minute it looks for runs that may be made by now; the
orders, and those of the parts of heavy runs, go through a queue in PostgreSQL to the same
runner as in Lambda. A job that is killed is found again as its run has not ended, and the
lease decides.

The queue's tables live in the schema ``strongroom_jobs``, which the worker makes at its
first start, in the database of ``STRONGROOM_WORKER_DATABASE_URL``. Its role needs that
schema and nothing of the vault's: this database may be another one.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from reporting_jobs import wiring
from reporting_jobs.definitions import definitions
from reporting_jobs.failures import LeaseLost, OrderRefused, OutOfTime, RunFailed
from reporting_jobs.queue import queue_failed
from reporting_jobs.settings import JobSettings
from vault_service.client.errors import StrongroomError
from vault_service.client.report_lease import work_of
from vault_service.client.reports import Reporting
from vault_service.domain.errors import ConfigurationError
from vault_service.domain.report_notes import PartOrder
from vault_service.domain.report_runs import LIVE
from vault_service.domain.reports import ReportDefinition

if TYPE_CHECKING:
    from procrastinate import App, JobContext

SCHEMA: Final = "strongroom_jobs"
EVERY_MINUTE: Final = "* * * * *"
_RETRY_SECONDS: Final = 60
_RATE: Final = re.compile(r"rate\(([1-9][0-9]?) (minute|hour|day)s?\)")
_CRON: Final = re.compile(
    r"cron\(([0-9*,/-]+) ([0-9*,/-]+) ([0-9*?,/-]+) ([A-Z0-9*,/-]+)"
    r" ([*?]|[A-Z]{3}(?:[,-][A-Z]{3})*) \*\)"
)

_log = logging.getLogger("strongroom.reports")


def crontab(schedule: str) -> str:
    """An EventBridge schedule as five fields of cron. ``ValueError`` for one that cron
    cannot express: a year, ``L``, ``W`` and ``#``, days of the week by number (which the
    two count differently), and rates that do not divide an hour or a day."""
    rate = _RATE.fullmatch(schedule)
    if rate is not None:
        count, unit = int(rate[1]), rate[2]
        if unit == "minute" and 60 % count == 0:
            return f"*/{count} * * * *"
        if unit == "hour" and 24 % count == 0:
            return f"0 */{count} * * *"
        if unit == "day" and count == 1:
            return "0 0 * * *"
    cron = _CRON.fullmatch(schedule)
    if cron is not None:
        return " ".join(cron.groups()).replace("?", "*")
    raise ValueError(f"not a schedule that a worker can keep: {schedule}")


def worker(settings: JobSettings, database_url: str) -> "App":
    """The worker's application, its tasks registered; nothing is connected yet."""
    import procrastinate

    connector = procrastinate.PsycopgConnector(
        conninfo=database_url, kwargs={"options": f"-c search_path={SCHEMA}"}, max_size=4
    )
    app = procrastinate.App(connector=connector)
    runner = wiring.runner(settings)

    @app.task(name="make", pass_context=True, retry=_retries(settings.receives))
    async def make(context: "JobContext", order: str) -> None:
        last = context.job.attempts + 1 >= settings.receives
        loop = asyncio.get_running_loop()

        def hand_on(orders: Sequence[str]) -> None:
            # Called in the thread that makes the run: it waits until the queue has them.
            asyncio.run_coroutine_threadsafe(offer(orders), loop).result()

        try:
            await asyncio.to_thread(replace(runner, hand_on=hand_on).run, order, last=last)
        except OrderRefused as error:
            _log.error("report_order_dropped", extra={"reason": error.reason})

    async def offer(orders: Sequence[str]) -> None:
        from procrastinate.exceptions import AlreadyEnqueued, ConnectorException

        for order in orders:
            try:
                await make.configure(queueing_lock=_named(order)).defer_async(order=order)
            except AlreadyEnqueued:
                # It waits already: whoever takes it up does what this one would.
                continue
            except ConnectorException:
                raise queue_failed() from None

    @app.periodic(cron=EVERY_MINUTE)
    @app.task(name="collect", queueing_lock="collect", pass_context=False)
    async def collect(timestamp: int) -> None:
        for name in definitions():
            await offer(await asyncio.to_thread(_waiting, settings, name))

    for definition in definitions().values():
        if definition.schedule is not None and settings.recipient:
            _schedule(app, definition, settings, offer)
    return app


async def prepare(app: "App") -> None:
    """Make the schema and its tables, where they are missing; ``app`` is open."""
    found = await app.connector.execute_query_one_async(
        "SELECT to_regclass('procrastinate_jobs') IS NOT NULL AS there"
    )
    if not found["there"]:
        await app.connector.execute_query_async(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        await app.schema_manager.apply_schema_async()


async def serve(settings: JobSettings, database_url: str) -> None:
    """Work until told to end (SIGINT, SIGTERM)."""
    app = worker(settings, database_url)
    async with app.open_async():
        await prepare(app)
        await app.run_worker_async(concurrency=2, listen_notify=True)


def _schedule(
    app: "App", definition: ReportDefinition, settings: JobSettings, offer: Callable[..., Any]
) -> None:
    name = definition.name

    @app.periodic(cron=crontab(definition.schedule or ""), periodic_id=name)
    @app.task(name=f"schedule:{name}", pass_context=False)
    async def ask(timestamp: int) -> None:
        period = datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        run = await asyncio.to_thread(wiring.request_run, settings, name, {"period": period})
        if run.order is not None and run.state in LIVE:
            await offer([run.order])


def _named(order: str) -> str:
    """What an order is of: one of each waits in the queue."""
    work = work_of(order)
    return f"{work.order.run}/{work.part}" if isinstance(work, PartOrder) else work.run


def _waiting(settings: JobSettings, report: str) -> list[str]:
    """Orders of runs of a report that somebody has to make; none where the vault does not
    say, or this worker has no credential for the report."""
    try:
        with wiring.opener(settings)(report) as client:
            reporting = Reporting(client)
            return [
                run.order
                for state in sorted(LIVE)
                for run in reporting.runs(report=report, state=state)
                if run.order is not None
            ]
    except (StrongroomError, ConfigurationError) as error:
        _log.warning("report_runs_unknown", extra={"report": report, "kind": type(error).__name__})
        return []


def _retries(attempts: int) -> Any:
    from procrastinate import RetryStrategy

    return RetryStrategy(
        max_attempts=attempts,
        wait=_RETRY_SECONDS,
        retry_exceptions=(LeaseLost, OutOfTime, RunFailed),
    )
