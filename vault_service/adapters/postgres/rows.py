"""Rows of the token table on their way in and out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import repeat
from typing import Any

from vault_service.adapters.postgres.binary import ByteaArray, TextArray
from vault_service.domain.access import Tags
from vault_service.domain.tokens import StoredBatch, TokenBatch, TokenRecord


def tags_text(tags: Tags) -> str | None:
    """Tags as the JSON that the database holds; none are a null."""
    return json.dumps(dict(tags), ensure_ascii=False) if tags else None


@lru_cache(maxsize=1024)
def parse_tags(text: str | None) -> Tags:
    """Tags from the database's JSON; other JSON than an object of strings comes out as
    something that no digest of tags matches, so an edited row fails to decrypt."""
    if text is None:
        return ()
    try:
        found = json.loads(text)
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        return (("", text),)
    return tuple(sorted((name, str(value)) for name, value in found.items()))


def record(row: Sequence[Any]) -> TokenRecord:
    """A record from the first seven columns of ``DESCRIBE`` or ``FIND``."""
    token, data_class, key_id, ciphertext, tags, subject, expires_at, *_ = row
    return TokenRecord(token, data_class, key_id, ciphertext, parse_tags(tags), subject, expires_at)


def records(row: Sequence[Any]) -> dict[str, TokenRecord]:
    """The records in a row of ``FETCH``, by token: what they share, then a list for each
    column, ``None`` where it is null in all of them."""
    data_class, key_id, tags, tokens, ciphertexts, subjects, expiries = row
    made = map(
        TokenRecord,
        tokens,
        repeat(data_class),
        repeat(key_id),
        ciphertexts,
        repeat(parse_tags(tags)),
        subjects or repeat(None),
        expiries or repeat(None),
    )
    return dict(zip(tokens, made, strict=True))


@dataclass(slots=True)
class Row:
    """One row to insert, with where it came from."""

    batch: TokenBatch
    position: int

    @property
    def token(self) -> str:
        """The candidate token."""
        return self.batch.tokens[self.position]

    @property
    def blind_index(self) -> bytes | None:
        """The blind index, if the class is deterministic."""
        indexes = self.batch.blind_indexes
        return None if indexes is None else indexes[self.position]

    @property
    def subject(self) -> str | None:
        """The subject, if one was given."""
        subjects = self.batch.subjects
        return None if subjects is None else subjects[self.position]

    @property
    def expires_at(self) -> datetime | None:
        """The expiry, if one was given."""
        expiries = self.batch.expires_at
        return None if expiries is None else expiries[self.position]


def merged(batches: Sequence[TokenBatch]) -> list[Row]:
    """All rows, ascending by blind index, so that concurrent transactions that share
    values wait for each other and never deadlock."""
    rows = [Row(batch, position) for batch in batches for position in range(len(batch))]
    rows.sort(key=lambda row: row.blind_index or b"")
    return rows


def batch_columns(tenant: str, batch: TokenBatch) -> tuple[Any, ...]:
    """The parameters of ``STORE_NEW_BATCH`` before the events'."""
    return (
        tenant,
        batch.data_class,
        batch.key_id,
        batch.index_key_id,
        tags_text(batch.tags),
        TextArray(batch.tokens),
        ByteaArray(batch.ciphertexts),
        ByteaArray(batch.blind_indexes or [None] * len(batch)),
    )


def row_columns(tenant: str, rows: Sequence[Row]) -> tuple[Any, ...]:
    """The parameters of ``INSERT_ROWS``, and of ``STORE_NEW`` before the events'."""
    return (
        tenant,
        TextArray([row.token for row in rows]),
        TextArray([row.batch.data_class for row in rows]),
        TextArray([str(row.batch.key_id) for row in rows]),
        ByteaArray([row.batch.ciphertexts[row.position] for row in rows]),
        ByteaArray([row.blind_index for row in rows]),
        TextArray(
            [
                None if row.batch.index_key_id is None else str(row.batch.index_key_id)
                for row in rows
            ]
        ),
        TextArray([tags_text(row.batch.tags) for row in rows]),
        TextArray([row.subject for row in rows]),
        TextArray([None if (at := row.expires_at) is None else at.isoformat() for row in rows]),
    )


def outcomes(batches: Sequence[TokenBatch], winners: dict[bytes, TokenRecord]) -> list[StoredBatch]:
    """What became of each batch, given the rows that stood there before."""
    if not winners:
        return [StoredBatch(batch.tokens, {}) for batch in batches]
    found: list[StoredBatch] = []
    for batch in batches:
        stored = StoredBatch(list(batch.tokens), {})
        for position, index in enumerate(batch.blind_indexes or ()):
            winner = winners.get(index)
            if winner is not None and winner.token != batch.tokens[position]:
                stored.tokens[position] = winner.token
                stored.known[position] = winner
        found.append(stored)
    return found
