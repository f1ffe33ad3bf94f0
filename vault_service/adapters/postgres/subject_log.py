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
from vault_service.domain.access import Action

# Of the person's tokens at once, of positions at once, and of events: one of these can
# have a megabyte.
_TOKENS: Final = 5000
_POSITIONS: Final = 1001
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
_FIND: Final = sa.text(
    "SELECT DISTINCT hit FROM unnest(CAST(:terms AS integer[])) AS term,"
    " LATERAL strongroom.find_events(ARRAY[term]) AS hit"
    f" WHERE hit < :before ORDER BY hit DESC LIMIT {_POSITIONS}"
)
_DELETIONS: Final = sa.text(
    "SELECT body FROM strongroom.audit_events WHERE tenant = :tenant AND action = :action"
    " AND position IN (SELECT strongroom.find_events(ARRAY[CAST(:term AS integer)]))"
)
_BODIES: Final = sa.text(
    "SELECT position, body FROM strongroom.audit_events WHERE tenant = :tenant"
    " AND position = ANY(CAST(:positions AS bigint[])) ORDER BY position DESC"
)
_NEWEST: Final = (1 << 63) - 1


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
            lowest = _NEWEST if before is None else before
            while positions := await search.positions(gone, lowest):
                for start in range(0, len(positions), _EVENTS):
                    for event in await search.mentions(positions[start : start + _EVENTS], gone):
                        yield event
                lowest = positions[-1]


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
            _DELETIONS, {"tenant": self._tenant, "action": Action.DELETE_TOKEN, "term": term}
        )
        return frozenset(
            token
            for (body,) in rows
            for group in _decode(body).groups
            if group.outcome == "ok" and self._subject in group.subjects
            for token in group.tokens
        )

    async def positions(self, gone: frozenset[str], before: int) -> list[int]:
        """The highest positions below ``before`` of events that may be about the person."""
        first = [subject_term(self._subject), *map(token_term, sorted(gone))]
        newest = await self._hits(first, before)
        after = ""
        while True:
            rows = await self._connection.execute(_OWN_AFTER, {**self._person, "after": after})
            tokens = [row[0] for row in rows]
            if tokens:
                found = await self._hits([token_term(token) for token in tokens], before)
                newest = sorted({*newest, *found}, reverse=True)[:_POSITIONS]
            if len(tokens) < _TOKENS:
                return newest
            after = tokens[-1]

    async def _hits(self, terms: Sequence[int], before: int) -> list[int]:
        rows = await self._connection.execute(_FIND, {"terms": list(terms), "before": before})
        return [row[0] for row in rows]

    async def mentions(
        self, positions: Sequence[int], gone: frozenset[str]
    ) -> list[tuple[int, bytes, frozenset[str]]]:
        """Those of the events that truly are about the person: search terms collide."""
        rows = await self._connection.execute(
            _BODIES, {"tenant": self._tenant, "positions": list(positions)}
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
