"""How many bytes a token and a request take in the database: ``python -m bench.sizes``.

Through the real service, with a subject on each token, as callers would. Relations are measured
with their indexes and overflow tables, at rest, after everything is sealed; the write-ahead log
from one position to another, full pages after checkpoints included. The figures depend on the
widths of values and subjects, not on the machine.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import psycopg

from bench.figures import CALLERS, SINGLE_CALLERS
from bench.load import Load, drive, request
from bench.sealer import caught_up
from bench.service import Database, Service, database, running
from bench.values import card_numbers, detokenize_body

BATCH: Final = 1000
_GROUPS: Final = {
    "tokens": ("tokens", "token_subjects"),
    "events": ("audit_events",),
    "index behind the log": ("event_segments", "event_postings"),
    "tree": ("log_leaves", "log_tiles", "log_checkpoints"),
}
_SIZE: Final = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'strongroom' AND c.relkind = 'r' AND NOT c.relname LIKE 'report%%'
  AND (c.relname = ANY(%s) OR c.relname ~ ANY(%s))
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of each group of tables, and of the write-ahead log since the beginning."""

    groups: dict[str, int]
    written: int

    def minus(self, earlier: "Sizes") -> "Sizes":
        """What was added since."""
        return Sizes(
            {name: size - earlier.groups[name] for name, size in self.groups.items()},
            self.written - earlier.written,
        )


def measure(service: Service, tokens: int, singles: int) -> Iterator[tuple[str, int, Sizes]]:
    """What ``tokens`` in batches of 1,000 took, then ``singles`` requests of one token, then
    as many that read one: the name, how many, and what was added."""
    values = card_numbers(7)
    port, key = service.port, service.key
    before = _now(service.database)

    def body(count: int, start: int) -> bytes:
        numbers = islice(values, count)
        items = [
            {"data_class": "pan", "value": value, "subject": f"cus_{start + index:010d}"}
            for index, value in enumerate(numbers)
        ]
        return json.dumps({"items": items}, separators=(",", ":")).encode()

    batches = [
        request("/v1/tokenize", key, body(BATCH, number), port)
        for number in range(0, tokens, BATCH)
    ]
    _driven(port, batches, CALLERS)
    after = _now(service.database)
    yield "tokenized, 1,000 a request", tokens, after.minus(before)
    before = after
    ones = [
        request("/v1/tokenize", key, body(1, tokens + number), port) for number in range(singles)
    ]
    answers = _driven(port, ones, SINGLE_CALLERS).answers
    after = _now(service.database)
    yield "tokenized, one a request", singles, after.minus(before)
    before = after
    stored = [
        json.loads(answer.partition(b"\r\n\r\n")[2])["items"][0]["token"] for answer in answers
    ]
    reads = [request("/v1/detokenize", key, detokenize_body([token]), port) for token in stored]
    _driven(port, reads, SINGLE_CALLERS)
    yield "detokenized, one a request", singles, _now(service.database).minus(before)


def _driven(port: int, requests: Sequence[bytes], callers: int) -> Load:
    load = drive(port, list(requests), callers, keep=True)
    if load.unexpected:
        raise RuntimeError(f"statuses other than 200: {load.unexpected}")
    return load


def _now(measured: Database) -> Sizes:
    caught_up(measured)
    measured.vacuum()
    with psycopg.connect(measured.superuser_url, autocommit=True) as connection:

        def one(statement: str, *parameters: object) -> int:
            row = connection.execute(statement.encode(), parameters or None).fetchone()
            assert row is not None
            return int(row[0])

        groups = {
            # Partitions of events are named after their parent.
            name: one(_SIZE, list(tables), [f"^{table}_" for table in tables])
            for name, tables in _GROUPS.items()
        }
        return Sizes(groups, one("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"))


def main() -> None:
    """Measure and print a table in Markdown, bytes by item."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--singles", type=int, default=50_000)
    options = parser.parse_args()
    heads = [*_GROUPS, "all tables", "write-ahead log"]
    print(f"| bytes by item | items | {' | '.join(heads)} |")
    print("|---|---|" + "---|" * len(heads))
    with (
        tempfile.TemporaryDirectory() as home,
        database(Path(home), "sizes") as fresh,
        running(fresh) as service,
    ):
        for name, count, sizes in measure(service, options.tokens, options.singles):
            figures = [*sizes.groups.values(), sum(sizes.groups.values()), sizes.written]
            cells = [f"{figure / count:,.1f}" for figure in figures]
            print(f"| {name} | {count:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
