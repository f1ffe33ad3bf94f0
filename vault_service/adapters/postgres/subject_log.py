"""Finds the events about a person. Implements
:class:`~vault_service.services.timeline.SubjectLog`, by structure.

An event names the subjects that its tokens had at the time, and only the first of each
token. A token may have been given to the person later, or may be several persons', so
events that name one of the person's tokens are found too.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from vault_service.adapters.postgres.audit import subject_term, token_term
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.event_index import HITS, NEWEST, Hit, find
from vault_service.domain.access import Action

# Of the person's tokens at once, of positions at once, and of events: one of these can
# have a megabyte.
_TOKENS: Final = 5000
_POSITIONS: Final = HITS
_EVENTS: Final = 32

_OWN: Final = (
    "(SELECT token FROM strongroom.tokens WHERE tenant = :tenant AND subject = :subject"
    " UNION SELECT token FROM strongroom.token_subjects"
    " WHERE tenant = :tenant AND subject = :subject) AS own"
)
_OWN_AFTER: Final = sa.text(
    f"SELECT token FROM {_OWN} WHERE token > :after ORDER BY token LIMIT {_TOKENS}"
)
_OWN_AMONG: Final = sa.text(
    "SELECT token FROM strongroom.tokens WHERE tenant = :tenant AND subject = :subject"
    " AND token = ANY(CAST(:tokens AS text[]))"
    " UNION SELECT token FROM strongroom.token_subjects"
    " WHERE tenant = :tenant AND subject = :subject AND token = ANY(CAST(:tokens AS text[]))"
)
# One at a time, each in the partition of its time: joined freely, the planner walks the log.
_EVENT: Final = (
    "CROSS JOIN LATERAL (SELECT position, action, body FROM strongroom.audit_events"
    " WHERE tenant = :tenant AND position = hit.position AND occurred_at = hit.occurred_at"
    " LIMIT 1) AS event"
)
_DELETIONS: Final = sa.text(
    "SELECT body FROM strongroom.find_events(ARRAY[CAST(:term AS integer)], :newest, NULL) AS hit"
    f" {_EVENT} WHERE action = :action"
)
_BODIES: Final = sa.text(
    "SELECT event.position, body"
    " FROM unnest(CAST(:positions AS bigint[]), CAST(:times AS timestamptz[]))"
    f" AS hit (position, occurred_at) {_EVENT} ORDER BY event.position DESC"
)


class _Group(msgspec.Struct, gc=False):
    outcome: str
    tokens: list[str] = []
    subjects: list[str] = []


class _Event(msgspec.Struct, gc=False):
    groups: list[_Group] = []


_decode: Final = msgspec.json.Decoder(_Event).decode


class PostgresSubjectLog:
    """Reads the events of one tenant at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def about(
        self, tenant: str, subject: str, before: int | None = None
    ) -> AsyncGenerator[tuple[int, bytes, frozenset[str]], None]:
        """Position, canonical bytes and the subject's tokens of each event that names the
        subject or a token of its, newest first. Raises ``database_unavailable``. Close it
        where it is left before its end: until then it holds a connection."""
        async with self._database.transaction(tenant) as connection:
            search = _Search(connection, tenant, subject)
            gone = await search.deleted()
            lowest = NEWEST if before is None else before
            while hits := await search.hits(gone, lowest):
                for start in range(0, len(hits), _EVENTS):
                    for event in await search.mentions(hits[start : start + _EVENTS], gone):
                        yield event
                lowest, _ = hits[-1]


class _Search:
    def __init__(self, connection: AsyncConnection, tenant: str, subject: str) -> None:
        self._connection = connection
        self._person: dict[str, Any] = {"tenant": tenant, "subject": subject}
        self._tenant = tenant
        self._subject = subject

    async def deleted(self) -> frozenset[str]:
        """Tokens of the person that are no more: their deletion named them."""
        term = subject_term(self._subject)
        rows = await self._connection.execute(
            _DELETIONS,
            {
                "tenant": self._tenant,
                "action": Action.DELETE_TOKEN,
                "term": term,
                "newest": NEWEST,
            },
        )
        return frozenset(
            token
            for (body,) in rows
            for group in _decode(body).groups
            if group.outcome == "ok" and self._subject in group.subjects
            for token in group.tokens
        )

    async def hits(self, gone: frozenset[str], before: int) -> list[Hit]:
        """The highest positions below ``before`` of events that may be about the person."""
        first = [subject_term(self._subject), *map(token_term, sorted(gone))]
        newest = await find(self._connection, first, before, _POSITIONS)
        after = ""
        while True:
            rows = await self._connection.execute(_OWN_AFTER, {**self._person, "after": after})
            tokens = [row[0] for row in rows]
            if tokens:
                terms = [token_term(token) for token in tokens]
                found = await find(self._connection, terms, before, _POSITIONS)
                newest = sorted({*newest, *found}, reverse=True)[:_POSITIONS]
            if len(tokens) < _TOKENS:
                return newest
            after = tokens[-1]

    async def mentions(
        self, hits: Sequence[Hit], gone: frozenset[str]
    ) -> list[tuple[int, bytes, frozenset[str]]]:
        """Those of the events that truly are about the person: search terms collide."""
        positions, times = zip(*hits, strict=True)
        rows = await self._connection.execute(
            _BODIES,
            {"tenant": self._tenant, "positions": list(positions), "times": list(times)},
        )
        read = [(row[0], bytes(row[1]), _decode(row[1]).groups) for row in rows]
        named = {token for _, _, groups in read for group in groups for token in group.tokens}
        own = gone & named | await self._own(named)
        found = []
        for position, body, groups in read:
            tokens = frozenset(t for group in groups for t in group.tokens if t in own)
            if tokens or any(self._subject in group.subjects for group in groups):
                found.append((position, body, tokens))
        return found

    async def _own(self, tokens: set[str]) -> set[str]:
        if not tokens:
            return set()
        rows = await self._connection.execute(_OWN_AMONG, {**self._person, "tokens": list(tokens)})
        return {row[0] for row in rows}
