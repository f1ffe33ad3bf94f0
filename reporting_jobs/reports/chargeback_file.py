"""Card numbers for disputes: the tokens of a list, resolved."""

from collections.abc import Iterator, Sequence

from reporting_jobs.context import Cell, Context, Output
from reporting_jobs.people import batches
from vault_service.domain.reports import (
    Classification,
    Column,
    Format,
    Limits,
    Parameter,
    ParameterType,
    Reading,
    ReportDefinition,
)

_AT_ONCE = 1000

DEFINITION = ReportDefinition(
    name="chargeback_file",
    title="Card numbers for disputes",
    description="The card numbers behind a list of tokens, for the file that a card scheme or"
    " an acquirer wants when a payment is disputed.",
    owner="payments",
    purpose="chargeback",
    reads=(Reading("pan", "plain"),),
    columns=(
        Column("token", Classification.TOKEN, "The token, as in the list"),
        Column("pan", Classification.CARDHOLDER, "The card number; empty where it is no more"),
        Column("found", Classification.FIGURE, "Whether the vault still has it"),
    ),
    limits=Limits(row_cap=1000, minimum_group=1),
    formats=(Format.CSV, Format.PARQUET, Format.JSON),
    parameters=(
        Parameter(
            "tokens",
            ParameterType.TOKENS,
            "Tokens of card numbers, 1,000 at most",
            lowest=1,
            highest=1000,
        ),
    ),
)


def make(context: Context) -> Output:
    """The card number of each token, in the order of the list, each token once."""
    tokens = list(dict.fromkeys(context.parameters["tokens"]))

    def rows() -> Iterator[Sequence[Cell]]:
        done = 0
        for batch in batches(tokens, _AT_ONCE):
            for token, value in zip(batch, context.vault.reveal(batch, "plain"), strict=True):
                yield token, value, value is not None
            done += len(batch)
            context.progress(done, len(tokens))

    return Output(rows())
