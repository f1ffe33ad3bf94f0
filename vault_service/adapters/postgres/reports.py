"""Report runs and approvals in PostgreSQL; meets
:class:`~vault_service.domain.report_ports.ReportStore`.

A change is written where the run still has the version that was decided upon, in one
transaction with its events: of two that decide at the same time, one finds it changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from vault_service.adapters.postgres import statements
from vault_service.adapters.postgres.audit import append_event, append_events
from vault_service.adapters.postgres.calls import call_repeatable
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.report_parts import values_of
from vault_service.adapters.postgres.report_tables import (
    report_approvals,
    report_parts,
    report_runs,
)
from vault_service.domain.errors import IntegrityFailure
from vault_service.domain.events import AuditEvent
from vault_service.domain.report_parts import Part
from vault_service.domain.report_ports import Approval, RunQuery
from vault_service.domain.report_runs import NEXT, Run, RunState
from vault_service.domain.reports import Format

_runs: Final = report_runs.c
_approvals: Final = report_approvals.c
_UNIQUE: Final = (
    _runs.tenant,
    _runs.report,
    _runs.parameters_sha256,
    _runs.period,
    _runs.format,
    _runs.recipient,
)
# In the statement's text: with parameters in their place, a prepared statement no longer
# finds the index that it is the condition of.
_TAKEN: Final = sa.text("state IN ('requested', 'approved', 'running', 'succeeded')")
_GOES_ON: Final = (
    *("state", "updated_at", "approver", "approved_at", "code", "rule", "attempts"),
    *("lease_holder", "lease_until", "rows", "output_sha256", "output_bytes"),
    *("output_location", "manifest", "parts"),
)
"""What a change may write; tokens that were read and parts done are counted apart."""
_ADDS: Final = 3
_COLUMNS: Final = tuple(column.name for column in _runs)
_FIND: Final = f"SELECT {', '.join(_COLUMNS)} FROM strongroom.find_report_run(%b, %b)"


class PostgresReports:
    """Runs and approvals of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, run: Run, events: Sequence[AuditEvent], approval: Approval | None) -> Run:
        """See :class:`~vault_service.domain.report_ports.ReportStore`."""
        new = (
            insert(report_runs)
            .values(_values(run))
            .on_conflict_do_nothing(index_elements=list(_UNIQUE), index_where=_TAKEN)
            .returning(_runs.id)
        )
        same = sa.select(report_runs).where(
            *(column == _values(run)[column.name] for column in _UNIQUE), _TAKEN
        )
        for _ in range(_ADDS):
            async with self._database.transaction(run.tenant) as connection:
                if (await connection.execute(new)).first() is not None:
                    await self._append(connection, events, () if approval is None else (approval,))
                    return run
                # A concurrent insert of the same run was waited for.
                row = (await connection.execute(same)).first()
            if row is not None:
                return _run(dict(row._mapping))
        raise IntegrityFailure("A run that is in the way cannot be found; ask again.")

    async def find(self, tenant: str, run_id: str) -> Run | None:
        """See :class:`~vault_service.domain.report_ports.ReportStore`."""
        rows = await call_repeatable(self._database, _FIND, (tenant, run_id))
        return _run(dict(zip(_COLUMNS, rows[0], strict=True))) if rows else None

    async def list(self, query: RunQuery) -> Sequence[Run]:
        """See :class:`~vault_service.domain.report_ports.ReportStore`."""
        told = sa.or_(
            _runs.report.in_(sorted(query.reports)),
            _runs.requester == query.principal,
            _runs.approver == query.principal,
        )
        statement = sa.select(report_runs).where(_runs.tenant == query.tenant, told)
        if query.report is not None:
            statement = statement.where(_runs.report == query.report)
        if query.state is not None:
            statement = statement.where(_runs.state == query.state)
        if query.before is not None:
            statement = statement.where(_runs.id < query.before)
        statement = statement.order_by(_runs.id.desc()).limit(query.limit)
        async with self._database.transaction(query.tenant) as connection:
            return [_run(dict(row._mapping)) for row in await connection.execute(statement)]

    async def change(
        self,
        before: Run,
        after: Run,
        events: Sequence[AuditEvent],
        approvals: Sequence[Approval] = (),
        parts: Sequence[Part] = (),
    ) -> bool:
        """See :class:`~vault_service.domain.report_ports.ReportStore`."""
        # A lease changes hands within the state of running.
        if after.state not in NEXT.get(before.state, ()) and not (
            before.state is after.state is RunState.RUNNING
        ):
            raise ValueError("a run cannot go from this state to that")
        values = {name: getattr(after, name) for name in _GOES_ON}
        statement = (
            sa.update(report_runs)
            .where(
                _runs.tenant == before.tenant,
                _runs.id == before.id,
                _runs.version == before.version,
                _runs.state == before.state,
            )
            .values(**values, work_order=after.order, version=before.version + 1)
            .returning(_runs.id)
        )
        async with self._database.transaction(before.tenant) as connection:
            if (await connection.execute(statement)).first() is None:
                return False
            if parts:
                await connection.execute(
                    sa.insert(report_parts), [values_of(part) for part in parts]
                )
            await self._append(connection, events, approvals)
        return True

    async def _append(
        self,
        connection: AsyncConnection,
        events: Sequence[AuditEvent],
        approvals: Sequence[Approval],
    ) -> None:
        if approvals:
            rows = [{f.name: getattr(a, f.name) for f in fields(a)} for a in approvals]
            await connection.execute(sa.insert(report_approvals), rows)
        if events:
            await append_events(connection, events)

    async def extend(self, tenant: str, run_id: str, holder: str, until: datetime) -> bool:
        """See :class:`~vault_service.domain.report_ports.ReportStore`."""
        statement = (
            sa.update(report_runs)
            .where(
                _runs.tenant == tenant,
                _runs.id == run_id,
                _runs.state == RunState.RUNNING,
                _runs.lease_holder == holder,
            )
            .values(lease_until=until)
            .returning(_runs.id)
        )
        async with self._database.transaction(tenant) as connection:
            return (await connection.execute(statement)).first() is not None

    async def count_read(
        self, tenant: str, run_id: str, digest: bytes, tokens: int, cap: int
    ) -> bool:
        """See :class:`~vault_service.domain.report_ports.ReportStore`."""
        rows = await call_repeatable(
            self._database,
            statements.COUNT_REPORT_READ,
            (tenant, run_id, digest, tokens, cap),
        )
        counted: bool = rows[0][0]
        return counted

    async def approval(self, tenant: str, run_id: str) -> Approval | None:
        """See :class:`~vault_service.domain.report_ports.ReportStore`."""
        query = sa.select(report_approvals).where(
            _approvals.tenant == tenant, _approvals.run == run_id
        )
        async with self._database.transaction(tenant) as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else Approval(**row._mapping)

    async def standing(self, tenant: str, report: str | None, at: datetime) -> Sequence[Approval]:
        """See :class:`~vault_service.domain.report_ports.ReportStore`."""
        query = sa.select(report_approvals).where(
            _approvals.tenant == tenant,
            _approvals.run.is_(None),
            _approvals.until > at,
            _approvals.withdrawn_at.is_(None),
        )
        if report is not None:
            query = query.where(_approvals.report == report)
        async with self._database.transaction(tenant) as connection:
            rows = await connection.execute(query.order_by(_approvals.id))
            return [Approval(**row._mapping) for row in rows]

    async def withdraw(
        self, tenant: str, approval_id: str, at: datetime, event: AuditEvent
    ) -> bool:
        """See :class:`~vault_service.domain.report_ports.ReportStore`."""
        statement = (
            sa.update(report_approvals)
            .where(
                _approvals.tenant == tenant,
                _approvals.id == approval_id,
                _approvals.run.is_(None),
                _approvals.withdrawn_at.is_(None),
                _approvals.until > at,
            )
            .values(withdrawn_at=at)
            .returning(_approvals.id)
        )
        async with self._database.transaction(tenant) as connection:
            if (await connection.execute(statement)).first() is None:
                return False
            await append_event(connection, event)
        return True


def _values(run: Run) -> dict[str, Any]:
    values = {
        column.name: getattr(run, column.name) for column in _runs if hasattr(run, column.name)
    }
    return values | {"work_order": run.order}


def _run(row: Mapping[str, Any]) -> Run:
    values = dict(row)
    digest, order = values.pop("parameters_sha256"), values.pop("work_order")
    try:
        values["state"], values["format"] = RunState(row["state"]), Format(row["format"])
    except ValueError:
        raise IntegrityFailure("A stored run has an unknown state or format.") from None
    run = Run(**values, order=order)
    if run.parameters_sha256 != digest:
        raise IntegrityFailure("A stored run's parameters are not those it was made with.")
    return run
