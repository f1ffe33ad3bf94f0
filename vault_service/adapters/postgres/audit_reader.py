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
        statement = sa.select(c.position, c.body).where(c.tenant == query.tenant)
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
        if wanted_terms:
            return await self._sifted(statement, wanted_terms, query)
        if query.before is not None:
            statement = statement.where(c.position < query.before)
        statement = statement.order_by(c.position.desc()).limit(query.limit)
        async with self._database.transaction(query.tenant) as connection:
            return [(row[0], row[1]) for row in await connection.execute(statement)]

    async def _sifted(
        self, statement: "sa.Select[int, bytes]", wanted_terms: list[int], query: AuditQuery
    ) -> Sequence[tuple[int, bytes]]:
        """Terms are short keys and can collide: keep asking until enough events truly
        mention what was asked for, or there are no more."""
        find = sa.func.strongroom.find_events(sa.cast(wanted_terms, ARRAY(sa.Integer)))
        hits = find.table_valued(sa.column("position"), sa.column("occurred_at"))
        # One at a time, from the newest: joined freely, the planner walks the whole log.
        hit = sa.select(hits).order_by(hits.c.position.desc()).subquery("hit")
        c = audit_events.c
        event = (
            statement.where(c.position == hit.c.position, c.occurred_at == hit.c.occurred_at)
            .limit(1)
            .lateral("event")
        )
        page = (
            sa.select(event.c.position, event.c.body)
            .select_from(hit.join(event, sa.true()))
            .order_by(hit.c.position.desc())
            .limit(query.limit)
        )
        found: list[tuple[int, bytes]] = []
        before = query.before
        async with self._database.transaction(query.tenant) as connection:
            while True:
                below = page if before is None else page.where(hit.c.position < before)
                rows = [(row[0], row[1]) for row in await connection.execute(below)]
                for position, body in rows:
                    if mentions(body, token=query.token, subject=query.subject):
                        found.append((position, body))
                if len(found) >= query.limit or len(rows) < query.limit:
                    return found[: query.limit]
                before = rows[-1][0]
