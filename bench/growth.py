"""What a token costs in a large table beside a small one.

The large table is filled directly with rows as wide as the vault's, since filling it
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
from bench.load import drive, request
from bench.service import Service, databases, running
from bench.values import card_numbers, tokenize_body

SMALL: Final = 100_000
_ROUNDS: Final = 9
_BATCHES: Final = 40
"""Of 1,000, a round: some of the third of a second that fewer take is starting and ending."""
_WARM_UP: Final = 50
_WARM_UP_LARGE: Final = 400
"""Batches before the clock runs. PostgreSQL writes a whole page to its log when the page
is first changed after a checkpoint; a large table has many to begin with, and between two
checkpoints of a busy server that share of the work is small."""
_FILL: Final = 250_000
_ROWS: Final = """
INSERT INTO strongroom.tokens (tenant, token, data_class, key_id, ciphertext, blind_index,
    index_key_id, created_at)
SELECT 'main', 'tok_pan_' || translate(left(encode(sha256(('t' || n)::bytea), 'hex'), 27), 'i',
    '1'), 'pan', 1, sha256(n::text::bytea) || '\\x00112233445566778899aabbcc'::bytea,
    sha256(('b' || n)::bytea), 1, now()
FROM generate_series(%s::bigint, %s::bigint) AS n
"""


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
            large_table.execute(_ROWS, (start + 1, min(start + _FILL, large)))
            print(f"  filled {start + _FILL:,} of {large:,}", file=sys.stderr, flush=True)
        at_last.vacuum()
        values = card_numbers(_ROUNDS)
        _rate(service, values, _WARM_UP_LARGE)
        rates = []
        for _ in range(_ROUNDS):
            # Each time anew, or the small table would grow large.
            small_table.execute("TRUNCATE strongroom.tokens CASCADE")
            small_table.execute(_ROWS, (1, SMALL))
            small_table.execute("VACUUM ANALYZE strongroom.tokens")
            _rate(beside, values, _WARM_UP)
            rates.append((_rate(beside, values, _BATCHES), _rate(service, values, _BATCHES)))
    return {
        "small": statistics.median(small for small, _ in rates),
        "large": statistics.median(full for _, full in rates),
        "rows": float(large),
        "cost": statistics.median(small / full for small, full in rates),
    }


def _rate(service: Service, values: Iterator[str], batches: int) -> float:
    bodies = (tokenize_body(list(islice(values, 1000))) for _ in range(batches))
    prepared = [request("/v1/tokenize", service.key, body, service.port) for body in bodies]
    return batches * 1000 / drive(service.port, prepared, CALLERS).seconds
