"""``strongroom tokenize`` and ``strongroom detokenize``: a file through the vault."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from vault_service.client import Client
from vault_service.client.errors import RequestRefused, StrongroomError
from vault_service.client.file_checks import check_file
from vault_service.client.files import Summary, detokenize_file, tokenize_file
from vault_service.client.mapping import ColumnMap, MappingError, load_mapping, mapping_of
from vault_service.client.tables import TableError, table_suffixes
from vault_service.domain.errors import Code

File = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="csv, ndjson or parquet, by suffix.", show_default=False),
]
Map = Annotated[
    Path | None,
    typer.Option("--map", metavar="MAP.yml", help="Which columns hold what.", show_default=False),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="OUT", help="csv, ndjson or parquet.", show_default=False
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check mapping, file and rights; send no value.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
Concurrency = Annotated[int, typer.Option(min=1, max=32, help="Requests under way at once.")]

_MEND = {
    Code.ACCESS_DENIED: "The policies do not allow this to the principal of STRONGROOM_TOKEN: "
    "use one that may, or have a policy permit it (`strongroom policy explain` shows why).",
    Code.UNAUTHENTICATED: "Set STRONGROOM_TOKEN to a valid key "
    "(`strongroom principal issue-key NAME` prints one).",
    Code.CREDENTIAL_EXPIRED: "Have a new key issued: `strongroom principal rotate-key NAME`.",
    Code.BUDGET_EXCEEDED: "The reveal budget is used up: wait for the next window, or have it "
    "raised in policies/principals.yml.",
    Code.PURPOSE_REQUIRED: "Name one of the catalog's purposes with --purpose.",
}


def tokenize(
    file: File,
    map_file: Map = None,
    output: Output = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=CLASS", help="In place of --map; may be repeated."),
    ] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column that names the subject.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    concurrency: Concurrency = 4,
) -> None:
    """Replace columns of values by columns of tokens.

    Rows with a value that the vault refuses are left out and listed in OUT.rejects.csv,
    by line and reason. An interrupted run leaves nothing behind and can be repeated
    without making duplicates. Exit 0: done; 1: some rows were rejected; 2: refused.
    """

    def prepare() -> ColumnMap:
        mapping = _mapping(map_file, column, subject)
        mapping.check_classes()
        return mapping

    def run(vault: Client, mapping: ColumnMap, target: Path, bar: _ProgressBar) -> Summary:
        return tokenize_file(vault, file, mapping, target, progress=bar)

    _command(file, output, prepare, run, None, dry_run, as_json, concurrency)


def detokenize(
    file: File,
    purpose: Annotated[
        str, typer.Option(metavar="PURPOSE", help="Why the values are needed.", show_default=False)
    ],
    map_file: Map = None,
    output: Output = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="In place of --map; may be repeated."),
    ] = None,
    form: Annotated[
        str, typer.Option(help="The form of columns that the mapping gives none: plain, …")
    ] = "masked",
    case: Annotated[
        str | None, typer.Option(metavar="CASE", help="The matter, for the audit log.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    concurrency: Concurrency = 4,
) -> None:
    """Replace columns of tokens by values, masked unless another form is asked for.

    OUT is readable by you alone. Rows whose token gives nothing are left out and listed
    in OUT.rejects.csv. Exit 0: done; 1: some rows were rejected; 2: refused.
    """

    def prepare() -> ColumnMap:
        return _mapping(map_file, column, None).with_form(form)

    def run(vault: Client, mapping: ColumnMap, target: Path, bar: _ProgressBar) -> Summary:
        return detokenize_file(
            vault, file, mapping, target, purpose=purpose, case=case, progress=bar
        )

    _command(file, output, prepare, run, purpose, dry_run, as_json, concurrency)


def _mapping(map_file: Path | None, column: list[str] | None, subject: str | None) -> ColumnMap:
    if (map_file is None) == (not column):
        raise MappingError("Give --map MAP.yml or --column (and not both).")
    if map_file is not None:
        mapping = load_mapping(map_file)
        return ColumnMap(mapping.columns, subject or mapping.subject)
    return ColumnMap(mapping_of(column or []).columns, subject)


def _command(
    file: Path,
    output: Path | None,
    prepare: Callable[[], ColumnMap],
    run: "Callable[[Client, ColumnMap, Path, _ProgressBar], Summary]",
    purpose: str | None,
    dry_run: bool,
    as_json: bool,
    concurrency: int,
) -> None:
    if output is None and not dry_run:
        _stop("Name the output with -o OUT.")
    if output is not None and output.suffix.lower() not in table_suffixes:
        _stop(f"{output} must end in one of {', '.join(sorted(table_suffixes))}.")
    try:
        mapping = prepare()
        with Client(concurrency=concurrency) as vault:
            if output is None or dry_run:
                problems = check_file(vault, file, mapping, purpose=purpose)
                _report_check(vault, problems, as_json)
                return
            with _ProgressBar(file.name) as bar:
                summary = run(vault, mapping, output, bar)
    except RequestRefused as error:
        mend = _MEND.get(Code(error.code), "") if error.code in set(Code) else ""
        _stop(f"Refused: {error}\n{mend}\nNothing was written.")
    except TableError as error:
        _stop(f"{file}: {error}\nNothing was written.")
    except StrongroomError as error:
        _stop(f"{error}\nNothing was written.")
    except OSError as error:
        _stop(f"{error.filename or file}: {error.strerror}\nNothing was written.")
    except KeyboardInterrupt:
        _stop(
            "Interrupted, and nothing was written. Values that the vault took keep their tokens: "
            "run the same command again."
        )
    _report(summary, output, as_json)


def _report_check(vault: Client, problems: list[str], as_json: bool) -> None:
    principal = vault.whoami().principal
    if as_json:
        typer.echo(json.dumps({"principal": principal, "problems": problems}, indent=2))
    else:
        for problem in problems:
            typer.echo(problem)
        state = "in the way" if problems else "ready to run"
        typer.echo(f"{state}, as {principal}; nothing was sent")
    raise typer.Exit(2 if problems else 0)


def _report(summary: Summary, output: Path, as_json: bool) -> NoReturn:
    rejects = str(summary.rejects_file) if summary.rejects_file else None
    if as_json:
        figures = {
            "rows": summary.rows,
            "written": summary.written,
            "rejected": summary.rejected,
            "cells": summary.cells,
            "distinct": summary.distinct,
            "seconds": round(summary.seconds, 3),
            "rows_per_second": round(summary.rows_per_second),
            "output": str(output),
            "rejects_file": rejects,
        }
        typer.echo(json.dumps(figures, indent=2))
    else:
        distinct = "very many" if summary.distinct is None else f"{summary.distinct:,}"
        typer.echo(
            f"{summary.rows:,} rows read, {summary.written:,} written to {output}: "
            f"{summary.cells:,} cells replaced, {distinct} of them distinct; "
            f"{summary.rejected:,} rows rejected. "
            f"{summary.seconds:.1f} s, {summary.rows_per_second:,.0f} rows/s"
        )
        if rejects:
            typer.echo(f"Rejected rows, by line and reason: {rejects}")
    raise typer.Exit(1 if summary.rejected else 0)


def _stop(message: str) -> NoReturn:
    typer.echo("\n".join(line for line in message.splitlines() if line), err=True)
    raise typer.Exit(2)


class _ProgressBar(Progress):
    """A bar with rows a second on stderr where that is a terminal, else nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rows]:,} rows, {task.fields[speed]:,.0f}/s"),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self.add_task(escape(name), rows=0, speed=0.0)

    def __call__(self, position: int, size: int, rows: int) -> None:
        elapsed = self.tasks[0].elapsed or 0.0
        speed = rows / elapsed if elapsed else 0.0
        self.update(self._task, completed=position, total=size or 1, rows=rows, speed=speed)
