"""Reads stored values by class and person, some at a time."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeVar

from reporting_jobs.context import Context, ReportRefused, RunVault, TokenEntry
from vault_service.domain.report_failures import FailureCode
from vault_service.domain.reports import Reading

T = TypeVar("T")
PEOPLE_AT_ONCE: Final = 1000
PAGES_AHEAD: Final = 2
CLASSES: Final = (
    *("pan", "pan_unverified", "person_name", "email", "phone", "iban", "us_ssn"),
    *("date_of_birth", "postal_address", "ip_address", "national_id", "free_text"),
)
"""The data classes of the catalog: what a report reads that has to miss nothing."""


def reading_all(form: str) -> tuple[Reading, ...]:
    """Every class, in this form."""
    return tuple(Reading(name, form) for name in CLASSES)


def require_all_classes(context: Context) -> None:
    """Refuse (``definition_incomplete``) to make a report that misses nothing by design
    where the catalog has grown beyond its definition."""
    missing = sorted(set(context.vault.catalog()["data_classes"]) - context.definition.data_classes)
    if missing:
        raise ReportRefused(
            FailureCode.DEFINITION_INCOMPLETE,
            f"The catalog has classes that the report does not read: {', '.join(missing)}. Add"
            " them to its definition and have it approved anew.",
        )


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of ``size``, the last one shorter."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def values_of(
    vault: RunVault, entries: Sequence[TokenEntry], form: str
) -> Iterator[tuple[TokenEntry, str]]:
    """The entries with their values; those whose token is no more are left out."""
    tokens = list(dict.fromkeys(entry.token for entry in entries))
    values = dict(zip(tokens, vault.reveal(tokens, form), strict=True))
    for entry in entries:
        value = values[entry.token]
        if value is not None:
            yield entry, value


def revealed(
    vault: RunVault, pages: Iterable[Sequence[TokenEntry]], form: str
) -> Iterator[tuple[Sequence[TokenEntry], list[tuple[TokenEntry, str]]]]:
    """Each page with what :func:`values_of` gives for it, in order. The values of the next
    pages are asked for while one is worked on, so that the vault need not wait."""
    with ThreadPoolExecutor(PAGES_AHEAD, "report-values") as beside:

        def asked(page: Sequence[TokenEntry]) -> Future[list[tuple[TokenEntry, str]]]:
            return beside.submit(lambda: list(values_of(vault, page, form)))

        waiting: deque[tuple[Sequence[TokenEntry], Future[list[tuple[TokenEntry, str]]]]] = deque()
        for page in pages:
            waiting.append((page, asked(page)))
            if len(waiting) > PAGES_AHEAD:
                first, values = waiting.popleft()
                yield first, values.result()
        for last, values in waiting:
            yield last, values.result()


def newest_values(
    vault: RunVault, data_class: str, subjects: Sequence[str], form: str
) -> dict[str, str]:
    """The newest value of the class for each of these people who has one."""
    newest: dict[str, TokenEntry] = {}
    for page in vault.tokens(data_class, subjects=subjects):
        for entry in page:
            if entry.subject is not None:
                known = newest.get(entry.subject)
                if known is None or (entry.created_at, entry.token) > (
                    known.created_at,
                    known.token,
                ):
                    newest[entry.subject] = entry
    found = values_of(vault, list(newest.values()), form)
    return {str(entry.subject): value for entry, value in found}
