"""What a token costs in a large table beside a small one.

The large table is filled directly with rows as wide as the vault's, since filling it
through the vault would take longer and measure nothing more.
"""

import statistics
import sys
from itertools import islice
from typing import Final

import psycopg

from bench.figures import CALLERS
from bench.load import drive, request
from bench.service import Service
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


def measure(service: Service, large: int) -> dict[str, float]:
    """Items a second in a table of 100,000 rows and of ``large`` rows, and the ratio of
    the costs."""
    with psycopg.connect(service.database.superuser_url, autocommit=True) as connection:
        small = []
        for number in range(_ROUNDS):  # each time anew, or the small table would grow large
            connection.execute("TRUNCATE strongroom.tokens CASCADE")
            connection.execute(_ROWS, (1, SMALL))
            service.database.vacuum()
            small += _rates(service, number, _WARM_UP, 1)
        connection.execute("TRUNCATE strongroom.tokens CASCADE")
        for start in range(0, large, _FILL):
            connection.execute(_ROWS, (start + 1, min(start + _FILL, large)))
            print(f"  filled {start + _FILL:,} of {large:,}", file=sys.stderr, flush=True)
        service.database.vacuum()
        full = _rates(service, _ROUNDS, _WARM_UP_LARGE, _ROUNDS)
    at_first, at_last = statistics.median(small), statistics.median(full)
    return {"small": at_first, "large": at_last, "rows": float(large), "cost": at_first / at_last}


def _rates(service: Service, seed: int, warm_up: int, rounds: int) -> list[float]:
    values = card_numbers(seed)

    def prepared(batches: int) -> list[bytes]:
        bodies = (tokenize_body(list(islice(values, 1000))) for _ in range(batches))
        return [request("/v1/tokenize", service.key, body, service.port) for body in bodies]

    drive(service.port, prepared(warm_up), CALLERS)
    found = []
    for _ in range(rounds):
        load = drive(service.port, prepared(_BATCHES), CALLERS)
        found.append(_BATCHES * 1000 / load.seconds)
    return found
