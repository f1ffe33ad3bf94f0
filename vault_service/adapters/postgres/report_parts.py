"""Parts of report runs in PostgreSQL; meets :class:`~vault_service.domain.report_ports.PartStore`.

Changes of the parts of one run wait for each other at the run's row, so that their rows are
added up, and the last part is known to be the last.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from vault_service.adapters.postgres.audit import append_events
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.report_tables import report_parts, report_runs
from vault_service.domain.events import AuditEvent
from vault_service.domain.report_parts import Part
from vault_service.domain.report_ports import PartChange
from vault_service.domain.report_runs import RunState

_parts: Final = report_parts.c
_runs: Final = report_runs.c
_GOES_ON: Final = (
    *("done", "attempts", "lease_holder", "lease_until"),
    *("rows", "output_sha256", "output_bytes", "output_location"),
)


class _Over(Exception):
    """Undoes what was written."""


class PostgresReportParts:
    """Parts of the runs of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def parts(self, tenant: str, run_id: str) -> Sequence[Part]:
        """See :class:`~vault_service.domain.report_ports.PartStore`."""
        query = (
            sa.select(report_parts)
            .where(_parts.tenant == tenant, _parts.run == run_id)
            .order_by(_parts.number)
        )
        async with self._database.transaction(tenant) as connection:
            return [_part(row) for row in await connection.execute(query)]

    async def part(self, tenant: str, run_id: str, number: int) -> Part | None:
        """See :class:`~vault_service.domain.report_ports.PartStore`."""
        query = sa.select(report_parts).where(
            _parts.tenant == tenant, _parts.run == run_id, _parts.number == number
        )
        async with self._database.transaction(tenant) as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else _part(row)

    async def change_part(
        self, before: Part, after: Part, events: Sequence[AuditEvent], *, cap: int, at: datetime
    ) -> PartChange:
        """See :class:`~vault_service.domain.report_ports.PartStore`."""
        run = (_runs.tenant == before.tenant, _runs.id == before.run)
        lock = sa.select(_runs.state).where(*run).with_for_update()
        write = (
            sa.update(report_parts)
            .where(*_mine(before), _parts.version == before.version, _parts.done.is_(False))
            .values(**{name: getattr(after, name) for name in _GOES_ON}, version=before.version + 1)
            .returning(_parts.number)
        )
        total = sa.select(sa.func.coalesce(sa.func.sum(_parts.rows), 0)).where(
            _parts.tenant == before.tenant, _parts.run == before.run
        )
        count = (
            sa.update(report_runs)
            .where(*run)
            .values(
                parts_done=_runs.parts_done + 1,
                rows=sa.func.coalesce(_runs.rows, 0) + (after.rows or 0),
                output_bytes=sa.func.coalesce(_runs.output_bytes, 0) + (after.output_bytes or 0),
                updated_at=at,
                version=_runs.version + 1,
            )
        )
        try:
            async with self._database.transaction(before.tenant) as connection:
                if (await connection.execute(lock)).scalar_one_or_none() != RunState.RUNNING:
                    return PartChange.LOST
                if (await connection.execute(write)).first() is None:
                    return PartChange.LOST
                if (await connection.execute(total)).scalar_one() > cap:
                    raise _Over
                if after.done:
                    await connection.execute(count)
                if events:
                    await append_events(connection, events)
        except _Over:
            return PartChange.OVER
        return PartChange.WRITTEN

    async def extend_part(self, part: Part, holder: str, until: datetime) -> bool:
        """See :class:`~vault_service.domain.report_ports.PartStore`."""
        running = sa.exists().where(
            _runs.tenant == part.tenant, _runs.id == part.run, _runs.state == RunState.RUNNING
        )
        statement = (
            sa.update(report_parts)
            .where(*_mine(part), _parts.lease_holder == holder, _parts.done.is_(False), running)
            .values(lease_until=until)
            .returning(_parts.number)
        )
        async with self._database.transaction(part.tenant) as connection:
            return (await connection.execute(statement)).first() is not None


def values_of(part: Part) -> dict[str, Any]:
    """The row of a part."""
    return {
        column.name: part.order if column.name == "work_order" else getattr(part, column.name)
        for column in _parts
    }


def _mine(part: Part) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _parts.tenant == part.tenant,
        _parts.run == part.run,
        _parts.number == part.number,
    )


def _part(row: sa.Row[Any]) -> Part:
    values = dict(row._mapping)
    order = values.pop("work_order")
    return Part(**values, order=order)
