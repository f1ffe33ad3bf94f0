"""A command in a process of its own: how long it takes and how much memory."""

import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command went: ``seconds`` of wall clock, of which it had a processor for
    ``cpu_seconds``; ``peak_mib`` of resident memory."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    output: bytes


def strongroom(
    arguments: Sequence[str], environ: Mapping[str, str], *, one_core: bool = False
) -> Finished:
    """Run ``strongroom`` with these arguments to its end, which must be a good one."""
    return finished(["-m", "vault_service", *arguments], environ, one_core=one_core)


def finished(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    one_core: bool = False,
    given: bytes = b"",
) -> Finished:
    """Run Python with these arguments, ``given`` on standard input, to a good end."""
    # From a process that is small itself: a child's peak counts the memory of whoever
    # started it, from the time before it became the command.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_run, list(arguments), dict(environ), one_core, given).result()


def _run(arguments: list[str], environ: dict[str, str], one_core: bool, given: bytes) -> Finished:
    if one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    started = time.perf_counter()
    done = subprocess.run(  # our own program
        [sys.executable, *arguments],
        input=given,
        env=environ,
        capture_output=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.decode()}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Finished(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / (1 << 10), done.stdout)
