"""A store of runs, in memory and in PostgreSQL, for the tests of what it promises."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from tests.fakes.reports import MemoryReports
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.embedded.state import APP, MIGRATOR
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.adapters.postgres.report_parts import PostgresReportParts
from vault_service.adapters.postgres.reports import PostgresReports
from vault_service.adapters.postgres.schema import audit_events
from vault_service.domain.events import AuditEvent, new_event_id
from vault_service.domain.report_ports import Approval, PartStore, ReportStore
from vault_service.domain.report_runs import Run, RunState, new_run_id
from vault_service.domain.reports import Format

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class Kept:
    """A store, its parts, a tenant of the test's own, and the actions recorded in it."""

    store: ReportStore
    parts: PartStore
    tenant: str
    recorded: Callable[[], Awaitable[list[str]]]

    def run(self, **fields: object) -> Run:
        plain = Run(
            id=new_run_id(),
            tenant=self.tenant,
            report="access_review",
            template_hash="00",
            parameters='{"top":10}',
            period="",
            format=Format.CSV,
            recipient="rsa:00",
            row_cap=10,
            requester="officer",
            state=RunState.REQUESTED,
            requested_at=AT,
            expires_at=AT + DAY,
            updated_at=AT,
        )
        return replace(plain, **fields)  # type: ignore[arg-type]

    def event(self, action: str) -> AuditEvent:
        return AuditEvent(new_event_id(), AT, self.tenant, "officer", action, "ok", "", "")

    def approval(self, run: Run, *, standing: bool = False) -> Approval:
        return Approval(
            id=f"apr_{uuid.uuid4().hex}",
            tenant=run.tenant,
            report=run.report,
            run=None if standing else run.id,
            binding=run.binding().decode(),
            approver="lead",
            approved_at=AT,
            until=AT + DAY,
        )

    async def added(self, **fields: object) -> Run:
        return await self.store.add(self.run(**fields), [self.event("asked")], None)

    async def moved(self, run: Run, state: RunState, **fields: object) -> Run:
        after = replace(run, state=state, **fields)  # type: ignore[arg-type]
        assert await self.store.change(run, after, [self.event(state)])
        found = await self.store.find(self.tenant, run.id)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def app_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    name = f"runs_{uuid.uuid4().hex}"
    urls = postgres.create_database(name)
    upgrade(urls[MIGRATOR])
    yield urls[APP]
    postgres.drop_database(name)


@pytest.fixture(params=["memory", "postgres"])
async def kept(request: pytest.FixtureRequest) -> AsyncIterator[Kept]:
    tenant = f"tenant_{uuid.uuid4().hex}"
    if request.param == "memory":
        memory = MemoryReports()

        async def told() -> list[str]:
            return [event.action for event in memory.events]

        yield Kept(memory, memory, tenant, told)
        return
    database = Database(request.getfixturevalue("app_url"))
    await database.open()

    async def read() -> list[str]:
        query = sa.select(audit_events.c.action).order_by(audit_events.c.position)
        async with database.transaction(tenant) as connection:
            return list((await connection.execute(query)).scalars())

    yield Kept(PostgresReports(database), PostgresReportParts(database), tenant, read)
    await database.close()
