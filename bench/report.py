"""The report: what was measured, where, and beside what."""

import argparse
import importlib.metadata
import os
import platform
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import job_report, log_report
from bench.figures import CALLERS, SINGLE_CALLERS, Figures
from bench.service import SHARED_BUFFERS

_RATIOS: Final = (
    ("batch tokenize", "floor insert", 0.5),
    ("batch detokenize", "floor read", 0.4),
)
_RATES: Final = (("single tokenize", 4000), ("single detokenize", 5000))
_PACKAGES: Final = ("psycopg", "uvicorn", "uvloop", "msgspec", "cryptography", "cedarpy")


def machine() -> list[str]:
    """The machine and versions, a line each."""
    model = "unknown"
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    return [
        f"- {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} processors ({model}),"
        f" {platform.system()} {platform.release()}",
        f"- Python {platform.python_version()}; {versions}",
        "- server (two workers), PostgreSQL and load generator share the machine;"
        f" fsync and synchronous_commit are on, shared_buffers is {SHARED_BUFFERS}",
    ]


def render(figures: Figures, arguments: argparse.Namespace) -> str:
    """The report as Markdown."""
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`. Ratios are what counts: both sides were measured in turn in",
        "one run on one machine, and the median of the rounds is quoted. The floor is",
        "PostgreSQL through psycopg alone from two processes, with rows of the same width,",
        "indexes for the same columns, and the same batches: no HTTP, encryption, policy,",
        "row-level security or audit. It is taken before the vault and again after it.",
        "",
        *machine(),
        f"- {arguments.rounds} rounds of {arguments.batches} batches of 1,000 and"
        f" {arguments.singles:,} single requests",
        "",
        "| what | items/s (median) | min to max | beside the floor | wanted | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, base, wanted in _RATIOS:
        ratio = statistics.median(figures.ratios(name, base))
        lines.append(_row(figures, name, f"{ratio:.2f}", f"≥ {wanted}"))
    for name, least in _RATES:
        lines.append(_row(figures, name, "", f"≥ {least:,}/s"))
    floors = ("floor insert", "floor insert, one index", "floor read")
    lines += [_row(figures, name, "1", "") for name in floors]
    if figures.growth:
        grown = figures.growth
        lines += [
            "",
            f"Cost of a token at {grown['rows']:,.0f} stored rows beside that at 100,000:"
            f" **{grown['cost']:.2f}** (wanted ≤ 1.25), from {grown['small']:,.0f} and"
            f" {grown['large']:,.0f} tokens/s in batches of 1,000, in rounds that have both in"
            " turn, after a warm-up that takes the whole-page writes after a checkpoint out"
            " of the figure.",
        ]
    lines += [
        "",
        f"Single requests come from {SINGLE_CALLERS} concurrent callers, each waiting for its",
        f"answer and each answer for its own commit; batches from {CALLERS}. p50 and p99 are of",
        "whole requests as the callers saw them.",
        *log_report.lines(figures, arguments.replayed),
        *job_report.lines(figures),
    ]
    return "\n".join(lines)


def _row(figures: Figures, name: str, ratio: str, wanted: str) -> str:
    rates = figures.rates[name]
    times = figures.latencies.get(name, [])
    half = f"{statistics.median(t[0] for t in times):.1f}" if times else ""
    most = f"{statistics.median(t[1] for t in times):.1f}" if times else ""
    return (
        f"| {name} | {figures.median(name):,.0f} | {min(rates):,.0f} to {max(rates):,.0f}"
        f" | {ratio} | {wanted} | {half} | {most} |"
    )
