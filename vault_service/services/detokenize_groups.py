"""The items of a detokenize request by what decides about them, and how that is recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from vault_service.domain.access import Tags
from vault_service.domain.catalog import DataClass
from vault_service.domain.errors import Code
from vault_service.domain.events import EventGroup
from vault_service.domain.tokens import TokenRecord
from vault_service.services.items import INTEGRITY, ItemError, RevealedItem
from vault_service.services.recording import outcome_of

_ERROR: Final = attrgetter("error")
_TOKEN: Final = attrgetter("token")
_SUBJECT: Final = attrgetter("subject")


@dataclass(slots=True)
class Group:
    """The items of one class, set of tags and form: decided once. ``results`` and
    ``records`` run side by side."""

    data_class: DataClass
    tags: Tags
    form: str
    show: Callable[[str], str]
    results: list[RevealedItem] = field(default_factory=list)
    records: list[TokenRecord] = field(default_factory=list)
    policies: tuple[str, ...] = ()
    denied: ItemError | None = None


def shown(groups: Sequence[Group]) -> list[TokenRecord]:
    """The records of the items that did not fail."""
    return [
        record
        for group in groups
        for result, record in zip(group.results, group.records, strict=True)
        if result.error is None
    ]


def fail(result: RevealedItem, error: ItemError) -> None:
    """Let the item end in an error, and show nothing."""
    result.status = "error"
    result.error = error
    result.value = result.form = None


def event_groups(
    groups: Sequence[Group], results: Sequence[RevealedItem], left: int | None
) -> list[EventGroup]:
    """What the audit event says of the items: one entry for those that were decided and
    ended alike; tokens that were not found are only counted, for they may be anything."""
    found: list[EventGroup] = []
    for group in groups:
        ends: dict[ItemError | None, list[TokenRecord]] = {}
        errors = list(map(_ERROR, group.results))
        if errors.count(None) < len(errors):
            for error, record in zip(errors, group.records, strict=True):
                ends.setdefault(error, []).append(record)
        else:
            ends[None] = group.records
        for error, records in ends.items():
            outcome = "ok" if error is None else outcome_of(error.code)
            found.append(
                EventGroup(
                    outcome=INTEGRITY if error is not None and error.rule == INTEGRITY else outcome,
                    data_class=group.data_class.name,
                    form=group.form,
                    tags=group.tags,
                    code=None if error is None else error.code,
                    policies=group.policies,
                    budget_left=left,
                    tokens=tuple(dict.fromkeys(map(_TOKEN, records))),
                    subjects=tuple(
                        subject
                        for subject in dict.fromkeys(map(_SUBJECT, records))
                        if subject is not None
                    ),
                    count=len(records),
                )
            )
    failures: dict[Code, int] = {}
    if sum(len(group.results) for group in groups) < len(results):
        told = {result.index for group in groups for result in group.results}
        for result in results:
            if result.error is not None and result.index not in told:
                failures[result.error.code] = failures.get(result.error.code, 0) + 1
    found.extend(
        EventGroup(outcome=outcome_of(code), code=code, count=count)
        for code, count in failures.items()
    )
    return found
