"""``strongroom scan``: raw card numbers and personal data left in files."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from vault_service.client.scanning import FileFinding, ScanReport, scan_paths
from vault_service.domain.detection import Confidence


def scan(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="Files (csv, tsv, ndjson, json, parquet, duckdb, txt, log) or folders.",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    min_confidence: Annotated[
        Confidence, typer.Option(help="Leave out findings that are less sure.")
    ] = Confidence.MEDIUM,
) -> None:
    """Look for card numbers, IBANs, emails, phone numbers and US social security numbers.

    Prints where they are and how many, never the values. Exit code 0: nothing found;
    1: something found; 2: something could not be read.
    """
    with _ProgressBar() as progress:
        report = scan_paths(paths, min_confidence, progress)
    if as_json:
        typer.echo(json.dumps(_as_json(report), ensure_ascii=False, indent=2))
    else:
        _print(report)
    raise typer.Exit(_exit_code(report))


def _exit_code(report: ScanReport) -> int:
    """A finding counts more than a file that could not be read: it is certain."""
    if report.findings:
        return 1
    return 2 if report.unreadable else 0


def _as_json(report: ScanReport) -> dict[str, Any]:
    return {
        "findings": [_finding_as_json(found) for found in report.findings],
        "unreadable": [{"file": file, "reason": reason} for file, reason in report.unreadable],
        "skipped": report.skipped,
        "files": report.files,
        "values": report.values,
    }


def _finding_as_json(found: FileFinding) -> dict[str, Any]:
    return {
        "file": found.file,
        "table": found.table,
        "column": found.column,
        "kind": found.finding.kind.value,
        "count": found.finding.count,
        "confidence": found.finding.confidence.value,
        "lines": list(found.finding.lines),
    }


def _print(report: ScanReport) -> None:
    console = Console(highlight=False)
    errors = Console(stderr=True, highlight=False)
    if report.findings:
        table = Table()
        for heading in ("file", "column", "kind", "count", "confidence", "lines"):
            # Folded, not cut: the file and the column are what the reader is after.
            table.add_column(heading, overflow="fold")
        for found in report.findings:
            column = found.column if found.table is None else f"{found.table}.{found.column}"
            finding = found.finding
            lines = ", ".join(map(str, finding.lines))
            more = ", …" if finding.count > len(finding.lines) else ""
            table.add_row(
                escape(found.file),
                escape(column),
                finding.kind.value,
                f"{finding.count:,}",
                finding.confidence.value,
                lines + more,
            )
        console.print(table)
    for file, reason in report.unreadable:
        errors.print(f"not scanned: {escape(file)}: {escape(reason)}", soft_wrap=True)
    if report.skipped:
        errors.print(f"passed over, not data by their suffix: {len(report.skipped)} files")
    total = sum(found.finding.count for found in report.findings)
    console.print(
        f"{total:,} findings in {report.values:,} values of {report.files:,} files", soft_wrap=True
    )


class _ProgressBar(Progress):
    """A bar on stderr where that is a terminal, else nothing."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self.add_task("")

    def __call__(self, file: str, position: int, size: int) -> None:
        self.update(self._task, description=escape(file), completed=position, total=size or 1)
