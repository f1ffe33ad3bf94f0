"""The figures of a run."""

import statistics
import sys
from dataclasses import dataclass, field
from typing import Final

from bench.load import Load, percentiles
from bench.pinned import Finished

BATCH: Final = 1000
CALLERS: Final = 16
"""Callers of batches: enough that each of two workers always has one to serve."""
SINGLE_CALLERS: Final = 64
UNSEALED: Final = ", no sealer"
"""What the name of a load ends in while nothing is sealed."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An export of so many events, of so many bytes, and its verification on one core."""

    events: int
    size: int
    export: Finished
    verify: Finished


@dataclass(frozen=True, slots=True)
class Search:
    """One kind of search: p50 and p99 in milliseconds, the first time and again, and the
    median of what was found."""

    first: tuple[float, float]
    again: tuple[float, float]
    found: float


@dataclass(frozen=True, slots=True)
class ReportRun:
    """A report of so many rows, sealed in so many bytes, made by the process ``job``."""

    rows: int
    size: int
    job: Finished


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Seconds from a function's start until it asked for its first event, and until it had
    answered it, one a start; ``imports`` are seconds by package."""

    started: list[float]
    answered: list[float]
    imports: list[tuple[str, float]]


@dataclass
class LogFigures:
    """What a large log showed: of ``leaves`` sealed at ``sealing_rate`` leaves a second, then
    of ``events``. Latencies are p50 and p99 in milliseconds."""

    leaves: int = 0
    events: int = 0
    sealing_rate: float = 0.0
    proof: tuple[float, float] = (0.0, 0.0)
    proof_alone: tuple[float, float] = (0.0, 0.0)
    exports: list[Exported] = field(default_factory=list)
    searches: dict[str, Search] = field(default_factory=dict)


@dataclass
class Figures:
    """All figures of a run. Rates are items a second, one a round; latencies are
    milliseconds. ``unsealed_ages`` are seconds, one a round."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    latencies: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    unsealed_ages: list[float] = field(default_factory=list)
    growth: dict[str, float] = field(default_factory=dict)
    reports: list[ReportRun] = field(default_factory=list)
    cold_start: ColdStart | None = None
    log: LogFigures | None = None

    def add(self, name: str, load: Load, per_request: int) -> None:
        """Take a load's rate and latencies; a load with failures is no measurement."""
        if load.unexpected:
            raise RuntimeError(f"{name}: unexpected statuses {load.unexpected}")
        rate = len(load.latencies) * per_request / load.seconds
        self.rates.setdefault(name, []).append(rate)
        self.latencies.setdefault(name, []).append(percentiles(load.latencies))
        print(f"  {name:28} {rate:10,.0f}/s", file=sys.stderr, flush=True)

    def rate(self, name: str, value: float) -> None:
        """Take a rate that is no load's."""
        self.rates.setdefault(name, []).append(value)
        print(f"  {name:28} {value:10,.0f}/s", file=sys.stderr, flush=True)

    def median(self, name: str) -> float:
        """The median rate."""
        return statistics.median(self.rates[name])

    def ratios(self, name: str, base: str) -> list[float]:
        """Each round's rate beside that of ``base`` in the same round."""
        pairs = zip(self.rates[name], self.rates[base], strict=True)
        return [rate / other for rate, other in pairs]
