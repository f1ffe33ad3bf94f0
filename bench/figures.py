"""The figures of a run."""

import statistics
import sys
from dataclasses import dataclass, field
from typing import Final

from bench.load import Load

BATCH: Final = 1000
CALLERS: Final = 16
"""Callers of batches: enough that each of two workers always has one to serve."""
SINGLE_CALLERS: Final = 64


@dataclass
class Figures:
    """All figures of a run. Rates are items a second, one a round; latencies are
    milliseconds."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    latencies: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    growth: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, load: Load, per_request: int) -> None:
        """Take a load's rate and latencies; a load with failures is no measurement."""
        if load.unexpected:
            raise RuntimeError(f"{name}: unexpected statuses {load.unexpected}")
        rate = len(load.latencies) * per_request / load.seconds
        self.rates.setdefault(name, []).append(rate)
        self.latencies.setdefault(name, []).append((load.percentile(0.5), load.percentile(0.99)))
        print(f"  {name:28} {rate:10,.0f}/s", file=sys.stderr, flush=True)

    def rate(self, name: str, value: float) -> None:
        """Take a rate that is no load's."""
        self.rates.setdefault(name, []).append(value)
        print(f"  {name:28} {value:10,.0f}/s", file=sys.stderr, flush=True)

    def median(self, name: str) -> float:
        """The median rate."""
        return statistics.median(self.rates[name])
