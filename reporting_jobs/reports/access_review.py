"""Rights that nobody uses, and use that is out of the ordinary (PCI-DSS 7.2.4, 10.4.1.1)."""

from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from reporting_jobs.context import Cell, Chart, Context, Output, ReportRefused, Section
from reporting_jobs.moments import days_back, stamp
from vault_service.domain.report_failures import FailureCode
from vault_service.domain.reports import (
    Classification,
    Column,
    Format,
    Limits,
    Parameter,
    ParameterType,
    ReportDefinition,
)
from vault_service.domain.review import Review, ReviewPlan
from vault_service.domain.review_counts import ReviewedEvent
from vault_service.domain.review_report import ReviewReport

_PROGRESS: Final = 1000
_TOP: Final = 10

DEFINITION = ReportDefinition(
    name="access_review",
    title="Access review",
    description="Who used their rights and how: grants and principals without use, policies"
    " that never decided, rises, reveals outside working hours, purposes named for the first"
    " time, refused requests.",
    owner="compliance",
    purpose="operations",
    reads=(),
    columns=(
        Column("kind", Classification.IDENTIFIER, "What was found, or figure"),
        Column("principal", Classification.IDENTIFIER, "Whose right or use it is"),
        Column("what", Classification.IDENTIFIER, "The policy, purpose, form or error code"),
        Column("where", Classification.IDENTIFIER, "The policy's file and line, or first event"),
        Column("now", Classification.FIGURE, "Tokens or requests in the period"),
        Column("before", Classification.FIGURE, "The same in the period before"),
        Column("first_at", Classification.FIGURE, "The first time, where it is known"),
        Column("last_at", Classification.FIGURE, "The last time, where it is known"),
    ),
    # Figures are about principals, whom a review has to name; none is about a customer.
    limits=Limits(row_cap=50_000, minimum_group=1),
    formats=(Format.PDF, Format.CSV, Format.JSON, Format.PARQUET),
    parameters=(
        days_back("How many days back; compared with as many before"),
        Parameter(
            "rise_percent",
            ParameterType.INTEGER,
            "Show reveals that are more than this many percent of those before",
            required=False,
            default=200,
            lowest=100,
            highest=10_000,
        ),
        Parameter(
            "hours_from",
            ParameterType.INTEGER,
            "When work begins, Monday to Friday: a full hour",
            required=False,
            default=8,
            lowest=0,
            highest=23,
        ),
        Parameter(
            "hours_to",
            ParameterType.INTEGER,
            "When work ends: a full hour",
            required=False,
            default=18,
            lowest=1,
            highest=24,
        ),
        Parameter(
            "timezone",
            ParameterType.TEXT,
            "Where, by its IANA name",
            required=False,
            default="UTC",
        ),
    ),
    schedule="cron(0 6 1 * ? *)",
    reads_rights=True,
)


def make(context: Context) -> Output:
    """Rows of findings, then of figures; the tenant's own events alone are counted."""
    rights = context.vault.rights()
    plan = _plan(context)
    review = Review(plan, rights.policies, rights.policy_hash)
    since, until = stamp(plan.since_before), stamp(plan.until)
    for read, event in enumerate(context.vault.events(from_=since, to=until), 1):
        review.count(msgspec.convert(event, ReviewedEvent))
        if read % _PROGRESS == 0:
            context.progress(read, None)
    tenants = sorted({principal.tenant for principal in rights.principals})
    report = review.report(rights.principals, tenants)
    return Output(list(_rows(report)), lambda: _sections(report))


def _plan(context: Context) -> ReviewPlan:
    given = context.parameters
    first, end = given["hours_from"], given["hours_to"]
    if first >= end:
        raise ReportRefused(
            FailureCode.PARAMETERS_INVALID, "hours_from has to lie before hours_to."
        )
    name = given["timezone"]
    # To the second, as the log is asked: an event is then counted if and only if it is read.
    until = context.now.replace(microsecond=0)
    return ReviewPlan(
        until, given["days"], given["rise_percent"] / 100, (first, end), _zone(name), name
    )


def _zone(name: str) -> tzinfo:
    if name == "UTC":  # which needs no time zone data on the machine
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ReportRefused(
            FailureCode.PARAMETERS_INVALID, "There is no such time zone; use an IANA name."
        ) from None


def _rows(report: ReviewReport) -> Iterator[Sequence[Cell]]:
    for grant in report.grants:
        where = f"{grant.file}:{grant.line}"
        for name in grant.unused:
            yield "unused_grant", name, grant.policy, where, None, None, None, None
    for p in report.silent_policies:
        where = f"{p.file}:{p.line}"
        yield "silent_policy", None, f"{p.policy} ({p.effect})", where, None, None, None, None
    for i in report.idle_principals:
        before = "active before" if i.seen_before else "never active"
        yield "idle_principal", i.principal, before, None, None, None, None, None
    for r in report.rises:
        yield "rise", r.principal, r.form, None, r.now, r.before, None, None
    for o in report.out_of_hours:
        seen = stamp(o.first), stamp(o.last)
        yield "out_of_hours", o.principal, o.type, o.event_ids[0], o.total, None, *seen
    for f in report.first_purposes:
        seen = stamp(f.first), None
        yield "first_purpose", f.principal, f.purpose, f.event_id, f.revealed, None, *seen
    for d in report.denials:
        for code, count in d.codes.items():
            yield "denied", d.principal, code, None, count, None, None, None
    for v in report.reveals:
        yield "revealed", v.principal, "plain", None, v.plain, v.plain_before, None, None
        yield "revealed", v.principal, "any", None, v.total, v.total_before, None, None


def _sections(report: ReviewReport) -> Sequence[Section]:
    period, before = report.period, report.before
    first, end = report.working_hours
    told = [
        f"From {stamp(period.since)} to {stamp(period.until)}: {period.events} events,"
        f" {before.events} in the period before.",
        f"{report.findings} findings for somebody to look at; each is a row below.",
    ]
    if not before.events:
        told.append("Without events before, every reveal is a rise and every purpose a first.")
    counts = [
        ("Grants that were not used", sum(len(grant.unused) for grant in report.grants)),
        ("Policies that decided nothing", len(report.silent_policies)),
        ("Principals that did nothing", len(report.idle_principals)),
        (f"Reveals that rose more than {report.factor:g}-fold", len(report.rises)),
        (
            f"Principals that revealed outside {first} to {end} o'clock {report.timezone}",
            len(report.out_of_hours),
        ),
        ("Purposes that a principal named for the first time", len(report.first_purposes)),
    ]
    top = report.reveals[:_TOP]
    return [
        Section("What was reviewed", told, ("finding", "how many"), counts),
        Section(
            "Who revealed most",
            ["Tokens revealed in any form, by principal."],
            chart=Chart(
                "Tokens revealed", [r.principal for r in top], [r.total for r in top], "tokens"
            ),
        ),
        Section(
            "Refused requests",
            head=("principal", "requests"),
            rows=[(d.principal or "not authenticated", d.requests) for d in report.denials[:_TOP]],
        ),
    ]
