"""Finds recorded events. Implements :class:`~vault_service.domain.ports.AuditReader`."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from vault_service.adapters.postgres.audit import subject_term, token_term
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.event_index import NEWEST, pages
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
        # Of the two, a token is in fewer events.
        if query.token is not None:
            return await self._sifted(statement, token_term(query.token), query)
        if query.subject is not None:
            return await self._sifted(statement, subject_term(query.subject), query)
        if query.before is not None:
            statement = statement.where(c.position < query.before)
        statement = statement.order_by(c.position.desc()).limit(query.limit)
        async with self._database.transaction(query.tenant) as connection:
            return [(row[0], row[1]) for row in await connection.execute(statement)]

    async def _sifted(
        self, statement: "sa.Select[int, bytes]", term: int, query: AuditQuery
    ) -> Sequence[tuple[int, bytes]]:
        """Those of the events with the term that truly mention what was asked for: terms
        are short keys and can collide."""
        hit = (
            sa.func.unnest(
                sa.bindparam("positions", type_=ARRAY(sa.BigInteger)),
                sa.bindparam("times", type_=ARRAY(sa.TIMESTAMP(timezone=True))),
            )
            .table_valued("position", "occurred_at")
            .render_derived(name="hit")
        )
        c = audit_events.c
        # One at a time, each in the partition of its time: joined freely, the planner walks
        # the log.
        event = (
            statement.where(c.position == hit.c.position, c.occurred_at == hit.c.occurred_at)
            .limit(1)
            .lateral("event")
        )
        page = (
            sa.select(event.c.position, event.c.body)
            .select_from(hit.join(event, sa.true()))
            .order_by(event.c.position.desc())
        )
        found: list[tuple[int, bytes]] = []
        below = NEWEST if query.before is None else query.before
        async with self._database.transaction(query.tenant) as connection:
            async for hits in pages(connection, [term], below):
                for start in range(0, len(hits), query.limit):
                    positions, times = zip(*hits[start : start + query.limit], strict=True)
                    rows = await connection.execute(
                        page, {"positions": list(positions), "times": list(times)}
                    )
                    found += [
                        (position, body)
                        for position, body in rows
                        if mentions(body, token=query.token, subject=query.subject)
                    ]
                    if len(found) >= query.limit:
                        return found[: query.limit]
        return found
