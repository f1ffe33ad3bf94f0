"""What is stored beside values, in PostgreSQL; meets
:class:`~vault_service.domain.report_ports.HoldingsReader`.

The token table has no index on classes, which every insert would pay for. A class is
found by walking the primary key, a bounded number of rows a page.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import repeat
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from vault_service.adapters.postgres.binary import TextArray
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.holding_pages import BETWEEN, Links, Page
from vault_service.adapters.postgres.rows import parse_tags
from vault_service.adapters.postgres.schema import data_keys, token_subjects, tokens
from vault_service.domain.holdings import Holding, TokenEntry
from vault_service.domain.report_ports import TokenQuery

WALKED: Final = 50_000
"""Rows that one page looks at, at the most."""
_SLOW: Final = sa.text("SET LOCAL statement_timeout = '280s'")

_TOLD: Final = ("token", "subject", "tags", "created_at", "expires_at")
_SELDOM: Final = frozenset({"subject", "tags", "expires_at"})
_NO_TAGS: Final[Mapping[str, str]] = {}

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
        once = query.overdue_at is not None
        after, _, of = (query.cursor or "").partition(BETWEEN)
        # Within a token's people, the token itself is looked at again.
        begun = BETWEEN in (query.cursor or "")
        mine = [
            _columns.tenant == query.tenant,
            _columns.token >= after if begun else _columns.token > after,
        ]
        if query.among is not None:
            mine.append(_columns.token == _any(query.among))
        if query.within is not None and query.within.after is not None:
            mine.append(_columns.token > query.within.after)
        if query.within is not None and query.within.until is not None:
            mine.append(_columns.token <= query.within.until)
        ordered = sa.select(tokens).where(*mine).order_by(_columns.token)
        walked = ordered.limit(self._walked).subquery()
        wanted = (
            sa.select(*(walked.c[name] for name in _TOLD))
            .where(walked.c.data_class == query.data_class, *_overdue(query, walked.c))
            .order_by(walked.c.token)
            .limit(query.limit)
        )
        last = (
            sa.select(_columns.token)
            .where(*mine)
            .order_by(_columns.token)
            .offset(self._walked - 1)
            .limit(1)
        )
        async with self._database.transaction(query.tenant) as connection:
            rows = _entries((await connection.execute(_by_column(wanted))).one(), query.data_class)
            following = rows[-1].token if len(rows) == query.limit else None
            if following is None:
                following = (await connection.execute(last)).scalar_one_or_none()
            links = Links() if once else await self._links(connection, query, rows, after, of)
        page = Page(query.limit)
        if links or begun:
            for row in rows:
                if not page.take(row, links, begun=begun and row.token == after):
                    break
        else:
            page.take_all(rows)
        return page.cut(following)

    async def _links(
        self,
        connection: AsyncConnection,
        query: TokenQuery,
        rows: Sequence[TokenEntry],
        after: str,
        of: str,
    ) -> Links:
        """The other people of these tokens, as far as one page reads."""
        if not rows:
            return Links()
        linked = token_subjects.c
        # Most pages have none, which is seen in one place of the index; asking for each
        # token looks into a thousand.
        any_between = sa.select(linked.token).where(
            linked.tenant == query.tenant,
            linked.token >= rows[0].token,
            linked.token <= rows[-1].token,
        )
        if (await connection.execute(any_between.limit(1))).first() is None:
            return Links()
        statement = (
            sa.select(linked.token, linked.subject)
            .where(
                linked.tenant == query.tenant,
                linked.token == _any([row.token for row in rows]),
                sa.tuple_(linked.token, linked.subject) > sa.tuple_(after, of),
            )
            .order_by(linked.token, linked.subject)
            .limit(query.limit)
        )
        found = [(row.token, row.subject) for row in await connection.execute(statement)]
        return Links(found, whole=len(found) < query.limit)

    async def _of_subjects(
        self, query: TokenQuery, subjects: Sequence[str]
    ) -> tuple[Sequence[TokenEntry], str | None]:
        theirs = sa.union_all(
            sa.select(_columns.token, _columns.subject).where(
                _columns.tenant == query.tenant, _columns.subject == _any(subjects)
            ),
            sa.select(token_subjects.c.token, token_subjects.c.subject).where(
                token_subjects.c.tenant == query.tenant,
                token_subjects.c.subject == _any(subjects),
            ),
        ).subquery()
        told = [theirs.c.subject if name == "subject" else _columns[name] for name in _TOLD]
        after, _, of = (query.cursor or "").partition(BETWEEN)
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
            rows = _entries((await connection.execute(_by_column(wanted))).one(), query.data_class)
        if len(rows) < query.limit:
            return rows, None
        return rows, f"{rows[-1].token}{BETWEEN}{rows[-1].subject}"

    async def holdings(
        self, tenant: str, retained_since: Mapping[str, datetime], at: datetime
    ) -> Sequence[Holding]:
        """See :class:`~vault_service.domain.report_ports.HoldingsReader`."""
        outlived = [
            sa.and_(_columns.data_class == name, _columns.created_at <= since)
            for name, since in retained_since.items()
        ]
        overdue = sa.or_(_columns.expires_at <= at, *outlived)
        linked = sa.and_(
            token_subjects.c.token == _columns.token, token_subjects.c.tenant == _columns.tenant
        )
        owned = sa.union_all(
            sa.select(_columns.data_class, _columns.key_id, _columns.subject).where(
                _columns.tenant == tenant, _columns.subject.is_not(None)
            ),
            sa.select(_columns.data_class, _columns.key_id, token_subjects.c.subject)
            .join(token_subjects, linked)
            .where(_columns.tenant == tenant),
        ).subquery()
        people = (
            sa.select(
                owned.c.data_class,
                owned.c.key_id,
                sa.func.count(owned.c.subject.distinct()).label("subjects"),
            )
            .group_by(owned.c.data_class, owned.c.key_id)
            .subquery()
        )
        counted = (
            sa.select(
                _columns.data_class,
                _columns.key_id,
                sa.func.count().label("tokens"),
                sa.func.min(_columns.created_at).label("oldest"),
                sa.func.max(_columns.created_at).label("newest"),
                sa.func.count().filter(overdue).label("overdue"),
            )
            .where(_columns.tenant == tenant)
            .group_by(_columns.data_class, _columns.key_id)
            .subquery()
        )
        same = sa.and_(
            people.c.data_class == counted.c.data_class, people.c.key_id == counted.c.key_id
        )
        key = data_keys.c
        query = (
            sa.select(
                *(counted, people.c.subjects, key.epoch, key.state, key.created_at, key.wrapper)
            )
            .join(data_keys, key.id == counted.c.key_id)
            .outerjoin(people, same)
            .order_by(counted.c.data_class, key.epoch)
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
                    subjects=row.subjects or 0,
                    oldest=row.oldest,
                    newest=row.newest,
                    overdue=row.overdue,
                    retention_days=None,
                    wrapping_key=row.wrapper,
                )
                for row in await connection.execute(query)
            ]


def _any(texts: Sequence[str]) -> sa.ColumnElement[Any]:
    """Any of these: as one array that is built in bulk, since a parameter each takes longer
    than their rows."""
    return sa.any_(sa.literal(TextArray(texts), sa.types.NullType()))


def _overdue(query: TokenQuery, columns: Any) -> list[sa.ColumnElement[bool]]:
    if query.overdue_at is None:
        return []
    outlived = columns.expires_at <= query.overdue_at
    if query.retained_since is not None:
        outlived = sa.or_(outlived, columns.created_at <= query.retained_since)
    return [outlived]


def _by_column(ordered: sa.Select[Any]) -> sa.Select[Any]:
    """The rows of an ordered query as one row with an array for each column of ``_TOLD``,
    which is null where the column is in all of them: read row by row, a page takes the
    service four times as long."""
    rows = ordered.subquery().c
    columns = []
    for name in _TOLD:
        values: sa.ColumnElement[Any] = rows[name]
        if name == "tags":
            values = sa.cast(values, sa.Text)
        # Its inputs come from an ordered subquery and from nothing else, so in order.
        column: sa.ColumnElement[Any] = sa.func.array_agg(values, type_=sa.types.NullType())
        if name in _SELDOM:
            column = sa.case((sa.func.count(values) > 0, column))
        columns.append(column.label(name))
    return sa.select(*columns)


def _entries(row: sa.Row[Any], data_class: str) -> list[TokenEntry]:
    made = map(
        TokenEntry,
        row.token or (),
        repeat(data_class),
        row.subject or repeat(None),
        map(_tags, row.tags) if row.tags else repeat(_NO_TAGS),
        row.created_at or (),
        row.expires_at or repeat(None),
    )
    return list(made)


def _tags(text: str | None) -> Mapping[str, str]:
    return dict(parse_tags(text))
