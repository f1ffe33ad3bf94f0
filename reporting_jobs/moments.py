"""Times: as outputs write them (RFC 3339 in UTC), and as reports ask for them."""

from datetime import UTC, date, datetime
from typing import Any

from vault_service.domain.reports import Parameter, ParameterType


def stamp(moment: datetime | None) -> str | None:
    """The time to the second; ``None`` for none."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(moment: datetime) -> str:
    """The date alone, in UTC."""
    return moment.astimezone(UTC).date().isoformat()


def moment(value: Any) -> datetime:
    """A parameter or a field of an event as a time; its offset is UTC where it has none."""
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def days_between(earlier: datetime, later: datetime) -> int:
    """Whole days from one to the other."""
    return (later - earlier).days


def days_back(description: str) -> Parameter:
    """The parameter ``days`` of a report that looks back from now: a quarter of a year where
    it is not given, two years at the most."""
    return Parameter(
        "days",
        ParameterType.INTEGER,
        description,
        required=False,
        default=90,
        lowest=1,
        highest=730,
    )


def calendar_date(text: str | None) -> date | None:
    """An ISO 8601 date; ``None`` where the text is none."""
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        return None
