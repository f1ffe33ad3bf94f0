"""A long audit log, made quickly: months of events through the service's own statement.

Filled through the service it would take hours. The bytes, columns and rights are the
service's; only how many events share a commit is not.
"""

import multiprocessing
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg

from bench.traffic import CLASSES, MEAN_PEOPLE, Traffic, sample_policies, subject_of, token_of
from vault_service.adapters.postgres import statements
from vault_service.adapters.postgres.audit import event_columns
from vault_service.adapters.postgres.binary import register
from vault_service.adapters.postgres.schema import SERVICE_ROLE

TENANT: Final = "main"
_MONTHS: Final = timedelta(days=300)
"""Less than the year that events are kept."""
_BATCH: Final = 2000
_SHARE: Final = 10
"""Batches that a process fills in a row."""
_PROCESSES: Final = 2
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
    the database of ``url``. ``mentions`` counts the events so far by the subjects and tokens
    that are watched, to hold a search against."""

    def __init__(self, url: str, events: int) -> None:
        self._url = url
        self._events = events
        self._begin = datetime.now(UTC) - _MONTHS
        self._filled = 0
        self._people = max(2 * _WATCHED, int(events * MEAN_PEOPLE / _EVENTS_EACH))
        self.watched = range(0, self._people, self._people // _WATCHED)
        self.mentions: Counter[str] = Counter()

    def fill(self, upto: int) -> None:
        """Go on until there are ``upto`` events."""
        step = _BATCH * _SHARE
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(_PROCESSES, mp_context=context) as pool:
            starts = range(self._filled, upto, step)
            stops = [min(start + step, upto) for start in starts]
            for stop, found in zip(stops, pool.map(self._append, starts, stops), strict=True):
                self.mentions.update(found)
                print(f"  filled {stop:,} of {self._events:,}", file=sys.stderr, flush=True)
        self._filled = upto

    def prepare(self, superuser_url: str) -> None:
        """Make the partitions of the months gone by, and store the tokens of the people who
        are watched, which lead to their events."""
        rows = [(token_of(n, c), c, subject_of(n)) for n in self.watched for c in CLASSES]
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute(_PARTITIONS, (self._begin,))
            connection.execute(_TOKENS, (TENANT, *map(list, zip(*rows, strict=True))))

    def _append(self, start: int, stop: int) -> Counter[str]:
        """Append the events from ``start`` up to ``stop``, in a process of its own."""
        mentions: Counter[str] = Counter()
        traffic = Traffic(sample_policies(), self._people, seed=start)
        watched = {subject_of(n) for n in self.watched}
        watched |= {token_of(n, c) for n in self.watched for c in CLASSES}
        pace = _MONTHS / self._events
        with psycopg.connect(self._url, autocommit=True) as connection:
            register(connection)
            connection.execute(f"SET ROLE {SERVICE_ROLE}")
            for first in range(start, stop, _BATCH):
                numbers = range(first, min(first + _BATCH, stop))
                events = [traffic.event(n, self._begin + n * pace) for n in numbers]
                connection.execute(
                    statements.APPEND_EVENTS, (TENANT, *event_columns(events)), prepare=True
                )
                for event in events:
                    mentions.update(watched.intersection((*event.tokens, *event.subjects)))
        return mentions
