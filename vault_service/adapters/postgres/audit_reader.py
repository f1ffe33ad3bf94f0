"""Finds recorded events. Implements :class:`~vault_service.domain.ports.AuditReader`."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from vault_service.adapters.postgres.audit import subject_term, token_term
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.schema import audit_events
from vault_service.domain.events import mentions
from vault_service.domain.ports import AuditQuery


class PostgresAuditReader:
    """Reads the events of one tenant at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(self, query: AuditQuery) -> Sequence[tuple[int, bytes]]:
        """Positions and canonical bytes of matching events, newest first."""
        c = audit_events.c
        statement = (
            sa.select(c.position, c.body)
            .where(c.tenant == query.tenant)
            .order_by(c.position.desc())
            .limit(query.limit)
        )
        for column, wanted in (
            (c.principal, query.principal),
            (c.action, query.action),
            (c.outcome, query.outcome),
            (c.purpose, query.purpose),
        ):
            if wanted is not None:
                statement = statement.where(column == wanted)
        if query.data_class is not None:
            statement = statement.where(c.data_classes.contains([query.data_class]))
        if query.since is not None:
            statement = statement.where(c.occurred_at >= query.since)
        if query.until is not None:
            statement = statement.where(c.occurred_at < query.until)
        wanted_terms = [token_term(query.token)] if query.token is not None else []
        wanted_terms += [subject_term(query.subject)] if query.subject is not None else []
        if not wanted_terms:
            if query.before is not None:
                statement = statement.where(c.position < query.before)
            async with self._database.transaction(query.tenant) as connection:
                return [(row[0], row[1]) for row in await connection.execute(statement)]
        hits = sa.func.strongroom.find_events(sa.cast(wanted_terms, ARRAY(sa.Integer)))
        statement = statement.where(c.position.in_(sa.select(hits.column_valued())))
        return await self._sifted(statement, query)

    async def _sifted(
        self, statement: "sa.Select[int, bytes]", query: AuditQuery
    ) -> Sequence[tuple[int, bytes]]:
        """Terms are short keys and can collide: keep asking until enough events truly
        mention what was asked for, or there are no more."""
        found: list[tuple[int, bytes]] = []
        before = query.before
        async with self._database.transaction(query.tenant) as connection:
            while True:
                page = statement
                if before is not None:
                    page = statement.where(audit_events.c.position < before)
                rows = [(row[0], row[1]) for row in await connection.execute(page)]
                for position, body in rows:
                    if mentions(body, token=query.token, subject=query.subject):
                        found.append((position, body))
                if len(found) >= query.limit or len(rows) < query.limit:
                    return found[: query.limit]
                before = rows[-1][0]
