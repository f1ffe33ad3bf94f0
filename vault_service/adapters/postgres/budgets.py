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

from vault_service.adapters.postgres.binary import TextArray
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.schema import budget_subjects, budget_usage
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.ports import BudgetCharge
from vault_service.domain.principals import Budget

_ANY: Final = "*"
_SUBJECT_KINDS: Final = frozenset({"subjects_per_day", "subjects_per_hour"})
_OPEN: Final = (
    "INSERT INTO strongroom.budget_usage (tenant, principal, purpose, kind, window_start, used)"
    " VALUES (%b, %b, %b, %b, %b, 0) ON CONFLICT DO NOTHING"
)
_LOCK: Final = (
    "SELECT used FROM strongroom.budget_usage WHERE tenant = %b AND principal = %b"
    " AND purpose = %b AND kind = %b AND window_start = %b FOR UPDATE"
)
_SPEND: Final = (
    "UPDATE strongroom.budget_usage SET used = used + %b WHERE tenant = %b AND principal = %b"
    " AND purpose = %b AND kind = %b AND window_start = %b"
)
_NEW_SUBJECTS: Final = (
    "SELECT s FROM unnest(%b::text[]) AS s WHERE NOT EXISTS (SELECT FROM"
    " strongroom.budget_subjects AS b WHERE b.tenant = %b AND b.principal = %b AND"
    " b.purpose = %b AND b.kind = %b AND b.window_start = %b AND b.subject = s)"
)
_ADD_SUBJECTS: Final = (
    "INSERT INTO strongroom.budget_subjects"
    " (tenant, principal, purpose, kind, window_start, subject)"
    " SELECT %b, %b, %b, %b, %b, s FROM unnest(%b::text[]) AS s ON CONFLICT DO NOTHING"
)


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


async def charge(connection: psycopg.AsyncConnection[Any], draw: BudgetCharge) -> VaultError | None:
    """Count a reveal in the open transaction; the error, and nothing counted, where it
    does not fit. Windows are locked in one order, so that draws wait and never deadlock.
    """
    spending: list[tuple[int, list[str], tuple[Any, ...]]] = []
    for window in sorted(_windows(draw.budgets, draw.at)):
        key = (draw.tenant, draw.principal, window.purpose, window.kind, window.start)
        await connection.execute(_OPEN, key, prepare=True)
        cursor = await connection.execute(_LOCK, key, prepare=True)
        row = await cursor.fetchone()
        used: int = row[0] if row is not None else 0
        amount = draw.tokens
        fresh: list[str] = []
        if window.kind in _SUBJECT_KINDS:
            cursor = await connection.execute(
                _NEW_SUBJECTS, (TextArray(sorted(draw.subjects)), *key), prepare=True
            )
            fresh = [found[0] for found in await cursor.fetchall()]
            amount = len(fresh)
        if used + amount > window.limit:
            return _exceeded(window, draw.at)
        spending.append((amount, fresh, key))
    for amount, fresh, key in spending:
        if fresh:
            await connection.execute(_ADD_SUBJECTS, (*key, TextArray(fresh)), prepare=True)
        await connection.execute(_SPEND, (amount, *key), prepare=True)
    return None


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
        async with self._database.transaction(tenant) as connection:
            found = await connection.execute(
                sa.select(
                    budget_usage.c.purpose,
                    budget_usage.c.kind,
                    budget_usage.c.window_start,
                    budget_usage.c.used,
                ).where(
                    budget_usage.c.tenant == tenant,
                    budget_usage.c.principal == principal,
                    budget_usage.c.purpose.in_({window.purpose for window in windows}),
                    budget_usage.c.window_start.in_(starts),
                )
            )
            used: dict[tuple[str, str, datetime], int] = {
                (row[0], row[1], row[2]): row[3] for row in found
            }
        return min(
            max(0, window.limit - used.get((window.purpose, window.kind, window.start), 0))
            for window in windows
        )
