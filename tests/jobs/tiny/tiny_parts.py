"""A report for tests that splits."""

from tests.jobs.tiny_rows import make
from vault_service.domain.report_parts import Split
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
    name="tiny_parts",
    title="Tiny parts",
    description="Every address, a thousand a part, for tests.",
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
    split=Split("email", 1000),
)
