"""``strongroom report``: list reports, ask for runs, approve them, take their output away."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console

from vault_service.cli.operation import stop
from vault_service.cli.report_files import open_output, verify_output
from vault_service.cli.report_texts import binding_lines, parameters_of, report_lines, run_lines
from vault_service.cli.report_worker import make_here, work
from vault_service.client import Client
from vault_service.client.errors import RequestRefused, StrongroomError
from vault_service.client.report_results import ReportInfo, RunInfo
from vault_service.client.reports import Reporting
from vault_service.domain.report_runs import ENDS, LIVE, RunState

app = typer.Typer(help="Run, approve and receive reports.", no_args_is_help=True)
app.command("open")(open_output)
app.command("verify")(verify_output)
app.command("worker")(work)

Run = Annotated[str, typer.Argument(metavar="RUN", help="The run's id: run_…")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
_FORMATS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]
_POLL_SECONDS: Final = (0.2, 3.0)
_WAITING: Final = {
    RunState.REQUESTED: "waits for its job",
    RunState.APPROVED: "is approved and waits for its job",
    RunState.RUNNING: "is made",
}


@app.command("list")
def list_reports(
    runs: Annotated[bool, typer.Option("--runs", help="The runs, newest first.")] = False,
    state: Annotated[RunState | None, typer.Option(help="Only runs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many runs.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the reports with what you may do, or the runs that you have a part in."""
    with _reporting() as reporting:
        if runs or state is not None:
            wanted = None if state is None else state.value
            found = list(islice(reporting.runs(state=wanted, limit=limit), limit))
            if as_json:
                typer.echo(json.dumps(msgspec.to_builtins(found), indent=2))
                return
            for run in found:
                typer.echo(f"{run.id}  {run.state:<10} {run.report:<20} {run.requested_at[:19]}Z")
            if not found:
                typer.echo("There is no such run that you have a part in.")
            return
        reports = reporting.reports()
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(reports), indent=2))
        return
    for report in reports:
        typer.echo("\n".join(report_lines(report)))
    if not reports:
        typer.echo("This vault has no report.")


@app.command("run")
def run_report(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The report.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="May be repeated."),
    ] = None,
    recipient: Annotated[
        str | None,
        typer.Option(help="The key to seal the output to: a KMS key ARN, or rsa:SHA256."),
    ] = None,
    format: Annotated[str | None, typer.Option(help="csv, parquet, json or pdf.")] = None,
    period: Annotated[
        str | None, typer.Option(help="An ISO date or time: one run for each.")
    ] = None,
    row_cap: Annotated[int | None, typer.Option(min=1, help="The most rows it may have.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the run has ended.")] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Make it here, as its job, once it is approved.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for a run of a report. The same request again finds the run that is there.

    Exit 0: done. 1: the run did not succeed (with --wait). 2: refused.
    """
    if recipient is None:
        stop("Name the key to seal the output to: --recipient arn:aws:kms:… or rsa:…")
    with _reporting() as reporting:
        report = _report(reporting, name)
        run = reporting.request_run(
            name,
            parameters=parameters_of(report, parameter or []),
            recipient=recipient,
            format=format,
            period=period,
            row_cap=row_cap,
        )
        created = run.created
        if not created and not as_json:
            typer.echo(
                f"This run was asked for before, on {run.requested_at[:19]}Z; for another one,"
                " name a --period.",
                err=True,
            )
        if local and run.order is not None:
            make_here(run.order)
            run = reporting.run(run.id)
        if wait:
            run = _ended(reporting, run)
    # What has become of it since does not tell whether this was the first request for it.
    _show(msgspec.structs.replace(run, created=created), as_json)
    if (wait or (local and run.order is not None)) and run.state != RunState.SUCCEEDED:
        raise typer.Exit(1)


@app.command()
def approve(
    run_id: Run,
    until: Annotated[
        datetime | None,
        typer.Option(formats=_FORMATS, help="Also approve runs alike, until then (UTC)."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Approve a run. Shows exactly what is approved, field by field, and asks.

    Where the run changes between what is shown and the approval, nothing is approved.
    """
    with _reporting() as reporting:
        run = reporting.run(run_id)
        if not as_json or not yes:
            typer.echo("\n".join(binding_lines(run, until)), err=as_json)
        if not yes and not _agreed():
            stop("Nothing was approved.")
        moment = None if until is None else f"{until:%Y-%m-%dT%H:%M:%S}Z"
        approved = reporting.approve(run_id, binding=run.binding, until=moment)
    _show(approved, as_json)


