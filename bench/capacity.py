"""Computes the tables of docs/capacity.md: ``python -m bench.capacity``.

What is measured comes from documents that measurements fill: requests a second from
docs/benchmarks.md (``make bench``), bytes from the first table of docs/capacity.md
(``python -m bench.sizes``). Prices are the example column of its second table: whoever runs a vault
puts their own there and runs this again. Everything else is arithmetic, shown beside each table.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CAPACITY: Final = ROOT / "docs" / "capacity.md"
BENCHMARKS: Final = ROOT / "docs" / "benchmarks.md"
TOKENS: Final = (1_000_000, 10_000_000, 100_000_000)
RATES: Final = (100, 300, 1_000, 3_000, 10_000)
SHEETS: Final = ((1_000_000, 100), (10_000_000, 1_000), (100_000_000, 10_000))
_BEGIN: Final = "<!-- computed by python -m bench.capacity -->"
_END: Final = "<!-- end of what is computed -->"
_HOURS: Final = 730
_SECONDS_A_DAY: Final = 86_400
_AT_HAND_DAYS: Final = 91
_YEAR_DAYS: Final = 365
_TARGET: Final = 0.5
"""Load that the autoscaling of infra/terraform aims at."""
_TASK_PROCESSORS, _TASK_GIB, _TASK_WORKERS = 2, 4, 2
_LEAST_TASKS: Final = 3
_CONNECTIONS: Final = 10
_KEYS: Final = 12 * 2
"""Data keys of one tenant: classes of the sample catalog, for records and for blind indexes."""
_KEY_SECONDS: Final = 300
_ENDPOINTS, _ZONES, _BALANCERS, _KMS_KEYS, _DATABASES = 7, 3, 2, 5, 2
_SECRETS: Final = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes by token or request, and requests a second on the machine of the benchmarks."""

    batch: float
    single: float
    read: float
    written_read: float
    tree: float
    archived: float
    tokenized: float
    detokenized: float
    sealed: float

    @property
    def slowest(self) -> float:
        """Single requests a second of the slower kind."""
        return min(self.tokenized, self.detokenized)


def measured(capacity: str, benchmarks: str) -> Measured:
    """The figures of both documents; :class:`ValueError` where one is not there."""
    batch = _row(capacity, "tokenized, 1,000 a request")
    single = _row(capacity, "tokenized, one a request")
    read = _row(capacity, "detokenized, one a request")
    # The index is built behind the log: what the first run left is in the second's figure.
    index = (single[3] + read[3]) / 2
    bundle = re.search(r"\| ([\d,]+) events \| (\d+) MB \|.*\n\n", benchmarks)
    sealed = re.search(r"at \*\*([\d,]+) leaves/s\*\*; a request", benchmarks)
    if bundle is None or sealed is None:
        raise ValueError("docs/benchmarks.md has no figures of the log")
    return Measured(
        batch=batch[5],
        single=single[1] + single[2] + index + single[4],
        read=read[2] + index + read[4],
        written_read=read[6],
        tree=read[4],
        archived=float(bundle[2]) * 1e6 / _number(bundle[1]),
        tokenized=_row(benchmarks, "single tokenize")[0],
        detokenized=_row(benchmarks, "single detokenize")[0],
        sealed=_number(sealed[1]),
    )


def prices(capacity: str) -> dict[str, float]:
    """The example prices of the document, by their short names."""
    return {
        name: float(price)
        for name, price in re.findall(r"^\| `(p_\w+)` \|[^|]+\|[^|]+\| ([\d.]+) \|", capacity, re.M)
    }


def tables(figures: Measured, price: dict[str, float]) -> str:
    """The computed part of the document."""
    return "\n".join(
        [
            "### Tokens",
            "",
            "`tokens × bytes`: loaded in batches of 1,000"
            f" ({figures.batch:,.0f} B), or one a request ({figures.single:,.0f} B), events"
            " included.",
            "",
            *_table(
                ("tokens", "loaded in batches", "one a request"),
                [(f"{n:,}", _size(n * figures.batch), _size(n * figures.single)) for n in TOKENS],
            ),
            "",
            "### Events",
            "",
            f"`requests/s × 86,400 × days × bytes`, for single reads that go on day and night:"
            f" {figures.read:,.0f} B at hand for {_AT_HAND_DAYS} days, {figures.archived:,.0f} B"
            f" in files for the rest of the year, {figures.tree:,.0f} B of the tree for ever; the"
            f" write-ahead log is {figures.written_read:,.0f} B a request.",
            "",
            *_table(
                (
                    *("requests/s", "events a day", "database a day", "three months at hand"),
                    *("files, rest of the year", "tree, a year", "write-ahead log"),
                ),
                [_events(rate, figures) for rate in RATES],
            ),
            "",
            "### Tasks",
            "",
            f"`⌈requests/s ÷ ({figures.slowest:,.0f} × {_TARGET})⌉ + 1`, {_LEAST_TASKS} at"
            f" least: tasks of {_TASK_PROCESSORS} processors at half load, and one to lose."
            f" Connections: {_CONNECTIONS} × {_TASK_WORKERS} workers × tasks. Calls of KMS: tasks"
            f" × {_TASK_WORKERS} × {_KEYS} data keys ÷ {_KEY_SECONDS} s, for one tenant that uses"
            f" every class. Sealing: requests/s ÷ {figures.sealed:,.0f}, one process for all.",
            "",
            *_table(
                ("requests/s", "tasks", "connections", "calls of KMS a second", "sealer's load"),
                [
                    (
                        f"{rate:,}",
                        f"{_tasks(rate, figures)}",
                        f"{_CONNECTIONS * _TASK_WORKERS * _tasks(rate, figures)}",
                        f"{_kms(rate, figures):.1f}",
                        f"{rate / figures.sealed:.1%}",
                    )
                    for rate in RATES
                ],
            ),
            "",
            "### Cost a month",
            "",
            "With the example prices of above, and a tenth of the peak on average: tasks and"
            " database are for the peak, what is stored for the average.",
            "",
            *_table(
                ("part", "arithmetic", *(f"{n:,} tokens, {r:,}/s" for n, r in SHEETS)),
                _costs(figures, price),
            ),
        ]
    )


