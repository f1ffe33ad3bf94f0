"""Whom to tell after a breach: whose data a principal saw, with contact data (GDPR Art. 33
and 34)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reporting_jobs.context import Cell, Chart, Context, Output, ReportRefused, Section
from reporting_jobs.moments import moment
from reporting_jobs.people import CLASSES, PEOPLE_AT_ONCE, batches, newest_values
from vault_service.domain.report_failures import FailureCode
from vault_service.domain.reports import (
    NO_VALUE,
    Classification,
    Column,
    Format,
    Limits,
    Parameter,
    ParameterType,
    Reading,
    ReportDefinition,
)

_CONTACT = ("person_name", "email", "phone", "postal_address")
_REVEALS = "detokenize"

DEFINITION = ReportDefinition(
    name="breach_notification",
    title="People concerned by a breach",
    description="Whose data a principal revealed between two times, as the audit log tells"
    " it, with what is needed to reach them and nothing else.",
    owner="compliance",
    purpose="breach_notification",
    reads=(
        *(Reading(name, "plain") for name in _CONTACT),
        *(Reading(name, NO_VALUE) for name in CLASSES if name not in _CONTACT),
    ),
    columns=(
        Column("subject", Classification.IDENTIFIER, "The person's id"),
        Column("person_name", Classification.PERSONAL, "Their newest name"),
        Column("email", Classification.PERSONAL, "Their newest e-mail address"),
        Column("phone", Classification.PERSONAL, "Their newest telephone number"),
        Column("postal_address", Classification.PERSONAL, "Their newest address"),
        Column("exposed", Classification.IDENTIFIER, "Kinds of data that were revealed"),
        Column("first_at", Classification.FIGURE, "The first reveal"),
        Column("last_at", Classification.FIGURE, "The last reveal"),
    ),
    limits=Limits(row_cap=250_000, minimum_group=1),
    formats=(Format.CSV, Format.PARQUET, Format.JSON, Format.PDF),
    parameters=(
        Parameter("principal", ParameterType.PRINCIPAL, "Whose credential was abused"),
        Parameter("from", ParameterType.TIME, "From when on"),
        Parameter("to", ParameterType.TIME, "Until just before when"),
        Parameter(
            "forms",
            ParameterType.CHOICE,
            "any counts masked reveals too; plain leaves those out",
            required=False,
            default="any",
            choices=("any", "plain"),
        ),
    ),
)


@dataclass(slots=True)
class _Exposure:
    classes: int
    first: str
    last: str


@dataclass(slots=True)
class _Exposed:
    """Who was exposed, in memory: some hundred bytes a person."""

    context: Context
    people: dict[str, _Exposure] = field(default_factory=dict)
    unknown: int = 0

    def add(self, subject: str, data_class: str, time: str) -> None:
        bit = 1 << CLASSES.index(data_class) if data_class in CLASSES else 0
        known = self.people.get(subject)
        if known is None:
            self.people[subject] = _Exposure(bit, time, time)
            return
        known.classes |= bit
        known.first, known.last = min(known.first, time), max(known.last, time)

    def take(self, group: Mapping[str, Any], time: str) -> None:
        """A group of a reveal: the people it names, and the others whom its tokens belong
        to as well."""
        data_class = group.get("data_class", "")
        subjects = set(group.get("subjects", ()))
        tokens = group.get("tokens", ())
        held: set[str] = set()
        if data_class in self.context.definition.data_classes:
            for batch in batches(tokens, PEOPLE_AT_ONCE):
                for page in self.context.vault.tokens(data_class, among=batch):
                    for entry in page:
                        if entry.subject is not None:
                            subjects.add(entry.subject)
                            held.add(entry.token)
        self.unknown += len(set(tokens) - held)
        for subject in subjects:
            self.add(subject, data_class, time)


def make(context: Context) -> Output:
    """A row for each person, in the order of their ids."""
    start, end = moment(context.parameters["from"]), moment(context.parameters["to"])
    if start >= end:
        raise ReportRefused(FailureCode.PARAMETERS_INVALID, "from has to lie before to.")
    exposed = _Exposed(context)

    def rows() -> Iterator[Sequence[Cell]]:
        _collect(context, exposed)
        done = 0
        for batch in batches(sorted(exposed.people), PEOPLE_AT_ONCE):
            contacts = [newest_values(context.vault, name, batch, "plain") for name in _CONTACT]
            for subject in batch:
                known = exposed.people[subject]
                yield (
                    subject,
                    *(contact.get(subject) for contact in contacts),
                    *(", ".join(_names(known.classes)), known.first, known.last),
                )
            done += len(batch)
            context.progress(done, len(exposed.people))

    return Output(rows(), lambda: _sections(exposed))


def _collect(context: Context, exposed: _Exposed) -> None:
    plain_only = context.parameters["forms"] == "plain"
    events = context.vault.events(
        principal=context.parameters["principal"],
        action=_REVEALS,
        from_=context.parameters["from"],
        to=context.parameters["to"],
    )
    for event in events:
        for group in event.get("groups", ()):
            if group["outcome"] == "ok" and (not plain_only or group.get("form") == "plain"):
                exposed.take(group, event["time"])
        # One more than may leave: the run fails by its cap, and memory stays bounded.
        if len(exposed.people) > context.cap:
            return


def _names(classes: int) -> list[str]:
    return [name for bit, name in enumerate(CLASSES) if classes >> bit & 1]


def _sections(exposed: _Exposed) -> Sequence[Section]:
    counts = [
        (name, sum(known.classes >> bit & 1 for known in exposed.people.values()))
        for bit, name in enumerate(CLASSES)
    ]
    rows = [(name, count) for name, count in counts if count]
    return [
        Section(
            "Who was exposed",
            [
                f"{len(exposed.people)} people are concerned. {exposed.unknown} times a value was"
                " revealed that nobody is known to own, or that was deleted since: look for its"
                " owner by other means."
            ],
            ("kind of data", "people"),
            rows,
            Chart("People by kind of data", [r[0] for r in rows], [r[1] for r in rows], "people"),
        )
    ]
