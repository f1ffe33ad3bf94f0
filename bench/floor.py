"""The floor: PostgreSQL through psycopg alone, from two processes.

The same rows as the vault stores (width, primary key, unique blind index), in the same
batches, each batch committed, lists handed to psycopg as they are (binary parameters,
``unnest``): no HTTP, encryption, policy, row-level security or audit.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any, Final

import psycopg

from vault_service.domain.tokens import new_opaque

PROCESSES: Final = 2
_TABLE: Final = """
DROP TABLE IF EXISTS public.floor;
CREATE TABLE public.floor (
    tenant text COLLATE "C" NOT NULL, token text COLLATE "C" NOT NULL,
    data_class text COLLATE "C" NOT NULL, key_id bigint NOT NULL, ciphertext bytea NOT NULL,
    blind_index bytea, index_key_id bigint, tags jsonb, subject text, created_at timestamptz,
    expires_at timestamptz, PRIMARY KEY (token, tenant)
);
"""
_UNIQUE: Final = (
    "CREATE UNIQUE INDEX floor_blind_index ON public.floor (blind_index)"
    " WHERE blind_index IS NOT NULL"
)
_INSERT: Final = (
    "INSERT INTO public.floor (tenant, token, data_class, key_id, ciphertext, blind_index,"
    " index_key_id, created_at) SELECT 'main', r.t, 'pan', 1, r.c, r.b, 2, now()"
    " FROM unnest(%b::text[], %b::bytea[], %b::bytea[]) AS r (t, c, b)"
)
_SELECT: Final = (
    "SELECT token, data_class, key_id, ciphertext, tags, subject, created_at, expires_at"
    " FROM public.floor"
    " WHERE tenant = 'main' AND token = ANY (%b::text[])"
)


def prepare(url: str, *, unique: bool) -> None:
    """Make the empty table, with or without its second index."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in _TABLE.split(";\n"):
            if statement.strip():
                connection.execute(statement.encode())
        if unique:
            connection.execute(_UNIQUE)


def rows(count: int) -> tuple[list[str], list[bytes], list[bytes]]:
    """Tokens, ciphertexts and blind indexes as wide as the vault's."""
    return (
        new_opaque("pan", count),
        [os.urandom(45) for _ in range(count)],
        [os.urandom(32) for _ in range(count)],
    )


def _inserter(url: str, batches: int, size: int, barrier: Barrier, results: Any) -> None:
    prepared = [rows(size) for _ in range(batches)]
    with psycopg.connect(url, autocommit=True) as connection:
        barrier.wait()
        started = time.perf_counter()
        for tokens, ciphertexts, indexes in prepared:
            connection.execute(_INSERT, (tokens, ciphertexts, indexes), prepare=True)
        ended = time.perf_counter()
    results.put((started, ended, [tokens for tokens, _, _ in prepared]))


def _reader(url: str, batches: list[list[str]], barrier: Barrier, results: Any) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        barrier.wait()
        started = time.perf_counter()
        for tokens in batches:
            cursor = connection.execute(_SELECT, (tokens,), prepare=True, binary=True)
            found = cursor.fetchall()
            if len(found) != len(tokens):
                raise RuntimeError("the floor lost rows")
        ended = time.perf_counter()
    results.put((started, ended, []))


def _together(target: Callable[..., None], arguments: list[tuple[Any, ...]]) -> list[Any]:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(len(arguments)), context.Queue()
    processes = [
        context.Process(target=target, args=(*given, barrier, results)) for given in arguments
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=600) for _ in processes]
    for process in processes:
        process.join()
    return found


def insert(url: str, batches: int, size: int) -> tuple[float, list[list[str]]]:
    """Rows a second over all processes, and the tokens of each batch."""
    each = batches // PROCESSES
    found = _together(_inserter, [(url, each, size)] * PROCESSES)
    seconds = max(end for _, end, _ in found) - min(start for start, _, _ in found)
    tokens = [batch for _, _, stored in found for batch in stored]
    return each * PROCESSES * size / seconds, tokens


def read(url: str, batches: list[list[str]]) -> float:
    """Rows a second over all processes."""
    shares = [batches[share::PROCESSES] for share in range(PROCESSES)]
    found = _together(_reader, [(url, share) for share in shares])
    seconds: float = max(end for _, end, _ in found) - min(start for start, _, _ in found)
    return sum(len(batch) for batch in batches) / seconds
