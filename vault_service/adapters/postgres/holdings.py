"""What is stored beside values, in PostgreSQL; meets
:class:`~vault_service.domain.report_ports.HoldingsReader`.

The token table has no index on classes, which every insert would pay for. A class is
found by walking the primary key, a bounded number of rows a page.
"""

import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.schema import data_keys, token_subjects, tokens
from vault_service.domain.holdings import Holding, TokenEntry
from vault_service.domain.report_ports import TokenQuery

WALKED: Final = 50_000
"""Rows that one page looks at, at the most."""
_BETWEEN: Final = "\n"
"""Between token and subject in a cursor; neither may hold it."""
_SLOW: Final = sa.text("SET LOCAL statement_timeout = '280s'")
_EDGE: Final = 256

_TOLD: Final = ("token", "data_class", "subject", "tags", "created_at", "expires_at")

_columns = tokens.c


class PostgresHoldings:
    """The token table of one database, without its values. A page of a class looks at
    ``walked`` rows at the most."""

    def __init__(self, database: Database, *, walked: int = WALKED) -> None:
        self._database = database
        self._walked = walked

    async def tokens(self, query: TokenQuery) -> tuple[Sequence[TokenEntry], str | None]:
        """See :class:`~vault_service.domain.report_ports.HoldingsReader`."""
        if query.subjects is not None:
            return await self._of_subjects(query, query.subjects)
        walked = (
            sa.select(tokens)
            .where(_columns.tenant == query.tenant, _columns.token > (query.cursor or ""))
            .order_by(_columns.token)
            .limit(self._walked)
            .subquery()
        )
        wanted = (
            sa.select(*(walked.c[name] for name in _TOLD))
            .where(walked.c.data_class == query.data_class, *_overdue(query, walked.c))
            .order_by(walked.c.token)
            .limit(query.limit)
        )
        last = (
            sa.select(_columns.token)
            .where(_columns.tenant == query.tenant, _columns.token > (query.cursor or ""))
            .order_by(_columns.token)
            .offset(self._walked - 1)
            .limit(1)
        )
        async with self._database.transaction(query.tenant) as connection:
            rows = [_entry(row) for row in await connection.execute(wanted)]
            if len(rows) < query.limit:
                return rows, (await connection.execute(last)).scalar_one_or_none()
        kept = rows[: _edge(rows)]
        return kept, kept[-1].token

    async def _of_subjects(
        self, query: TokenQuery, subjects: Sequence[str]
    ) -> tuple[Sequence[TokenEntry], str | None]:
        theirs = sa.union_all(
            sa.select(_columns.token, _columns.subject).where(
                _columns.tenant == query.tenant, _columns.subject.in_(subjects)
            ),
            sa.select(token_subjects.c.token, token_subjects.c.subject).where(
                token_subjects.c.tenant == query.tenant, token_subjects.c.subject.in_(subjects)
            ),
        ).subquery()
        told = [theirs.c.subject if name == "subject" else _columns[name] for name in _TOLD]
        after, _, of = (query.cursor or "").partition(_BETWEEN)
        wanted = (
            sa.select(*told)
            .join(tokens, sa.and_(_columns.token == theirs.c.token))
            .where(
                _columns.tenant == query.tenant,
                _columns.data_class == query.data_class,
                sa.tuple_(_columns.token, theirs.c.subject) > sa.tuple_(after, of),
                *_overdue(query, _columns),
            )
            .order_by(_columns.token, theirs.c.subject)
            .limit(query.limit)
        )
        async with self._database.transaction(query.tenant) as connection:
            rows = [_entry(row) for row in await connection.execute(wanted)]
        if len(rows) < query.limit:
            return rows, None
        return rows, f"{rows[-1].token}{_BETWEEN}{rows[-1].subject}"

    async def holdings(
        self, tenant: str, retained_since: Mapping[str, datetime], at: datetime
    ) -> Sequence[Holding]:
        """See :class:`~vault_service.domain.report_ports.HoldingsReader`."""
        outlived = [
            sa.and_(_columns.data_class == name, _columns.created_at <= since)
            for name, since in retained_since.items()
        ]
        overdue = sa.or_(_columns.expires_at <= at, *outlived)
        counted = (
            sa.select(
                _columns.data_class,
                _columns.key_id,
                sa.func.count().label("tokens"),
                sa.func.count(_columns.subject.distinct()).label("subjects"),
                sa.func.min(_columns.created_at).label("oldest"),
                sa.func.max(_columns.created_at).label("newest"),
                sa.func.count().filter(overdue).label("overdue"),
            )
            .where(_columns.tenant == tenant)
            .group_by(_columns.data_class, _columns.key_id)
            .subquery()
        )
        query = (
            sa.select(counted, data_keys.c.epoch, data_keys.c.state, data_keys.c.created_at)
            .join(data_keys, data_keys.c.id == counted.c.key_id)
            .order_by(counted.c.data_class, data_keys.c.epoch)
        )
        async with self._database.transaction(tenant) as connection:
            await connection.execute(_SLOW)
            return [
                Holding(
                    data_class=row.data_class,
                    tags=(),
                    key_id=row.key_id,
                    epoch=row.epoch,
                    key_state=row.state,
                    key_created_at=row.created_at,
                    tokens=row.tokens,
                    subjects=row.subjects,
                    oldest=row.oldest,
                    newest=row.newest,
                    overdue=row.overdue,
                    retention_days=None,
                )
                for row in await connection.execute(query)
            ]


def _overdue(query: TokenQuery, columns: Any) -> list[sa.ColumnElement[bool]]:
    if query.overdue_at is None:
        return []
    outlived = columns.expires_at <= query.overdue_at
    if query.retained_since is not None:
        outlived = sa.or_(outlived, columns.created_at <= query.retained_since)
    return [outlived]


def _edge(rows: Sequence[TokenEntry]) -> int:
    """Where to end a full page: at a token that its own text picks. A job that begins again
    then meets the same pages behind a row that came or went, and what it read before is not
    counted again."""
    for end in range(len(rows), len(rows) // 2, -1):
        if zlib.crc32(rows[end - 1].token.encode()) % _EDGE == 0:
            return end
    return len(rows)


def _entry(row: sa.Row[Any]) -> TokenEntry:
    tags = row.tags if isinstance(row.tags, dict) else {}
    return TokenEntry(
        row.token,
        row.data_class,
        row.subject,
        {name: str(value) for name, value in tags.items()},
        row.created_at,
        row.expires_at,
    )
