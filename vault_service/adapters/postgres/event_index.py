"""Finds events by the tokens and subjects that they name.

An index that every insert keeps up to date cost as much as storing the tokens did, and
more the larger it grew. So the events are indexed behind the log instead, many at a time,
in segments (``migrations/0004``); what is in no segment yet is looked through. What the
index says is a hint: its keys are short, and every hit is compared with the event.
"""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from vault_service.adapters.postgres.engine import Database

HITS: Final = 1000
"""Hits that are asked for at once."""
NEWEST: Final = (1 << 63) - 1

Hit: TypeAlias = tuple[int, datetime]
"""An event's position and time."""

_LEAST_EVENTS: Final = 8192
_LEAST_TERMS: Final = 65_536
"""What makes a segment. Below that it takes a search a few milliseconds to look through."""
_INDEX: Final = sa.text("SELECT strongroom.index_events(:events, :terms)")
_FIND: Final = sa.text(
    "SELECT position, occurred_at"
    " FROM strongroom.find_events(CAST(:terms AS integer[]), :below, :most)"
)


class PostgresEventIndex:
    """The index of one log, which any process may extend. A segment takes ``least_events``
    events, or as many as name ``least_terms`` tokens and subjects."""

    def __init__(
        self,
        database: Database,
        *,
        least_events: int = _LEAST_EVENTS,
        least_terms: int = _LEAST_TERMS,
    ) -> None:
        self._database = database
        self._least = {"events": least_events, "terms": least_terms}

    async def extend(self) -> bool:
        """Index or merge some of what is due; whether there may be more. It takes a second
        at the most. Raises ``database_unavailable``."""
        async with self._database.transaction() as connection:
            return bool((await connection.execute(_INDEX, self._least)).scalar_one())


async def find(
    connection: AsyncConnection, terms: Sequence[int], below: int, most: int | None = None
) -> list[Hit]:
    """The highest positions below ``below`` of events that have any of the terms, in the
    tenant of the transaction: newest first, ``most`` at the most."""
    rows = await connection.execute(_FIND, {"terms": list(terms), "below": below, "most": most})
    return [(row[0], row[1]) for row in rows]


async def pages(
    connection: AsyncConnection, terms: Sequence[int], below: int
) -> AsyncGenerator[list[Hit], None]:
    """All of :func:`find`, a page at a time."""
    while hits := await find(connection, terms, below, HITS):
        yield hits
        below, _ = hits[-1]
