"""A long audit log, made quickly: months of events through the service's own statement.

Filled through the service it would take hours. The bytes, columns and rights are the
service's; only how many events share a commit is not. Events go in by their time, as the
verifier wants them: other processes make them up, one connection appends them.
"""

import multiprocessing
import sys
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import psycopg

from bench.service import Database
from bench.traffic import CLASSES, MEAN_PEOPLE, Traffic, sample_policies, subject_of, token_of
from vault_service.adapters.postgres import statements
from vault_service.adapters.postgres.audit import event_columns
from vault_service.adapters.postgres.binary import register
from vault_service.adapters.postgres.schema import SERVICE_ROLE

TENANT: Final = "main"
_MONTHS: Final = timedelta(days=300)
"""Less than the year that events are kept."""
_BATCH: Final = 2000
_PROCESSES: Final = 2
_AHEAD: Final = 8
"""Batches that are made up before they are wanted."""
_SHOWN_EACH: Final = 100_000
_EVENTS_EACH: Final = 40
"""Events about a person, on average: a third as many about each of the person's tokens."""
_WATCHED: Final = 500
# A log that grew old had the partition of each month before the month began.
_PARTITIONS: Final = (
    "SELECT strongroom.add_audit_partition(month::date) FROM generate_series("
    " date_trunc('month', %s AT TIME ZONE 'UTC'),"
    " date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month',"
    " interval '1 month') AS month"
)
_TOKENS: Final = (
    "INSERT INTO strongroom.tokens (tenant, token, data_class, key_id, ciphertext, subject,"
    " created_at) SELECT %s, r.token, r.data_class, 1, '\\x00', r.subject, now()"
    " FROM unnest(%s::text[], %s::text[], %s::text[]) AS r (token, data_class, subject)"
)


class History:
    """A log of ``events`` events over ten months until now, of which more and more are in
    the database. It must be empty to begin with: nothing is recorded before those.
    ``mentions`` counts the events so far by the subjects and tokens that are watched, to
    hold a search against."""

    def __init__(self, database: Database, events: int) -> None:
        self._database = database
        self._events = events
        self._begin = datetime.now(UTC) - _MONTHS
        self._filled = 0
        self._people = max(2 * _WATCHED, int(events * MEAN_PEOPLE / _EVENTS_EACH))
        self.watched = range(0, self._people, self._people // _WATCHED)
        self.mentions: Counter[str] = Counter()
        self._prepare()

    def fill(self, upto: int) -> None:
        """Go on until there are ``upto`` events."""
        with psycopg.connect(self._database.url, autocommit=True) as connection:
            register(connection)
            connection.execute(f"SET ROLE {SERVICE_ROLE}")
            for columns, mentions in self._made_up(upto):
                connection.execute(statements.APPEND_EVENTS, (TENANT, *columns), prepare=True)
                self.mentions.update(mentions)
        self._filled = upto

    def _made_up(self, upto: int) -> Iterator[tuple[tuple[Any, ...], Counter[str]]]:
        """Batches in order, made up in other processes, a few ahead."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(_PROCESSES, mp_context=context) as pool:
            ahead = deque[Any]()
            for start in range(self._filled, upto, _BATCH):
                stop = min(start + _BATCH, upto)
                ahead.append(
                    pool.submit(
                        _batch, self._people, self.watched, self._begin, self._pace, start, stop
                    )
                )
                if len(ahead) > _AHEAD:
                    yield ahead.popleft().result()
                if start % _SHOWN_EACH == 0:
                    print(f"  filling {start:,} of {self._events:,}", file=sys.stderr, flush=True)
            for left in ahead:
                yield left.result()

    @property
    def _pace(self) -> timedelta:
        return _MONTHS / self._events

    def _prepare(self) -> None:
        """Make the partitions of the months gone by, and store the tokens of the people who
        are watched, which lead to their events."""
        rows = [(token_of(n, c), c, subject_of(n)) for n in self.watched for c in CLASSES]
        with psycopg.connect(self._database.superuser_url, autocommit=True) as connection:
            connection.execute(_PARTITIONS, (self._begin,))
            connection.execute(_TOKENS, (TENANT, *map(list, zip(*rows, strict=True))))


def _batch(
    people: int, watched: range, begin: datetime, pace: timedelta, start: int, stop: int
) -> tuple[tuple[Any, ...], Counter[str]]:
    """The columns of the events from ``start`` up to ``stop``, and how many of them mention
    each of the watched."""
    traffic = Traffic(sample_policies(), people, seed=start)
    events = [traffic.event(number, begin + number * pace) for number in range(start, stop)]
    names = _names(watched)
    mentions: Counter[str] = Counter()
    for event in events:
        mentions.update(names.intersection((*event.tokens, *event.subjects)))
    return event_columns(events), mentions


@cache
def _names(watched: range) -> frozenset[str]:
    tokens = {token_of(person, name) for person in watched for name in CLASSES}
    return frozenset(tokens | {subject_of(person) for person in watched})
