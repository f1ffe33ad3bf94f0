"""Cold starts of the lightest of the jobs' functions, through Lambda's own runtime client.

A start ends when the function asks for its first event; an answer, when the first run of its
report has succeeded.
"""

import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.figures import ColdStart
from tests.fakes.lambda_runtime import LambdaRuntime

REPORT: Final = "audit_seal"
_HANDLER: Final = f"reporting_jobs.handlers.{REPORT}"
_SHOWN: Final = 12


def measure(environ: Mapping[str, str], folder: Path, starts: int) -> ColdStart:
    """Start the function ``starts`` times, each for one event of a schedule on the service of
    ``environ``; then once more to see what is imported."""
    begun, answered = [], []
    for number in range(starts):
        log = folder / "function.log"
        with LambdaRuntime(_HANDLER, environ, log) as function:
            started = time.perf_counter()
            answer = function.invoke(_schedule(number))
            answered.append(time.perf_counter() - started)
            begun.append(function.init_seconds)
        if answer["state"] != "succeeded":
            raise RuntimeError(f"the run {answer['state']}: {answer['code']}; {log.read_text()}")
    print(f"  cold start {statistics.median(begun):.2f} s", file=sys.stderr, flush=True)
    return ColdStart(begun, answered, _imports(environ, folder / "imports.log"))


def _imports(environ: Mapping[str, str], log: Path) -> list[tuple[str, float]]:
    """Seconds by package, those of the packages that it imports left out, longest first."""
    with LambdaRuntime(_HANDLER, {**environ, "PYTHONPROFILEIMPORTTIME": "1"}, log) as function:
        function.start()
    taken: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        alone, _, rest = line.removeprefix("import time:").partition("|")
        if alone.strip().isdigit():
            package = rest.partition("|")[2].strip().partition(".")[0]
            taken["standard library" if package in sys.stdlib_module_names else package] += int(
                alone
            )
    return [(package, spent / 1e6) for package, spent in taken.most_common(_SHOWN)]


def _schedule(number: int) -> dict[str, object]:
    return {"source": "aws.events", "time": f"2026-01-01T{number:02d}:00:00Z"}
