"""The service without its sealer, and the sealer when it comes back.

No setting turns sealing off. Here the lock is held by which sealers settle who leads, so
that none of them does.
"""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import psycopg

from bench.service import Database
from vault_service.adapters.postgres.log_statements import LOCK

_HOLD: Final = "SELECT pg_advisory_lock(%s)"
# A 64-bit key stands in two halves; whoever waits for the lock has not been granted it.
_END_HOLDERS: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND classid = %s AND objid = %s AND objsubid = 1 AND pid <> %s"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_SIZE: Final = "SELECT size FROM strongroom.log_tree"
_UNSEALED: Final = "SELECT strongroom.unsealed_since() IS NOT NULL"
_AGE: Final = "SELECT extract(epoch FROM clock_timestamp() - strongroom.unsealed_since())::float8"
_POLL_SECONDS: Final = 0.02
_PATIENCE_SECONDS: Final = 600.0


@contextlib.contextmanager
def without_sealer(database: Database) -> Iterator[None]:
    """Within the block nothing is sealed. Whichever sealer leads loses its connection, as it
    would to a fail-over."""
    with (
        psycopg.connect(database.superuser_url, autocommit=True) as holder,
        psycopg.connect(database.superuser_url, autocommit=True) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        # In line before the leader goes: nobody else can have the lock after it.
        held = thread.submit(holder.execute, _HOLD, (LOCK,))
        while not held.done():
            other.execute(_END_HOLDERS, (LOCK >> 32, LOCK & 0xFFFFFFFF, holder.info.backend_pid))
            time.sleep(_POLL_SECONDS)
        held.result()
        size = _one(other, _SIZE)
        yield
        if _one(other, _SIZE) != size:
            raise RuntimeError("something was sealed while nothing should have been")


def unsealed_age(database: Database) -> float:
    """Seconds since the oldest event that is not sealed yet; 0 where all are."""
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        found: float | None = _one(connection, _AGE)
    return found or 0.0


def caught_up(database: Database) -> float:
    """Wait until everything is sealed; leaves a second meanwhile, from when a sealer leads,
    or 0 where everything was."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    sizes: list[tuple[float, int]] = []
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        unsealed = True
        while unsealed:
            if time.monotonic() > deadline:
                raise RuntimeError("the sealer does not catch up")
            unsealed = _one(connection, _UNSEALED)
            sizes.append((time.perf_counter(), _one(connection, _SIZE)))
            time.sleep(_POLL_SECONDS)
    idle = sum(size == sizes[0][1] for _, size in sizes)
    if idle == len(sizes):
        return 0.0
    (began, first), (ended, last) = sizes[idle - 1], sizes[-1]
    return (last - first) / (ended - began)


def _one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]
