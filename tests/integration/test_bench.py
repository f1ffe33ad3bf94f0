"""The benchmark, run small: that it measures what it says, not how fast anything is."""

import re
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_SIZES = {
    "--rounds": 1,
    "--batches": 4,
    "--singles": 100,
    "--large": 0,
    "--leaves": 3000,
    "--events": 6000,
    "--replayed": 500,
    "--reported": 12_000,
    "--reports": 1,
    "--starts": 1,
}
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def _row(report: str, begin: str) -> list[float]:
    """The numbers in the one row of a table that begins so."""
    [row] = [line for line in report.splitlines() if line.startswith(f"| {begin} |")]
    cells = row.removeprefix(f"| {begin} |")
    return [float(number.replace(",", "")) for number in _NUMBER.findall(cells)]


def test_a_small_run_reports_every_figure_of_the_log(tmp_path: Path) -> None:
    output = tmp_path / "benchmarks.md"
    options = [str(part) for option in _SIZES.items() for part in option]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *options, "--output", str(output)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = output.read_text(encoding="utf-8")
    core, rest = report.split("## The audit log")
    log, jobs = rest.split("## Report jobs")

    for load in ("batch tokenize", "batch detokenize", "single tokenize", "single detokenize"):
        with_sealer, without, ratio, lowest, wanted = _row(log, load)
        assert with_sealer > 0
        assert without > 0
        assert 0 < lowest <= ratio
        assert wanted == 0.9
        assert _row(core, load)[0] == with_sealer
    # What was kept from being sealed was sealed afterwards, so that there is a rate.
    [caught_up] = re.findall(r"then sealed at \*\*([\d,]+) leaves/s", log)
    assert int(caught_up.replace(",", "")) > 0
    [sealed] = re.findall(r"A log of 3,000 leaves, .* at \*\*([\d,]+) leaves/s", log)
    assert int(sealed.replace(",", "")) > 0

    exports = [line for line in log.splitlines() if re.match(r"\| [\d,]+ events \|", line)]
    counts = [int(_NUMBER.findall(line)[0].replace(",", "")) for line in exports]
    assert len(counts) == 2
    assert counts[-1] >= 3000
    for what in ("its proof, over HTTP", "its proof, without HTTP and without recording who asked"):
        assert _row(log, what)[0] > 0
    for kind in ("events of a token", "events of a subject", "timeline of a subject"):
        assert _row(log, kind)[0] > 0
    assert "Backtest of 500 mixed events" in log

    beside, rows = _row(jobs, "batch detokenize, addresses"), _row(jobs, "rows of a report")
    assert rows[3] == round(rows[0] / beside[0], 2) > 0
    assert "behind each of 12,000 tokens" in jobs
    [peak] = re.findall(r"\*\*(\d+) MiB\*\* at its peak", jobs)
    assert 0 < int(peak) < 512
    [begun, answered] = re.findall(r"([\d.]+) s(?:\*\*)? until it", jobs)
    assert 0 < float(begun) < float(answered)
    assert "| standard library |" in jobs
