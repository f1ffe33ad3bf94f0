"""Deletes what has outlived its expiry or retention, or lists it (PCI-DSS 3.2.1, GDPR
Art. 5(1)(e))."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice

from reporting_jobs.context import Cell, Chart, Context, Output, Section, TokenEntry
from reporting_jobs.moments import stamp
from reporting_jobs.people import CLASSES, reading_all, require_all_classes
from vault_service.domain.reports import (
    NO_VALUE,
    Classification,
    Column,
    Format,
    Limits,
    Parameter,
    ParameterType,
    ReportDefinition,
)

_PURGE = "purge"
_LONGEST_RUN = timedelta(days=31)

DEFINITION = ReportDefinition(
    name="retention_purge",
    title="Purge of what is kept too long",
    description="Lists the tokens whose value is past its expiry or the retention of its"
    " class and, if asked to, deletes them for good. It sees no value.",
    owner="compliance",
    purpose="operations",
    reads=reading_all(NO_VALUE),
    columns=(
        Column("token", Classification.TOKEN, "A token that is kept too long"),
        Column("data_class", Classification.IDENTIFIER, "Its data class"),
        Column("stored_at", Classification.FIGURE, "When it was stored; empty if told by the log"),
        Column("expires_at", Classification.FIGURE, "When it expired, if it had an expiry"),
        Column("outcome", Classification.IDENTIFIER, "overdue, or deleted: it is no more"),
    ),
    limits=Limits(row_cap=1_000_000, minimum_group=1),
    formats=(Format.CSV, Format.PARQUET, Format.JSON, Format.PDF),
    parameters=(
        Parameter(
            "mode",
            ParameterType.CHOICE,
            "dry_run lists; purge deletes, and there is no way back",
            required=False,
            default="dry_run",
            choices=("dry_run", _PURGE),
        ),
    ),
    schedule="cron(0 3 ? * SUN *)",
    # Nothing plain is shown, but what is deleted is gone.
    approval=True,
)


def make(context: Context) -> Output:
    """A row for each overdue token; deleting ends at the cap, and the next run goes on."""
    require_all_classes(context)
    purging = context.parameters["mode"] == _PURGE
    counts: Counter[str] = Counter()

    def rows() -> Iterator[Sequence[Cell]]:
        made = 0
        if purging:
            for row in _deleted_before(context):
                made += 1
                counts[str(row[1])] += 1
                yield row
        for data_class in CLASSES:
            for page in context.vault.tokens(data_class, overdue=True):
                entries = list(islice(page, context.cap - made)) if purging else list(page)
                if purging and entries:
                    context.vault.delete([entry.token for entry in entries])
                made += len(entries)
                counts[data_class] += len(entries)
                context.progress(made, None)
                yield from (_row(entry, purging) for entry in entries)

    return Output(rows(), lambda: _sections(context, purging, counts))


def _deleted_before(context: Context) -> Iterator[Sequence[Cell]]:
    """What this run deleted before it was killed and taken over: the log alone knows."""
    since = context.requested_at or context.now - _LONGEST_RUN
    events = context.vault.events(
        principal=context.definition.job, action="delete_token", from_=stamp(since)
    )
    for event in events:
        if event.get("detail", {}).get("run") == context.run_id:
            for group in event.get("groups", ()):
                if group["outcome"] == "ok":
                    for token in group.get("tokens", ()):
                        yield token, group.get("data_class"), None, None, "deleted"


def _row(entry: TokenEntry, purging: bool) -> Sequence[Cell]:
    outcome = "deleted" if purging else "overdue"
    stored, expires = stamp(entry.created_at), stamp(entry.expires_at)
    return entry.token, entry.data_class, stored, expires, outcome


def _sections(context: Context, purging: bool, counts: Counter[str]) -> Sequence[Section]:
    total = counts.total()
    done = "were deleted" if purging else "are overdue; nothing was deleted"
    more = purging and total >= context.cap
    paragraphs = [f"{total} tokens {done}."]
    if more:
        paragraphs.append("The cap was reached: run it again for the rest.")
    rows = [(name, count) for name, count in sorted(counts.items()) if count]
    chart = Chart("Tokens by class", [r[0] for r in rows], [r[1] for r in rows], "tokens")
    return [Section("What is kept too long", paragraphs, ("class", "tokens"), rows, chart)]