@app.command()
def reject(run_id: Run, as_json: AsJson = False) -> None:
    """Reject a run that waits for an approval."""
    with _reporting() as reporting:
        run = reporting.reject(run_id)
    _show(run, as_json)


@app.command()
def withdraw(
    approval: Annotated[str, typer.Argument(help="The standing approval's id: sap_…")],
) -> None:
    """Withdraw a standing approval. Runs that it approved before stay approved."""
    with _reporting() as reporting:
        reporting.withdraw(approval)
    typer.echo(f"{approval} is withdrawn.")


@app.command()
def show(
    run_id: Run,
    manifest: Annotated[bool, typer.Option("--manifest", help="Only the signed manifest.")] = False,
    order: Annotated[bool, typer.Option("--order", help="Only the signed work order.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a run: what was asked, who approved it, how it went."""
    with _reporting() as reporting:
        run = reporting.run(run_id)
    if manifest or order:
        note = run.manifest if manifest else run.order
        if note is None:
            stop("The run has none (yet).")
        typer.echo(note, nl=False)
        return
    _show(run, as_json)


@app.command()
def output(
    run_id: Run,
    path: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")
    ],
    part: Annotated[
        int | None, typer.Option(min=1, help="One part alone, of a run that was split.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the sealed output of a run to a file. Only the recipient's key opens it."""
    partial = path.with_name(f".{path.name}.part")
    with _reporting() as reporting:
        try:
            written = reporting.output(run_id, partial, part=part)
            partial.replace(path)
        except OSError as error:
            stop(f"Cannot write {path}: {error.strerror}.")
        finally:
            partial.unlink(missing_ok=True)
    if as_json:
        typer.echo(json.dumps({"run": run_id, "output": str(path), "bytes": written}))
    else:
        typer.echo(f"Wrote {written} sealed bytes to {path}.")


@contextmanager
def _reporting() -> Iterator[Reporting]:
    """Reports of the vault of STRONGROOM_URL; exit 2 with the reason where it refuses."""
    try:
        with Client() as client:
            yield Reporting(client)
    except RequestRefused as error:
        rules = "".join(f"\n  {each.field}: {each.detail} ({each.rule})" for each in error.errors)
        stop(f"{error.code}: {error.detail}{rules}\n  request {error.request_id}")
    except StrongroomError as error:
        stop(str(error))


def _agreed() -> bool:
    try:
        return typer.confirm("Approve exactly this?", err=True)
    except typer.Abort:
        return False


def _report(reporting: Reporting, name: str) -> ReportInfo:
    found = {report.name: report for report in reporting.reports()}
    if name not in found:
        stop("There is no such report; `strongroom report list` names them.")
    return found[name]


def _ended(reporting: Reporting, run: RunInfo) -> RunInfo:
    """The run once it has ended; shows what it does meanwhile on standard error."""
    console = Console(stderr=True)
    pause, longest = _POLL_SECONDS
    with console.status(_doing(run)) as status:
        while run.state in LIVE:
            time.sleep(pause)
            pause = min(pause * 1.5, longest)
            run = reporting.run(run.id)
            status.update(_doing(run))
    return run


def _doing(run: RunInfo) -> str:
    if run.state in ENDS:
        return f"{run.id} has ended"
    waits = "waits for an approval" if run.needs_approval and run.state == "requested" else None
    done = f", {run.parts_done} of {run.parts} parts done" if run.parts else ""
    read = f", {run.revealed} tokens read" if run.revealed else ""
    return f"{run.id} {waits or _WAITING[RunState(run.state)]}{done}{read}"


def _show(run: RunInfo, as_json: bool) -> None:
    if as_json:
        answer: dict[str, Any] = msgspec.to_builtins(run)
        typer.echo(json.dumps(answer, indent=2))
    else:
        typer.echo("\n".join(run_lines(run)))
