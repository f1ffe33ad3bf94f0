"""``make bench``: measures the vault beside the floor, prints ratios, writes the report.

Each ratio is made of two figures of one run on one machine, measured in turn, round by
round; the median of the rounds is quoted. What a machine does in a second is its own
affair, what the vault costs beside PostgreSQL on it is ours.
"""

import argparse
import json
import sys
import tempfile
from itertools import islice
from pathlib import Path

from bench import floor, growth, report
from bench.figures import BATCH, CALLERS, SINGLE_CALLERS, Figures
from bench.load import drive, request
from bench.service import Service, running
from bench.values import card_numbers, detokenize_body, tokenize_body


def _round(service: Service, figures: Figures, number: int, batches: int, singles: int) -> None:
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
    floor.prepare(service.superuser_url, unique=False)
    rate, _ = floor.insert(service.superuser_url, batches, BATCH)
    figures.rate("floor insert, one index", rate)
    floor.prepare(service.superuser_url, unique=True)
    rate, stored = floor.insert(service.superuser_url, batches, BATCH)
    figures.rate("floor insert", rate)
    figures.rate("floor read", floor.read(service.superuser_url, stored))
    prepared = tokenize(batches, BATCH)
    load = drive(port, prepared, CALLERS, keep=True)
    figures.add("batch tokenize", load, BATCH)
    groups = [
        [item["token"] for item in json.loads(answer.partition(b"\r\n\r\n")[2])["items"]]
        for answer in load.answers
    ]
    figures.add("batch detokenize", drive(port, detokenize(groups), CALLERS), BATCH)
    figures.add("single tokenize", drive(port, tokenize(singles, 1), SINGLE_CALLERS), 1)
    tokens = [[token] for group in groups for token in group][:singles]
    figures.add("single detokenize", drive(port, detokenize(tokens), SINGLE_CALLERS), 1)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=100, help="of 1,000, a round")
    parser.add_argument("--singles", type=int, default=10_000, help="requests, a round")
    parser.add_argument("--large", type=int, default=5_000_000, help="rows of the large table")
    parser.add_argument("--output", type=Path, help="write the report here, as Markdown")
    arguments = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as folder:
        Path(folder).chmod(0o755)
        with running(Path(folder) / "home", "bench") as service:
            for number in range(arguments.rounds):
                print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
                _round(service, figures, number, arguments.batches, arguments.singles)
            if arguments.large:
                figures.growth = growth.measure(service, arguments.large)
    text = report.render(figures, arguments)
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text, encoding="utf-8")
