"""What a token costs in a large table beside a small one.

The large table is filled directly with rows like the vault's, since filling it
through the vault would take longer and measure nothing more.
"""

import statistics
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import psycopg

from bench.figures import CALLERS
from bench.floor import rows
from bench.load import drive, request
from bench.service import Service, databases, running
from bench.values import card_numbers, tokenize_body

SMALL: Final = 100_000
_ROUNDS: Final = 13
"""No more: some further, and what they write to the log would set off a checkpoint."""
_BATCHES: Final = 40
"""Of 1,000, a round: some of the third of a second that fewer take is starting and ending."""
_WARM_UP: Final = 50
_WARM_UP_LARGE: Final = 400
"""Batches before the clock runs. PostgreSQL writes a whole page to its log when the page
is first changed after a checkpoint; a large table has many to begin with, and between two
checkpoints of a busy server that share of the work is small."""
_FILL: Final = 250_000
_AT_ONCE: Final = 50_000
_ROWS: Final = """
INSERT INTO strongroom.tokens (tenant, token, data_class, key_id, ciphertext, blind_index,
    index_key_id, created_at)
SELECT 'main', r.t, 'pan', 1, r.c, r.b, 1, now()
FROM unnest(%b::text[], %b::bytea[], %b::bytea[]) AS r (t, c, b)
"""


def _fill(table: psycopg.Connection, count: int) -> None:
    """Add rows whose tokens are drawn as the vault draws them: those of a narrower alphabet
    would leave gaps in the index, where nearly everything new would meet in a few pages."""
    for start in range(0, count, _AT_ONCE):
        table.execute(_ROWS, rows(min(_AT_ONCE, count - start)))


def measure(folder: Path, large: int) -> dict[str, float]:
    """Items a second in a table of 100,000 rows and of ``large`` rows, and the ratio of
    the costs: the median of the rounds, each of which has one right after the other."""
    with (
        databases(folder / "home", "small", "large") as (at_first, at_last),
        running(at_first) as beside,
        running(at_last) as service,
        psycopg.connect(at_first.superuser_url, autocommit=True) as small_table,
        psycopg.connect(at_last.superuser_url, autocommit=True) as large_table,
    ):
        for start in range(0, large, _FILL):
            _fill(large_table, min(_FILL, large - start))
            print(f"  filled {start + _FILL:,} of {large:,}", file=sys.stderr, flush=True)
        at_last.vacuum()
        values = card_numbers(_ROUNDS)
        _rate(service, values, _WARM_UP_LARGE)
        rates: list[dict[str, float]] = []
        for number in range(_ROUNDS):
            # Each time anew, or the small table would grow large.
            small_table.execute("TRUNCATE strongroom.tokens CASCADE")
            _fill(small_table, SMALL)
            small_table.execute("VACUUM ANALYZE strongroom.tokens")
            _rate(beside, values, _WARM_UP)
            # Which comes first alternates, so that neither always meets the warmer machine.
            turn = [("small", beside), ("large", service)][:: 1 if number % 2 else -1]
            rates.append({name: _rate(one, values, _BATCHES) for name, one in turn})
    return {
        "small": statistics.median(found["small"] for found in rates),
        "large": statistics.median(found["large"] for found in rates),
        "rows": float(large),
        "cost": statistics.median(found["small"] / found["large"] for found in rates),
    }


def _rate(service: Service, values: Iterator[str], batches: int) -> float:
    bodies = (tokenize_body(list(islice(values, 1000))) for _ in range(batches))
    prepared = [request("/v1/tokenize", service.key, body, service.port) for body in bodies]
    return batches * 1000 / drive(service.port, prepared, CALLERS).seconds
