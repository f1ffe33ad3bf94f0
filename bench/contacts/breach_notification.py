"""A report over every e-mail address, in the place of the one whose job's rights it has."""

from collections.abc import Iterator, Sequence

from reporting_jobs.context import Cell, Context, Output
from reporting_jobs.people import revealed
from vault_service.domain.reports import (
    Classification,
    Column,
    Format,
    Limits,
    Reading,
    ReportDefinition,
)

DEFINITION = ReportDefinition(
    name="breach_notification",
    title="Everybody's address",
    description="The e-mail address behind every token, for benchmarks.",
    owner="compliance",
    purpose="breach_notification",
    reads=(Reading("email", "plain"),),
    columns=(
        Column("token", Classification.TOKEN, "The token"),
        Column("subject", Classification.IDENTIFIER, "Whose address it is"),
        Column("email", Classification.PERSONAL, "The address"),
    ),
    limits=Limits(row_cap=5_000_000, minimum_group=1),
    formats=(Format.CSV, Format.PARQUET),
)


def make(context: Context) -> Output:
    """A row a token."""
    return Output(_rows(context))


def _rows(context: Context) -> Iterator[Sequence[Cell]]:
    done = 0
    pages = context.vault.tokens("email")
    for page, values in revealed(context.vault, pages, "plain"):
        for entry, value in values:
            yield entry.token, entry.subject, value
        done += len(page)
        context.progress(done, None)
