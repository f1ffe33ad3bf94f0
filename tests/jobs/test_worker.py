"""The worker outside AWS: schedules, approved runs, and a queue in a schema of its own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from reporting_jobs import worker
from reporting_jobs.definitions import definitions
from reporting_jobs.settings import JobSettings
from tests.conftest import DatabaseUrls
from tests.fakes.report_vault import ReportVault
from tests.jobs.conftest import RsaPair, opened

if TYPE_CHECKING:
    from procrastinate import App

TICK = 1_795_586_400  # 2026-11-25T06:00:00Z


@pytest.fixture
async def app(
    empty_database: DatabaseUrls,
    vault: ReportVault,
    recipients: Path,
    reader: RsaPair,
    tmp_path: Path,
) -> "AsyncIterator[App]":
    settings = JobSettings(
        url=vault.url,
        key=vault.key,
        outputs=str(tmp_path / "out"),
        recipients=str(recipients),
        recipient=reader.recipient.name,
        token="srk_test",
    )
    app = worker.worker(settings, empty_database.superuser_url)
    async with app.open_async():
        await worker.prepare(app)
        await worker.prepare(app)
        yield app


async def run_all(app: "App") -> None:
    await app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)


async def test_a_schedule_makes_one_output_a_tick(
    app: "App", vault: ReportVault, tmp_path: Path, reader: RsaPair
) -> None:
    for _ in range(2):
        await app.tasks["schedule:tiny"].defer_async(timestamp=TICK)
        await run_all(app)
    await app.tasks["schedule:tiny"].defer_async(timestamp=TICK + 3600)
    await run_all(app)
    # The worker keeps its own clock too: an hour that begins meanwhile has a run of its own.
    for period in ("2026-11-25T06:00:00Z", "2026-11-25T07:00:00Z"):
        [run_id] = [
            named
            for named, run in vault.runs.items()
            if (run.info["report"], run.info["period"]) == ("tiny", period)
        ]
        kept = (tmp_path / "out" / "tiny" / run_id).rglob("*")
        assert len([path for path in kept if path.is_file()]) == 1
    # The hour of another report may have come meanwhile.
    run = next(run for run in vault.runs.values() if run.info["report"] == "tiny")
    sealed = (tmp_path / "out" / run.info["locations"][0]).read_bytes()
    assert len(opened(sealed, run.order, private_key=reader.private).splitlines()) == 2501


async def test_a_heavy_run_goes_through_the_queue_in_parts(
    app: "App", vault: ReportVault, tmp_path: Path, reader: RsaPair
) -> None:
    """Twice offered, made once, each part a job of its own."""
    order = vault.order("tiny_parts", reader.recipient.name)
    for _ in range(2):
        await app.tasks["make"].defer_async(order=order)
    await run_all(app)
    run = vault.run_of(order)
    assert run.info["state"] == "succeeded"
    assert [part.attempts for part in run.parts] == [1, 1, 1]
    kept = [path for path in (tmp_path / "out" / "tiny_parts").rglob("*") if path.is_file()]
    assert len(kept) == 3
    lines = 0
    for number, location in enumerate(run.info["locations"], start=1):
        sealed = (tmp_path / "out" / location).read_bytes()
        text = opened(sealed, order, f"{number}/3", private_key=reader.private)
        lines += len(text.splitlines())
    assert lines == 2501


async def test_a_run_that_needs_nobodys_approval_is_made(
    app: "App", vault: ReportVault, reader: RsaPair
) -> None:
    """It is requested, and never approved, before it runs."""
    order = vault.order("tiny", reader.recipient.name, period="2026-01")
    vault.run_of(order).info["state"] = "requested"
    vault.run_of(order).info["needs_approval"] = False
    await app.tasks["collect"].defer_async(timestamp=TICK)
    await run_all(app)
    assert vault.run_of(order).info["state"] == "succeeded"


async def test_the_tables_of_the_queue_lie_in_a_schema_of_their_own(
    app: "App", empty_database: DatabaseUrls
) -> None:
    with psycopg.connect(empty_database.superuser_url) as connection:
        found = connection.execute(
            "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE 'procrastinate%'"
        ).fetchall()
    assert found == [(worker.SCHEMA,)]


def test_schedules_are_kept_as_eventbridge_would() -> None:
    assert worker.crontab("cron(0 3 ? * SUN *)") == "0 3 * * SUN"
    assert worker.crontab("cron(10 * * * ? *)") == "10 * * * *"
    assert worker.crontab("rate(1 hour)") == "0 */1 * * *"
    assert worker.crontab("rate(15 minutes)") == "*/15 * * * *"
    for definition in definitions().values():
        if definition.schedule is not None:
            assert len(worker.crontab(definition.schedule).split()) == 5


@pytest.mark.parametrize(
    "schedule",
    [
        "cron(0 6 ? * 1 *)",
        "cron(0 6 L * ? *)",
        "cron(0 6 ? * FRI#2 *)",
        "cron(0 6 1 * ? 2027)",
        "rate(7 minutes)",
        "0 6 * * *",
    ],
)
def test_a_schedule_that_would_mean_something_else_is_refused(schedule: str) -> None:
    with pytest.raises(ValueError, match="schedule"):
        worker.crontab(schedule)
