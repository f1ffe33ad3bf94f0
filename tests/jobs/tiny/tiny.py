"""A report for tests."""

from tests.jobs.tiny_rows import make
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

__all__ = ["DEFINITION", "make"]

DEFINITION = ReportDefinition(
    name="tiny",
    title="Tiny",
    description="Every address, for tests.",
    owner="compliance",
    purpose="regulatory_report",
    reads=(Reading("email", "plain"),),
    columns=(
        Column("token", Classification.TOKEN, "The token"),
        Column("email", Classification.PERSONAL, "The address"),
    ),
    limits=Limits(row_cap=2_000_000),
    formats=(Format.CSV, Format.JSON, Format.PARQUET, Format.PDF),
    parameters=(Parameter("behave", ParameterType.TEXT, "How to behave", required=False),),
    schedule="rate(1 hour)",
)