def _events(rate: int, figures: Measured) -> Sequence[str]:
    day = rate * _SECONDS_A_DAY
    return (
        f"{rate:,}",
        f"{day / 1e6:,.1f} million",
        _size(day * figures.read),
        _size(day * _AT_HAND_DAYS * figures.read),
        _size(day * (_YEAR_DAYS - _AT_HAND_DAYS) * figures.archived),
        _size(day * _YEAR_DAYS * figures.tree),
        f"{rate * figures.written_read / 1e6:,.1f} MB/s",
    )


def _costs(figures: Measured, price: dict[str, float]) -> list[Sequence[str]]:
    parts: list[tuple[str, str, list[float]]] = [
        (
            "tasks",
            "tasks × 730 h × (2 × `p_cpu` + 4 × `p_memory`)",
            [
                _tasks(rate, figures)
                * _HOURS
                * (_TASK_PROCESSORS * price["p_cpu"] + _TASK_GIB * price["p_memory"])
                for _, rate in SHEETS
            ],
        ),
        (
            "database",
            "2 instances × 730 h × processors × `p_database`; processors: those of the tasks"
            " without the spare one",
            [
                _DATABASES
                * _HOURS
                * max(2, _TASK_PROCESSORS * (_tasks(rate, figures) - 1))
                * price["p_database"]
                for _, rate in SHEETS
            ],
        ),
        (
            "database storage",
            "(tokens + three months of events) × `p_storage`",
            [_stored(n, rate, figures) / 1e9 * price["p_storage"] for n, rate in SHEETS],
        ),
        (
            "archived events",
            "nine months of events × `p_files`",
            [
                rate
                / 10
                * _SECONDS_A_DAY
                * (_YEAR_DAYS - _AT_HAND_DAYS)
                * figures.archived
                / 1e9
                * price["p_files"]
                for _, rate in SHEETS
            ],
        ),
        (
            "network",
            "(7 endpoints × 3 zones × `p_endpoint` + 2 balancers × `p_balancer`) × 730 h",
            [
                _HOURS
                * (_ENDPOINTS * _ZONES * price["p_endpoint"] + _BALANCERS * price["p_balancer"])
            ]
            * len(SHEETS),
        ),
        (
            "keys",
            "5 × `p_key` + calls ÷ 10,000 × `p_calls`",
            [
                _KMS_KEYS * price["p_key"]
                + _kms(rate, figures) * _HOURS * 3600 / 10_000 * price["p_calls"]
                for _, rate in SHEETS
            ],
        ),
        ("secrets", "3 × `p_secret`", [_SECRETS * price["p_secret"]] * len(SHEETS)),
    ]
    rows = [(name, how, *(f"{cost:,.0f}" for cost in costs)) for name, how, costs in parts]
    sums = [sum(costs[i] for _, _, costs in parts) for i in range(len(SHEETS))]
    return [*rows, ("**together**", "", *(f"**{cost:,.0f}**" for cost in sums))]


def _stored(tokens: int, rate: int, figures: Measured) -> float:
    events = rate / 10 * _SECONDS_A_DAY * _AT_HAND_DAYS
    return tokens * figures.single + events * figures.read


def _tasks(rate: int, figures: Measured) -> int:
    return max(_LEAST_TASKS, math.ceil(rate / (figures.slowest * _TARGET)) + 1)


def _kms(rate: int, figures: Measured) -> float:
    return _tasks(rate, figures) * _TASK_WORKERS * _KEYS / _KEY_SECONDS


def _size(count: float) -> str:
    gigabytes = count / 1e9
    return f"{gigabytes / 1000:,.1f} TB" if gigabytes >= 1000 else f"{gigabytes:,.1f} GB"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [
        "|" + "|".join(f" {cell} " if cell != "---" else cell for cell in line) + "|"
        for line in lines
    ]


def _row(text: str, name: str) -> list[float]:
    """The figures of the row that begins with ``name``."""
    found = re.search(rf"^\| {re.escape(name)} \| (.+) \|$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"there is no row {name}")
    cells = [cell.strip().replace(",", "") for cell in found[1].split("|")]
    return [float(cell) for cell in cells if re.fullmatch(r"[\d.]+", cell)]


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def computed(capacity: str, benchmarks: str) -> str:
    """The document ``capacity`` with its tables computed anew."""
    head, _, rest = capacity.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    figures = measured(head, benchmarks)
    return f"{head}{_BEGIN}\n\n{tables(figures, prices(head))}\n\n{_END}{tail}"


def main() -> None:
    """Write the tables into docs/capacity.md."""
    text = CAPACITY.read_text(encoding="utf-8")
    CAPACITY.write_text(computed(text, BENCHMARKS.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
