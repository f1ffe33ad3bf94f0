"""The report's part about the audit log: sealing, proofs, verification, search."""

import statistics
from collections.abc import Iterator
from typing import Final

from bench.figures import UNSEALED, Exported, Figures, LogFigures

_LOADS: Final = ("batch tokenize", "batch detokenize", "single tokenize", "single detokenize")
_LEAST_REPLAYED: Final = 10_000
_MOST_MS: Final = 50
_MOST_PROOF_MS: Final = 10
_MOST_VERIFY_SECONDS: Final = 60


def lines(figures: Figures, replayed: int) -> Iterator[str]:
    """The lines of Markdown."""
    yield from ("", "## The audit log", "")
    if figures.unsealed_ages:
        yield from _sealing(figures)
    if figures.log is not None:
        yield from _large_log(figures.log)
    yield (
        f"Backtest of {replayed:,} mixed events on one core:"
        f" **{figures.median('backtest'):,.0f} events/s** (wanted ≥ {_LEAST_REPLAYED:,})."
    )
    yield ""


def _sealing(figures: Figures) -> Iterator[str]:
    yield from (
        "With the sealer at work beside the same without it, in the same rounds in turn:",
        "",
        "| what | items/s with | items/s without | with beside without | lowest | wanted |",
        "|---|---|---|---|---|---|",
    )
    for name in _LOADS:
        base = name + UNSEALED
        ratios = figures.ratios(name, base)
        yield (
            f"| {name} | {figures.median(name):,.0f} | {figures.median(base):,.0f}"
            f" | {statistics.median(ratios):.2f} | {min(ratios):.2f} | ≥ 0.9 |"
        )
    yield ""
    yield (
        f"At the end of a round with the sealer, after {_LOADS[3]} at full load, the oldest"
        f" unsealed event was {max(figures.unsealed_ages):.1f} s old at most (alarm: 300 s). What"
        " a round without it had left was then sealed at"
        f" **{figures.median('sealing what was left'):,.0f} leaves/s**; a request is a leaf, so"
        f" that {figures.median(_LOADS[3]):,.0f}/s are needed."
    )
    yield ""


def _large_log(log: LogFigures) -> Iterator[str]:
    yield (
        f"A log of {log.leaves:,} leaves, sealed from the table of events at"
        f" **{log.sealing_rate:,.0f} leaves/s**:"
    )
    yield from (
        "",
        "| one event of it | p50 ms | p99 ms | wanted |",
        "|---|---|---|---|",
        _times("its proof, over HTTP", log.proof, f"≤ {_MOST_PROOF_MS} ms"),
        _times("its proof, without HTTP and without recording who asked", log.proof_alone, ""),
        "",
        "| export of | bundle | export | events/s | verify, on one core | of which CPU"
        " | events/s | peak memory | wanted |",
        "|---|---|---|---|---|---|---|---|---|",
    )
    for number, exported in enumerate(log.exports):
        wanted = f"≤ {_MOST_VERIFY_SECONDS} s" if number else ""
        yield _exported(exported, wanted)
    yield from (
        "",
        f"Searches of one caller over HTTP, among {log.events:,} events over ten months, for what"
        " was never asked for before and then for the same again:",
        "",
        "| what | found (median) | p50 ms, first | p99 ms, first | p50 ms, again | p99 ms, again"
        " | wanted |",
        "|---|---|---|---|---|---|---|",
    )
    for kind, search in log.searches.items():
        yield (
            f"| {kind} | {search.found:.0f} | {search.first[0]:.1f} | {search.first[1]:.1f}"
            f" | {search.again[0]:.1f} | {search.again[1]:.1f} | ≤ {_MOST_MS} ms |"
        )
    yield ""


def _times(what: str, times: tuple[float, float], wanted: str) -> str:
    return f"| {what} | {times[0]:.1f} | {times[1]:.1f} | {wanted} |"


def _exported(of: Exported, wanted: str) -> str:
    export, verify = of.export, of.verify
    return (
        f"| {of.events:,} events | {of.size / 1e6:,.0f} MB | {export.seconds:.1f} s"
        f" | {of.events / export.seconds:,.0f} | **{verify.seconds:.1f} s**"
        f" | {verify.cpu_seconds:.1f} s | {of.events / verify.seconds:,.0f}"
        f" | {verify.peak_mib:.0f} MiB | {wanted} |"
    )
