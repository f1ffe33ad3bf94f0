"""``strongroom audit review``: rights that nobody uses, use that is out of the ordinary."""

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Annotated, Final
from zoneinfo import ZoneInfo

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vault_service.cli.operation import operator, stop, with_services
from vault_service.domain.access import Action
from vault_service.domain.review import Review, ReviewPlan
from vault_service.domain.review_report import ReviewReport

if TYPE_CHECKING:
    from vault_service.bootstrap import Services

_NO_TENANT: Final = "-"
_TOP: Final = 10
_HOURS: Final = re.compile(r"(\d{1,2})-(\d{1,2})", re.ASCII)
_TIME: Final = "%Y-%m-%d %H:%M"


def review(
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="How many days back; compared with as many before.")
    ] = 90,
    factor: Annotated[
        float, typer.Option(min=0.01, help="Show reveals that rose more than this many times.")
    ] = 2.0,
    hours: Annotated[str, typer.Option(help="Working hours, Monday to Friday.")] = "8-18",
    timezone: Annotated[str, typer.Option(help="Where, by its IANA name.")] = "UTC",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole report as JSON.")
    ] = False,
    fail_on_findings: Annotated[
        bool, typer.Option("--fail-on-findings", help="Exit 1 where something was found.")
    ] = False,
) -> None:
    """Review who used their rights, and how: grants and principals without use, policies that
    never decided, rises, reveals outside working hours, first-time purposes.

    Reads the log of all tenants, which is recorded there too.
    """
    plan = ReviewPlan(
        datetime.now(UTC), days, factor, _working_hours(hours), _zone(timezone), timezone
    )
    report = with_services(lambda services: _reviewed(services, plan))
    if as_json:
        body = {"findings": report.findings, **msgspec.to_builtins(report)}
        typer.echo(json.dumps(body, indent=2, ensure_ascii=False))
    else:
        _print(report)
    raise typer.Exit(1 if fail_on_findings and report.findings else 0)


def _working_hours(text: str) -> tuple[int, int]:
    found = _HOURS.fullmatch(text)
    first, end = (int(found[1]), int(found[2])) if found else (0, 0)
    if not first < end <= 24:
        stop("Write --hours as two full hours from 0 to 24, such as 8-18.")
    return first, end


def _zone(name: str) -> tzinfo:
    if name == "UTC":  # which needs no time zone data on the machine
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        stop("There is no such time zone here; use an IANA name such as Europe/Berlin.")


async def _reviewed(services: "Services", plan: ReviewPlan) -> ReviewReport:
    from vault_service.adapters.postgres.audit_stream import stream

    tenants = [*services.tenants, _NO_TENANT]
    found = Review(plan, services.engine.policies.values(), services.engine.bundle_hash)
    for tenant in tenants:
        count = 0
        events = stream(services.database, tenant, plan.since_before, plan.until)
        async with aclosing(events):
            async for body in events:
                found.add(body)
                count += 1
        # PCI-DSS 10.2.1.3: access to the log is in the log, before anything is shown.
        await services.application.store.append(
            services.recorder.system_event(
                Action.READ_AUDIT.value,
                principal=f"operator:{operator()}",
                tenant=tenant,
                detail={"view": "access_review", "events": count},
            )
        )
    return found.report(services.principals.values(), tenants)


def _print(report: ReviewReport) -> None:
    console = Console(highlight=False, soft_wrap=True)
    _print_head(console, report)
    if report.findings:
        _print_findings(console, report)
    else:
        console.print("\nNothing was found.")
    _print_figures(console, report)


def _print_head(console: Console, report: ReviewReport) -> None:
    period, before = report.period, report.before
    console.print(
        f"Access review of {period.since:{_TIME}} to {period.until:{_TIME}} UTC:"
        f" {period.events} events, {before.events} in the period before."
    )
    if not before.events:
        console.print("Without events before, every reveal is a rise and every purpose a first.")
    if report.policies_since is None:
        console.print("No event was decided under the present policy files.")
    elif report.policies_since > period.since:
        console.print(
            f"The present policy files decide since {report.policies_since:{_TIME}} at the"
            " earliest; what they grant cannot have been used before."
        )


def _print_findings(console: Console, report: ReviewReport) -> None:
    first, end = report.working_hours
    _show(
        console,
        "Grants that were not used",
        ("policy", "where", "principals without a decision by it"),
        ((g.policy, f"{g.file}:{g.line}", ", ".join(g.unused)) for g in report.grants if g.unused),
    )
    _show(
        console,
        "Policies that decided nothing",
        ("policy", "where", "effect"),
        ((p.policy, f"{p.file}:{p.line}", p.effect) for p in report.silent_policies),
    )
    _show(
        console,
        "Principals that did nothing",
        ("tenant", "principal", "type", "in the period before"),
        (
            (p.tenant, p.principal, p.type, "active" if p.seen_before else "nothing either")
            for p in report.idle_principals
        ),
    )
    _show(
        console,
        f"Reveals that rose more than {report.factor:g}-fold",
        ("tenant", "principal", "form", "before", "now", "times"),
        (
            (r.tenant, r.principal, r.form, r.before, r.now, "new" if r.ratio is None else r.ratio)
            for r in report.rises
        ),
    )
    _show(
        console,
        f"Reveals outside {first}-{end} o'clock, Monday to Friday, {report.timezone}",
        ("tenant", "principal", "type", "requests", "weekend", "plain", "any form", "last (UTC)"),
        (
            (
                *(o.tenant, o.principal, o.type, o.requests, o.weekend, o.plain, o.total),
                f"{o.last:{_TIME}}",
            )
            for o in report.out_of_hours
        ),
    )
    _show(
        console,
        "Purposes that a principal named for the first time",
        ("tenant", "principal", "purpose", "requests", "tokens", "first (UTC)", "event"),
        (
            (
                *(f.tenant, f.principal, f.purpose, f.requests, f.revealed),
                *(f"{f.first:{_TIME}}", f.event_id),
            )
            for f in report.first_purposes
        ),
    )


def _print_figures(console: Console, report: ReviewReport) -> None:
    _show(
        console,
        "Denied requests, most first",
        ("tenant", "principal", "requests", "codes"),
        (
            (
                *(d.tenant, d.principal or "not authenticated", d.requests),
                ", ".join(f"{code} {count}" for code, count in d.codes.items()),
            )
            for d in report.denials[:_TOP]
        ),
    )
    _show(
        console,
        "Tokens revealed",
        ("tenant", "principal", "plain", "any form", "plain before", "any form before"),
        (
            (r.tenant, r.principal, r.plain, r.total, r.plain_before, r.total_before)
            for r in report.reveals
        ),
    )


def _show(
    console: Console, title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    if table.row_count:
        console.print()
        console.print(table)
