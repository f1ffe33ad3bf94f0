"""``make bench``: measures the vault beside the floor, prints ratios, writes the report.

Each ratio is made of two figures of one run on one machine, measured in turn, round by
round; the median of the rounds is quoted. What a machine does in a second is its own
affair, what the vault costs beside PostgreSQL on it, and its audit log beside the rest, is
ours.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from bench import backtest, floor, growth, proofs, report, report_runs, searches
from bench.figures import BATCH, CALLERS, SINGLE_CALLERS, UNSEALED, Figures, LogFigures
from bench.history import History
from bench.load import drive, request
from bench.sealer import caught_up, unsealed_age, without_sealer
from bench.service import Service, database, running
from bench.values import card_numbers, detokenize_body, tokenize_body

_SMALL_EXPORT = 100_000
"""Leaves of the export beside that of the whole log."""


def _round(service: Service, figures: Figures, number: int, batches: int, singles: int) -> None:
    # Which comes first alternates, so that neither always meets the warmer machine.
    for sealed in (True, False) if number % 2 else (False, True):
        if sealed:
            # A machine's speed wanders within seconds: the floor is taken on both sides.
            before = _floor(service, batches)
            _vault(service, figures, number, batches, singles)
            figures.unsealed_ages.append(unsealed_age(service.database))
            caught_up(service.database)
            after = _floor(service, batches)
            for name, rate in before.items():
                figures.rate(name, statistics.harmonic_mean((rate, after[name])))
        else:
            with without_sealer(service.database):
                _vault(service, figures, number, batches, singles, UNSEALED)
            figures.rate("sealing what was left", caught_up(service.database))


def _floor(service: Service, batches: int) -> dict[str, float]:
    url = service.database.superuser_url
    floor.prepare(url, unique=False)
    one_index, _ = floor.insert(url, batches, BATCH)
    floor.prepare(url, unique=True)
    both, stored = floor.insert(url, batches, BATCH)
    return {
        "floor insert, one index": one_index,
        "floor insert": both,
        "floor read": floor.read(url, stored),
    }


def _vault(
    service: Service, figures: Figures, number: int, batches: int, singles: int, suffix: str = ""
) -> None:
    values = card_numbers(1000 + number)
    port, key = service.port, service.key

    def tokenize(count: int, size: int) -> list[bytes]:
        return [
            request("/v1/tokenize", key, tokenize_body(list(islice(values, size))), port)
            for _ in range(count)
        ]

    def detokenize(groups: list[list[str]]) -> list[bytes]:
        return [request("/v1/detokenize", key, detokenize_body(g), port) for g in groups]

    service.empty()
    drive(port, tokenize(64, 1), SINGLE_CALLERS)
    prepared = tokenize(batches, BATCH)
    load = drive(port, prepared, CALLERS, keep=True)
    figures.add(f"batch tokenize{suffix}", load, BATCH)
    groups = [
        [item["token"] for item in json.loads(answer.partition(b"\r\n\r\n")[2])["items"]]
        for answer in load.answers
    ]
    figures.add(f"batch detokenize{suffix}", drive(port, detokenize(groups), CALLERS), BATCH)
    prepared = tokenize(singles, 1)
    figures.add(f"single tokenize{suffix}", drive(port, prepared, SINGLE_CALLERS), 1)
    prepared = detokenize([[token] for group in groups for token in group][:singles])
    figures.add(f"single detokenize{suffix}", drive(port, prepared, SINGLE_CALLERS), 1)


def _log(folder: Path, leaves: int, events: int) -> LogFigures:
    figures = LogFigures(leaves, events)
    with database(folder / "home", "log") as store, ExitStack() as unsealed:
        history = History(store, events)
        history.fill(leaves)
        store.vacuum()
        unsealed.enter_context(without_sealer(store))
        with running(store) as service:
            unsealed.close()
            figures.sealing_rate = caught_up(store)
            print(f"  sealed {leaves:,}: {figures.sealing_rate:,.0f}/s", file=sys.stderr)
            proofs.measure(service, folder, _SMALL_EXPORT, figures)
            # A search does not ask what is sealed: the sealer would only be in its way.
            with without_sealer(store):
                history.fill(events)
                store.vacuum()
                figures.searches = searches.measure(service, history)
                service.stop()
    return figures


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=300, help="of 1,000, a round")
    parser.add_argument("--singles", type=int, default=10_000, help="requests, a round")
    parser.add_argument("--large", type=int, default=5_000_000, help="rows of the large table")
    parser.add_argument("--leaves", type=int, default=1_000_000, help="of the log; 0: none")
    parser.add_argument("--events", type=int, default=5_000_000, help="to search, with the leaves")
    parser.add_argument("--replayed", type=int, default=50_000, help="events of the backtest")
    parser.add_argument("--reported", type=int, default=1_000_000, help="tokens; 0: no report")
    parser.add_argument("--reports", type=int, default=3, help="runs of the report")
    parser.add_argument("--starts", type=int, default=5, help="cold starts of a function")
    parser.add_argument("--output", type=Path, help="write the report here, as Markdown")
    arguments = parser.parse_args()
    figures = Figures()
    figures.rate("backtest", backtest.events_per_second(arguments.replayed))
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with database(folder / "home", "bench") as store, running(store) as service:
            for number in range(arguments.rounds):
                print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
                _round(service, figures, number, arguments.batches, arguments.singles)
        shutil.rmtree(folder / "home")
        if arguments.large:
            figures.growth = growth.measure(folder, arguments.large)
            shutil.rmtree(folder / "home")
        if arguments.leaves:
            figures.log = _log(folder, arguments.leaves, arguments.events)
            shutil.rmtree(folder / "home")
        if arguments.reported:
            report_runs.all_figures(
                folder, arguments.reported, arguments.reports, arguments.starts, figures
            )
    text = report.render(figures, arguments)
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text, encoding="utf-8")
