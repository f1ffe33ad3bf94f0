"""Names and birth dates of all people against a list of sanctioned ones.

No name leaves: a hit is the token of a name, the person's id, a score and the id of a list
entry. docs/sanctions-screening.md has the list's format, the score and how well it does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

from reporting_jobs.context import Cell, Chart, Context, Output, ReportRefused, Section
from reporting_jobs.moments import calendar_date
from reporting_jobs.people import PEOPLE_AT_ONCE, batches, revealed, values_of
from vault_service.domain.report_failures import FailureCode
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

if TYPE_CHECKING:
    from reporting_jobs.screening import Screening

_NAME: Final = "person_name"
_BIRTH: Final = "date_of_birth"
_LIST: Final = "sanctions_list"

DEFINITION = ReportDefinition(
    name="sanctions_screening",
    title="Sanctions screening",
    description="Compares names and birth dates of all people with a list, whatever the script"
    " and the order of names, and with misspellings. A hit is a matter for a person to look"
    " into, not a finding about one.",
    owner="compliance",
    purpose="regulatory_report",
    reads=(Reading(_NAME, "plain"), Reading(_BIRTH, "plain")),
    columns=(
        Column("token", Classification.TOKEN, "The token of the name"),
        Column("subject", Classification.IDENTIFIER, "Whose name it is, if that is known"),
        Column("score", Classification.FIGURE, "How alike name and birth date are, 0 to 100"),
        Column("entry", Classification.IDENTIFIER, "The id of the entry on the list"),
    ),
    # All names and birth dates are read, and only hits leave.
    limits=Limits(row_cap=100_000, minimum_group=1, token_cap=10_000_000),
    formats=(Format.CSV, Format.PARQUET, Format.JSON, Format.PDF),
    parameters=(
        Parameter(
            _LIST,
            ParameterType.INPUT,
            "The file with the list",
            required=False,
            default="sanctions.csv",
        ),
        Parameter(
            "list_sha256",
            ParameterType.TEXT,
            "The SHA-256 (hex) that the list has to have; binds an approval to its contents",
            required=False,
        ),
        Parameter(
            "threshold",
            ParameterType.INTEGER,
            "The lowest score that is a hit",
            required=False,
            default=90,
            lowest=75,
            highest=100,
        ),
    ),
    schedule="cron(0 2 * * ? *)",
    # Each name is compared by itself. 50,000 take a process some minutes.
    split=Split(_NAME, 50_000),
    # Whoever chooses the list could ask after any name with it.
    approval=True,
)


def make(context: Context) -> Output:
    """A row for each name and entry that are alike enough, best first for each name."""
    from reporting_jobs.sanctions_list import read_list
    from reporting_jobs.screening import Screening

    try:
        with context.inputs[_LIST]() as file:
            listed = read_list(file)
    except (FileNotFoundError, KeyError):
        raise ReportRefused(
            FailureCode.INPUT_MISSING, "The list is not there; hand it in."
        ) from None
    wanted = context.parameters.get("list_sha256")
    if wanted and wanted.lower() != listed.sha256:
        raise ReportRefused(
            FailureCode.INPUT_CHANGED,
            "The list is another than the one asked for; see list_sha256.",
        )
    screening = Screening(listed.entries, context.parameters["threshold"])
    bands = dict.fromkeys(range(context.parameters["threshold"] // 5 * 5, 101, 5), 0)
    counted = [0, 0]

    def rows() -> Iterator[Sequence[Cell]]:
        for row in _hits(context, screening, counted):
            bands[int(float(str(row[2])) // 5 * 5)] += 1
            yield row

    def sections() -> Sequence[Section]:
        return _sections(len(listed.entries), listed.sha256, counted, bands)

    return Output(rows(), sections)


def _hits(context: Context, screening: "Screening", counted: list[int]) -> Iterator[Sequence[Cell]]:
    for page, names in revealed(context.vault, context.vault.tokens(_NAME), "plain"):
        subjects = {entry.subject for entry in page if entry.subject is not None}
        births = _births(context, sorted(subjects))
        for entry, name in names:
            born = births.get(entry.subject, ()) if entry.subject is not None else ()
            for entry_id, score in screening.hits(name, born):
                counted[1] += 1
                yield entry.token, entry.subject, score, entry_id
        counted[0] += len(page)
        context.progress(counted[0], None)


def _births(context: Context, subjects: Iterable[str]) -> Mapping[str, set[date]]:
    found: dict[str, set[date]] = {}
    for batch in batches(subjects, PEOPLE_AT_ONCE):
        for page in context.vault.tokens(_BIRTH, subjects=batch):
            for entry, value in values_of(context.vault, page, "plain"):
                born = calendar_date(value)
                if born is not None and entry.subject is not None:
                    found.setdefault(entry.subject, set()).add(born)
    return found


def _sections(
    entries: int, sha256: str, counted: Sequence[int], bands: Mapping[int, int]
) -> Sequence[Section]:
    labels = [f"{band} to {band + 4}" if band < 100 else "100" for band in bands]
    return [
        Section(
            "What was screened",
            [
                f"{counted[0]} names against a list of {entries} entries (SHA-256 {sha256}):"
                f" {counted[1]} hits.",
                "A hit says that two names and dates are alike. Whether they are one person is"
                " for somebody to find out.",
            ],
            chart=Chart("Hits by score", labels, list(bands.values()), "hits"),
        )
    ]
