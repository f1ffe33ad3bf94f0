"""An output in the format that was asked for."""

from collections.abc import Iterator
from datetime import UTC

from reporting_jobs.context import Context, Output
from reporting_jobs.outputs.checking import CheckedRows
from vault_service.domain.reports import Format


def checked(context: Context, output: Output, cap: int) -> CheckedRows:
    """The output's rows, held against the definition and ``cap`` as they are made."""
    return CheckedRows(output.rows, [column.name for column in context.definition.columns], cap)


def pieces(
    format: Format,
    context: Context,
    output: Output,
    rows: CheckedRows,
    *,
    headed: bool = True,
) -> Iterator[bytes]:
    """The file piece by piece; ``rows`` counts them. With ``headed`` false, a CSV that is
    to be laid behind another begins with its rows. Raises
    :class:`~reporting_jobs.failures.RunFailed` for what is not as the definition says, and
    whatever the report raises."""
    match format:
        case Format.CSV:
            from reporting_jobs.outputs import csv_rows

            return csv_rows.pieces(rows, headed=headed)
        case Format.JSON:
            from reporting_jobs.outputs import json_rows

            return json_rows.pieces(rows)
        case Format.PARQUET:
            from reporting_jobs.outputs import parquet_rows

            return parquet_rows.pieces(rows)
        case Format.PDF:
            from reporting_jobs.outputs import pdf

            made_at = context.now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            heading = pdf.Heading(
                context.definition, context.run_id, context.parameters, context.period, made_at
            )
            return pdf.pieces(heading, output, rows)
