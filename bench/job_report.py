"""The report's part about report jobs: rows a second, memory, cold starts.

``python -m bench.job_report`` measures and prints this part alone.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.figures import ColdStart, Figures
from bench.report_runs import DETOKENIZED, ROWS, all_figures

_LEAST_RATIO = 0.5
_MOST_MIB = 512
_MOST_SECONDS = 1.5


def lines(figures: Figures) -> Iterator[str]:
    """The lines of Markdown."""
    if figures.reports:
        yield from ("", "## Report jobs", "")
        yield from _runs(figures)
    if figures.cold_start is not None:
        yield from _cold_start(figures.cold_start)


def _runs(figures: Figures) -> Iterator[str]:
    run = figures.reports[-1]
    ratio = statistics.median(figures.ratios(ROWS, DETOKENIZED))
    peak = max(run.job.peak_mib for run in figures.reports)
    cpu = statistics.median(run.job.cpu_seconds for run in figures.reports)
    seconds = statistics.median(run.job.seconds for run in figures.reports)
    yield from (
        f"A report with the address behind each of {run.rows:,} tokens, as CSV, sealed to a public"
        " key into a folder, by a job in a process of its own, from its start to its end; beside"
        f" it, in turn, the same tokens in batches of 1,000. {len(figures.reports)} times:",
        "",
        "| what | items/s (median) | min to max | beside batch detokenize | wanted |",
        "|---|---|---|---|---|",
    )
    for name, beside in ((ROWS, f"{ratio:.2f} | ≥ {_LEAST_RATIO}"), (DETOKENIZED, "1 |")):
        rates = figures.rates[name]
        yield (
            f"| {name} | {figures.median(name):,.0f} | {min(rates):,.0f} to {max(rates):,.0f}"
            f" | {beside} |"
        )
    yield from (
        "",
        f"The job took {seconds:.1f} s, {cpu:.1f} s of them a processor, and **{peak:.0f} MiB** at"
        f" its peak (wanted ≤ {_MOST_MIB}); the sealed file has {run.size / 1e6:,.0f} MB. Each"
        " row is listed and revealed under the run's fence, counted against its cap and its"
        " principal's budget, and recorded, which a batch of its own is not.",
    )


def _cold_start(cold: ColdStart) -> Iterator[str]:
    yield from (
        "",
        f"A cold start of the lightest function (`audit_seal`) through `awslambdaric`, of"
        f" {len(cold.started)}: **{statistics.median(cold.started):.2f} s** until it asks for its"
        f" first event (longest {max(cold.started):.2f} s; wanted ≤ {_MOST_SECONDS}), and"
        f" {statistics.median(cold.answered):.2f} s until its first run has succeeded, with a"
        " key pair's seal. What it imports until then, by package, without what each imports in"
        " turn:",
        "",
        "| package | ms |",
        "|---|---|",
        *(f"| {package} | {seconds * 1000:.0f} |" for package, seconds in cold.imports),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.job_report", description=__doc__)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--starts", type=int, default=5)
    arguments = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        all_figures(folder, arguments.tokens, arguments.runs, arguments.starts, figures)
    print("\n".join(lines(figures)))


if __name__ == "__main__":
    main()
