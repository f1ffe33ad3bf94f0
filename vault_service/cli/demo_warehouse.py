"""The demo's warehouse: DuckDB over files, with one question asked of it."""

from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

_SPEND_BY_CARD: Final = """
    SELECT customers.customer_id, count(*), sum(orders.amount), any_value(orders.card)
    FROM orders JOIN customers USING (card)
    GROUP BY customers.customer_id, orders.card
    ORDER BY 3 DESC, 1, 2
"""


class Spend(NamedTuple):
    """What was spent with one card; ``card`` is its number, or the token in its place."""

    customer: str
    orders: int
    amount: Decimal
    card: str


def load(database: Path | None, customers: Path, orders: Path) -> list[Spend]:
    """Load the two tables (csv or parquet) into a DuckDB file made anew, or into memory,
    and ask for the spend by card, most first."""
    import duckdb

    if database is not None:
        database.unlink(missing_ok=True)
    with duckdb.connect(":memory:" if database is None else str(database)) as connection:
        for table, file, kept in (
            ("customers", customers, "*"),
            ("orders", orders, "* REPLACE (CAST(amount AS DECIMAL(18, 2)) AS amount)"),
        ):
            # Only names of this module get into the statement; the file is a parameter.
            source = (
                "read_csv(?, all_varchar = true)" if file.suffix == ".csv" else "read_parquet(?)"
            )
            connection.execute(
                f"CREATE TABLE {table} AS SELECT {kept} FROM {source}",  # nosec B608
                [str(file)],
            )
        return [Spend(*row) for row in connection.execute(_SPEND_BY_CARD).fetchall()]
