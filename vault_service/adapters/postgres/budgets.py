"""Reveal budgets, counted in the database so that many workers together keep them.

A window is a clock hour or a day in UTC. The counter's row is locked from the check to
the commit, together with the event that the reveal is recorded by, so what was counted
was recorded and what was recorded was counted.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg
import sqlalchemy as sa

from vault_service.adapters.postgres import statements
from vault_service.adapters.postgres.binary import TextArray
from vault_service.adapters.postgres.calls import call_repeatable
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.schema import budget_subjects, budget_usage
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.ports import BudgetCharge
from vault_service.domain.principals import Budget

_ANY: Final = "*"
_SUBJECT_KINDS: Final = frozenset({"subjects_per_day", "subjects_per_hour"})


class _Window(NamedTuple):
    purpose: str
    kind: str
    start: datetime
    end: datetime
    limit: int


def _windows(budgets: Sequence[Budget], at: datetime) -> Iterator[_Window]:
    at = at.astimezone(UTC)
    hour = at.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    for budget in budgets:
        purpose = budget.purpose or _ANY
        for kind, limit, start, length in (
            ("subjects_per_day", budget.subjects_per_day, day, timedelta(days=1)),
            ("subjects_per_hour", budget.subjects_per_hour, hour, timedelta(hours=1)),
            ("tokens_per_day", budget.tokens_per_day, day, timedelta(days=1)),
            ("tokens_per_hour", budget.tokens_per_hour, hour, timedelta(hours=1)),
        ):
            if limit is not None:
                yield _Window(purpose, kind, start, start + length, limit)


class Draw:
    """A reveal as the database functions that draw on budgets take it.

    Windows are given, and so locked, in one order, that draws wait and never deadlock.
    """

    def __init__(self, charge: BudgetCharge) -> None:
        self._charge = charge
        self._windows = sorted(_windows(charge.budgets, charge.at))

    def parameters(self) -> tuple[object, ...]:
        """Their parameters, after the tenant."""
        charge, windows = self._charge, self._windows
        return (
            charge.principal,
            charge.tokens,
            TextArray(sorted(charge.subjects)),
            TextArray([window.purpose for window in windows]),
            TextArray([window.kind for window in windows]),
            TextArray([window.start.isoformat() for window in windows]),
            TextArray([str(window.limit) for window in windows]),
        )

    def result(self, row: Sequence[Any] | None) -> VaultError | None:
        """What they returned: the error of the window that does not cover the reveal, where
        one does not."""
        exceeded: int = row[0] if row is not None else 1
        return _exceeded(self._windows[exceeded - 1], self._charge.at) if exceeded else None


async def draw_on_budgets(
    connection: psycopg.AsyncConnection[Any], charge: BudgetCharge
) -> VaultError | None:
    """Count a reveal in the open transaction; the error, and nothing counted, where it
    does not fit. Raises the driver's errors."""
    draw = Draw(charge)
    cursor = await connection.execute(
        statements.DRAW, (charge.tenant, *draw.parameters()), prepare=True, binary=True
    )
    return draw.result(await cursor.fetchone())


def _exceeded(window: _Window, at: datetime) -> VaultError:
    return VaultError(
        Code.BUDGET_EXCEEDED,
        "The reveal budget for this purpose does not cover the request.",
        retry_after=max(1, int((window.end - at).total_seconds())),
    )


class PostgresBudgets:
    """Reads what is left. Implements :class:`~vault_service.domain.ports.BudgetStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def forget(self, tenant: str, at: datetime) -> None:
        """Remove windows that ended a day ago or more."""
        ended = at - timedelta(days=2)
        async with self._database.transaction(tenant) as connection:
            for table in (budget_usage, budget_subjects):
                await connection.execute(sa.delete(table).where(table.c.window_start < ended))

    async def left(
        self,
        tenant: str,
        principal: str,
        purpose: str,
        budgets: tuple[Budget, ...],
        at: datetime,
    ) -> int | None:
        """Tokens left in the tightest window; ``None`` where no budget counts tokens."""
        windows = [w for w in _windows(budgets, at) if w.kind not in _SUBJECT_KINDS]
        if not windows:
            return None
        starts = {window.start for window in windows}
        found = await call_repeatable(
            self._database,
            statements.BUDGETS_USED,
            (
                tenant,
                principal,
                TextArray(sorted({window.purpose for window in windows})),
                TextArray([start.isoformat() for start in starts]),
            ),
        )
        used: dict[tuple[str, str, datetime], int] = {
            (row[0], row[1], row[2]): row[3] for row in found
        }
        return min(
            max(0, window.limit - used.get((window.purpose, window.kind, window.start), 0))
            for window in windows
        )
