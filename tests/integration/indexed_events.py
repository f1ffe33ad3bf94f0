"""Events of tokens and subjects for the index, and what the database has of them."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg

from tests.stored import event
from vault_service.adapters.postgres.audit import subject_term, token_term
from vault_service.domain.events import AuditEvent, EventGroup

NOW: Final = datetime.now(UTC)
TENANTS: Final = ("main", "other")


def about(tenant: str, tokens: Sequence[str], subjects: Sequence[str] = ()) -> AuditEvent:
    group = EventGroup(
        "ok", "pan", tokens=tuple(tokens), subjects=tuple(subjects), count=len(tokens)
    )
    return event(tenant, groups=(group,), occurred_at=NOW)


def scattered(draw: random.Random, count: int) -> list[AuditEvent]:
    """Events of two tenants over five months, of few tokens and subjects that both know."""
    days = (-62, -31, 0, 0, 0, 31, 62)
    return [
        event(
            draw.choice(TENANTS),
            groups=(
                EventGroup(
                    "ok",
                    "pan",
                    tokens=tuple(f"t{draw.randrange(30)}" for _ in range(draw.randrange(12))),
                    subjects=tuple(f"s{draw.randrange(9)}" for _ in range(draw.randrange(4))),
                    count=0,
                ),
            ),
            occurred_at=NOW + timedelta(days=draw.choice(days)),
        )
        for _ in range(count)
    ]


def names(found: AuditEvent) -> set[int]:
    return {token_term(t) for t in found.tokens} | {subject_term(s) for s in found.subjects}


async def positions(superuser_url: str) -> dict[str, int]:
    async with await psycopg.AsyncConnection.connect(superuser_url) as connection:
        rows = await connection.execute("SELECT id, position FROM strongroom.audit_events")
        return dict(await rows.fetchall())


async def segments(superuser_url: str) -> list[tuple[int, int, bool]]:
    async with await psycopg.AsyncConnection.connect(superuser_url) as connection:
        rows = await connection.execute(
            "SELECT after_position, last_position, merged FROM strongroom.event_segments"
            " ORDER BY last_position"
        )
        return await rows.fetchall()
