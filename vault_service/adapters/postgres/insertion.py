"""Find or insert: one token a value, however many ask at once.

The unique index over blind indexes decides who was first. This is the careful way, for
values that may be there already; ``hot_path`` has the quick one for those that are not.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import psycopg

from vault_service.adapters.postgres import statements
from vault_service.adapters.postgres.binary import ByteaArray, TextArray
from vault_service.adapters.postgres.rows import (
    Row,
    merged,
    record,
    row_columns,
)
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.tokens import TokenBatch, TokenRecord

Connection = psycopg.AsyncConnection[Any]

_LOOK_FIRST: Final = 256
"""From so many rows on, known values are looked up before the others are inserted."""
_TRIES: Final = 4


async def find_or_insert(
    connection: Connection, tenant: str, batches: Sequence[TokenBatch]
) -> dict[bytes, TokenRecord]:
    """Insert every row whose value is not there yet; the rows that were, by blind index.

    Re-reads after a conflict, for the winner may be of another transaction.
    """
    rows = merged(batches)
    winners: dict[bytes, TokenRecord] = {}
    if len(rows) >= _LOOK_FIRST:
        winners = await _winners(connection, tenant, rows)
        rows = [row for row in rows if row.blind_index not in winners]
    for _ in range(_TRIES):
        if not rows:
            break
        cursor = await connection.execute(
            statements.INSERT_ROWS,
            row_columns(tenant, rows),
            prepare=True,
            binary=True,
        )
        inserted = {row[0] for row in await cursor.fetchall()}
        rows = [row for row in rows if row.token not in inserted]
        if rows:
            winners |= await _winners(connection, tenant, rows)
            rows = [row for row in rows if row.blind_index not in winners]
    if rows:
        raise VaultError(
            Code.DATABASE_UNAVAILABLE,
            "Values are being stored and deleted at once; repeat.",
        )
    return winners


async def _winners(
    connection: Connection, tenant: str, rows: Sequence[Row]
) -> dict[bytes, TokenRecord]:
    cursor = await connection.execute(
        statements.FIND,
        (
            tenant,
            ByteaArray([row.blind_index for row in rows if row.blind_index is not None]),
        ),
        prepare=False,
        binary=True,
    )
    return {row[7]: record(row) for row in await cursor.fetchall()}


async def complete(
    connection: Connection,
    tenant: str,
    batches: Sequence[TokenBatch],
    winners: dict[bytes, TokenRecord],
) -> None:
    """Bring what a repeat adds to known rows, ``winners``: subjects, a later expiry."""
    adopted: list[tuple[str, str]] = []
    linked: list[tuple[str, str]] = []
    latest: dict[str, datetime | None] = {}
    for batch in batches:
        holders: list[str] = list(batch.tokens)
        for position, index in enumerate(batch.blind_indexes or ()):
            winner = winners.get(index)
            if winner is None or winner.token == holders[position]:
                continue
            row = Row(batch, position)
            holders[position] = winner.token
            if row.subject is not None and row.subject != winner.subject:
                pairs = adopted if winner.subject is None else linked
                pairs.append((winner.token, row.subject))
            if winner.expires_at is not None:
                known = latest.get(winner.token, winner.expires_at)
                later = row.expires_at
                if known is not None and (later is None or later > known):
                    latest[winner.token] = later
        linked.extend((holders[position], subject) for position, subject in batch.links)
    # One entry a token: an UPDATE that finds several takes any of them.
    extended = [(token, "" if at is None else at.isoformat()) for token, at in latest.items()]
    changed = sorted({token for pairs in (adopted, linked, extended) for token, _ in pairs})
    if len(changed) > 1:
        # All at once and in one order, so that whoever changes the same rows waits.
        await connection.execute(statements.LOCK_ROWS, (tenant, TextArray(changed)), prepare=True)
    for statement, pairs in (
        (statements.ADOPT_SUBJECTS, adopted),
        (statements.LINK_SUBJECTS, adopted + linked),
        (statements.EXTEND_EXPIRY, extended),
    ):
        if pairs:
            tokens, values = zip(*pairs, strict=True)
            await connection.execute(
                statement, (TextArray(tokens), TextArray(values), tenant), prepare=False
            )
