"""What is stored, where, and under which keys (PCI-DSS 3.2.1, 3.7.4, 12.5.2)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Final

from reporting_jobs.context import Cell, Chart, Context, Holding, Output, Section
from reporting_jobs.moments import day, days_back, days_between, stamp
from reporting_jobs.suppression import suppress
from vault_service.domain.reports import (
    Classification,
    Column,
    Format,
    Limits,
    ReportDefinition,
)

CRYPTOPERIOD_DAYS: Final = 90
"""An active key that is older was not rotated in time (PCI-DSS 3.7.4)."""
_HIDDEN: Final = "not shown"
_FLOWS: Final = ("tokenize", "detokenize", "delete_token", "export_subject")

DEFINITION = ReportDefinition(
    name="pci_inventory",
    title="Inventory of stored data",
    description="How much of which data is stored, where, under which keys and how old they"
    " are, what is kept too long, and who handled it. Figures about few people are not shown.",
    owner="compliance",
    purpose="regulatory_report",
    reads=(),
    columns=(
        Column("data_class", Classification.IDENTIFIER, "The kind of value"),
        Column("tags", Classification.IDENTIFIER, "What policies are written against"),
        Column("key_id", Classification.IDENTIFIER, "The data key"),
        Column("key_epoch", Classification.FIGURE, "Which of the class's keys it is"),
        Column("key_state", Classification.IDENTIFIER, "active encrypts; others only decrypt"),
        Column("key_created_at", Classification.FIGURE, "When the key was made"),
        Column("key_age_days", Classification.FIGURE, "How old it is"),
        Column("wrapping_key", Classification.IDENTIFIER, "What wraps it"),
        Column("tokens", Classification.FIGURE, "Values under it; empty: too few to show"),
        Column("subjects", Classification.FIGURE, "People they belong to; empty: too few"),
        Column("oldest", Classification.FIGURE, "The day of the oldest"),
        Column("newest", Classification.FIGURE, "The day of the newest"),
        Column("retention_days", Classification.FIGURE, "How long the class may be kept"),
        Column("overdue", Classification.FIGURE, "Kept longer; empty: too few to show"),
    ),
    limits=Limits(row_cap=5000, minimum_group=10),
    formats=(Format.PDF, Format.CSV, Format.JSON, Format.PARQUET),
    parameters=(days_back("How many days back the data flows are counted"),),
    schedule="cron(0 4 1 * ? *)",
)


@dataclass(frozen=True, slots=True)
class _Line:
    """A holding with what of it may be shown."""

    holding: Holding
    tokens: int | None
    subjects: int | None
    overdue: int | None


@dataclass(frozen=True, slots=True)
class _Class:
    """A class's lines and totals."""

    name: str
    lines: Sequence[_Line]
    tokens: int | None
    overdue: int | None


def make(context: Context) -> Output:
    """A row for each class and key; sections sum them up and add the data flows."""
    minimum = context.definition.limits.minimum_group
    holdings = sorted(context.vault.inventory(), key=lambda h: (h.data_class, h.epoch, h.key_id))
    classes = [
        _class(name, list(under), minimum)
        for name, under in groupby(holdings, key=lambda h: h.data_class)
    ]
    return Output(
        [_row(line, context) for each in classes for line in each.lines],
        lambda: list(_sections(context, classes, minimum)),
    )


def _class(name: str, holdings: Sequence[Holding], minimum: int) -> _Class:
    shown = suppress([h.tokens for h in holdings], minimum)
    lines = [
        _line(holding, tokens, minimum)
        for holding, tokens in zip(holdings, shown.groups, strict=True)
    ]
    parts = [line.overdue for line in lines if line.overdue is not None]
    # One hidden part would be the total less the others.
    overdue = sum(parts) if len(parts) == len(lines) else None
    return _Class(name, lines, shown.total, overdue)


def _line(holding: Holding, tokens: int | None, minimum: int) -> _Line:
    if tokens is None:
        return _Line(holding, None, None, None)
    # What is overdue and what is not are two groups, of which the row tells the total.
    [overdue, _] = suppress([holding.overdue, holding.tokens - holding.overdue], minimum).groups
    few = 0 < holding.subjects < minimum
    return _Line(holding, tokens, None if few else holding.subjects, overdue)


def _row(line: _Line, context: Context) -> Sequence[Cell]:
    h = line.holding
    shown = line.tokens is not None
    return (
        *(h.data_class, " ".join(h.tags), str(h.key_id), h.epoch, h.key_state),
        *(stamp(h.key_created_at), days_between(h.key_created_at, context.now)),
        *(h.wrapping_key or None, line.tokens, line.subjects),
        *(day(h.oldest) if shown else None, day(h.newest) if shown else None),
        *(h.retention_days, line.overdue),
    )


def _sections(context: Context, classes: Sequence[_Class], minimum: int) -> Iterator[Section]:
    known = [(each.name, each.tokens) for each in classes if each.tokens is not None]
    yield Section(
        "What is stored",
        [
            "Values are stored encrypted in the vault's database and nowhere else; other"
            " systems hold tokens. Sensitive authentication data is refused, never stored.",
            f"A figure that stands for fewer than {minimum} is {_HIDDEN}, nor is one that"
            " would give it away.",
        ],
        ("class", "values", "kept too long", "may be kept (days)"),
        [
            (
                each.name,
                _told(each.tokens),
                _told(each.overdue),
                each.lines[0].holding.retention_days,
            )
            for each in classes
        ],
        Chart("Values by class", [name for name, _ in known], [n for _, n in known], "values"),
    )
    yield _keys(context, classes)
    yield _flows(context, minimum)


def _keys(context: Context, classes: Sequence[_Class]) -> Section:
    ages = [
        (each.name, days_between(line.holding.key_created_at, context.now))
        for each in classes
        for line in each.lines
        if line.holding.key_state == "active"
    ]
    late = [(name, age) for name, age in ages if age > CRYPTOPERIOD_DAYS]
    told = (
        f"Every active key is younger than {CRYPTOPERIOD_DAYS + 1} days."
        if not late
        else f"{len(late)} active keys are older than {CRYPTOPERIOD_DAYS} days. Rotate them:"
        " strongroom key rotate."
    )
    chart = Chart("Age of active keys", [n for n, _ in ages], [age for _, age in ages], "days")
    return Section("Keys", [told], ("class", "age in days") if late else (), late, chart)


def _flows(context: Context, minimum: int) -> Section:
    """Who put values in, took them out or deleted them: the flows of account data
    (PCI-DSS 12.5.2)."""
    since = context.now - timedelta(days=context.parameters["days"])
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for action in _FLOWS:
        for event in context.vault.events(action=action, from_=stamp(since)):
            for group in event.get("groups", ()):
                if group["outcome"] == "ok" and group.get("data_class"):
                    who = event.get("principal") or "system"
                    key = (who, action, group["data_class"], group.get("form") or "")
                    counts[key] += len(group.get("tokens", ())) or group.get("count", 0)
    rows = [
        (*key, _told(None if 0 < count < minimum else count))
        for key, count in sorted(counts.items())
    ]
    return Section(
        "Who handled it",
        [f"What entered and left the vault in the last {context.parameters['days']} days."],
        ("principal", "action", "class", "form", "values"),
        rows,
    )


def _told(figure: int | None) -> str:
    return _HIDDEN if figure is None else f"{figure:,}"
