"""Everything that is stored about one person, and who saw it (GDPR Art. 15)."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from reporting_jobs.context import Cell, Context, Output, Section, TokenEntry
from reporting_jobs.moments import stamp
from reporting_jobs.people import CLASSES, reading_all, require_all_classes, values_of
from vault_service.domain.reports import (
    Classification,
    Column,
    Format,
    Limits,
    Parameter,
    ParameterType,
    ReportDefinition,
)

_STORED = "stored"
_HANDLED = "handled"

DEFINITION = ReportDefinition(
    name="subject_access",
    title="Your data: an answer under Art. 15 GDPR",
    description="Everything that the vault holds about one person, in plain; why it is kept"
    " and until when; who handled it, when and for what purpose.",
    owner="compliance",
    purpose="subject_access",
    reads=reading_all("plain"),
    columns=(
        Column("record", Classification.IDENTIFIER, "stored (a value) or handled (an access)"),
        Column("at", Classification.FIGURE, "When it was stored or handled"),
        Column("data_class", Classification.IDENTIFIER, "The kind of value"),
        # Card numbers are among the values.
        Column("value", Classification.CARDHOLDER, "The value in plain; empty for accesses"),
        Column("token", Classification.TOKEN, "The token that stands for it"),
        Column("kept_until", Classification.FIGURE, "When it is due to be deleted"),
        Column("recipient", Classification.IDENTIFIER, "Who handled it"),
        Column("action", Classification.IDENTIFIER, "What was done"),
        Column("form", Classification.IDENTIFIER, "How much was shown, of a reveal"),
        Column("purpose", Classification.IDENTIFIER, "Why, in words"),
        Column("outcome", Classification.IDENTIFIER, "Whether it was done or refused"),
        Column("event", Classification.IDENTIFIER, "The id in the audit log"),
    ),
    limits=Limits(row_cap=100_000, minimum_group=1),
    formats=(Format.PDF, Format.JSON, Format.CSV),
    parameters=(Parameter("subject", ParameterType.SUBJECT, "Whose data: the subject's id"),),
)


def make(context: Context) -> Output:
    """Rows of what is stored, then of who handled it, newest first."""
    require_all_classes(context)
    catalog = context.vault.catalog()
    subject = str(context.parameters["subject"])
    told = _Told(catalog["purposes"])

    def rows() -> Iterator[Sequence[Cell]]:
        own: list[str] = []
        for data_class in CLASSES:
            days = catalog["data_classes"].get(data_class, {}).get("retention_days")
            for page in context.vault.tokens(data_class, subjects=[subject]):
                own += [entry.token for entry in page]
                for entry, value in values_of(context.vault, page, "plain"):
                    yield told.stored(entry, value, days)
        yield from told.handled(_events(context, subject, own), subject, frozenset(own))

    return Output(rows(), told.sections)


def _events(context: Context, subject: str, own: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Events that name the person or a token of theirs, each once: an event of a value that
    several people share names but the first of them."""
    seen: set[str] = set()
    searches = [{"subject": subject}, *({"token": token} for token in own)]
    for search in searches:
        for event in context.vault.events(**search):
            if event["id"] not in seen:
                seen.add(event["id"])
                yield event


class _Told:
    """Makes the rows, and remembers what the summary needs."""

    def __init__(self, purposes: Mapping[str, str]) -> None:
        self._texts = purposes
        self._classes: dict[str, int] = {}
        self._recipients: dict[tuple[str, str], int] = {}

    def stored(self, entry: TokenEntry, value: str, days: int | None) -> Sequence[Cell]:
        self._classes[entry.data_class] = self._classes.get(entry.data_class, 0) + 1
        until = _kept_until(entry, days)
        return (
            *(_STORED, stamp(entry.created_at), entry.data_class, value, entry.token, until),
            *(None, None, None, None, None, None),
        )

    def handled(
        self, events: Iterator[Mapping[str, Any]], subject: str, own: frozenset[str]
    ) -> Iterator[Sequence[Cell]]:
        for event in events:
            who = event.get("principal") or "not authenticated"
            purpose = event.get("purpose")
            why = None if purpose is None else self._texts.get(purpose, purpose)
            for group in event.get("groups", ()):
                mine = [token for token in group.get("tokens", ()) if token in own]
                # Others of the same event are none of this person's business.
                if not mine and subject not in group.get("subjects", ()):
                    continue
                key = (who, why or "none named")
                self._recipients[key] = self._recipients.get(key, 0) + 1
                for token in mine or [None]:
                    yield (
                        *(_HANDLED, event["time"], group.get("data_class"), None, token, None),
                        *(who, event["action"], group.get("form"), why),
                        *(group["outcome"], event["id"]),
                    )

    def sections(self) -> Sequence[Section]:
        if not self._classes:
            nothing = "Nothing is stored about you in this vault."
            return [Section("What is stored", [nothing]), self._who(), _rights()]
        stored = Section(
            "What is stored",
            ["These kinds of data are stored about you. The values are listed at the end."],
            ("kind of data", "values"),
            sorted(self._classes.items()),
        )
        return [stored, self._who(), _rights()]

    def _who(self) -> Section:
        return Section(
            "Who handled it, and why",
            ["Each line counts requests that touched your data, refused ones included."],
            ("recipient", "purpose", "requests"),
            [(who, why, count) for (who, why), count in sorted(self._recipients.items())],
        )


def _rights() -> Section:
    return Section(
        "Your rights",
        [
            "You may ask to have wrong data put right, data deleted, or its use restricted, and"
            " you may object to its use (GDPR Art. 16 to 18, 21).",
            "You may complain to a supervisory authority (GDPR Art. 77).",
            "The vault itself takes no decision about you.",
        ],
    )


def _kept_until(entry: TokenEntry, days: int | None) -> str | None:
    ends = [] if entry.expires_at is None else [entry.expires_at]
    if days is not None:
        ends.append(entry.created_at + timedelta(days=days))
    return stamp(min(ends)) if ends else None
