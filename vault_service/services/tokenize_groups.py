"""Sorts the items of a tokenize request into groups that are decided and stored alike.

A group is one data class with one set of tags: one policy decision, one data key, one
batch of rows, one entry in the audit event.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from vault_service.domain.access import Tags
from vault_service.domain.card_batches import AllCanonical, all_canonical
from vault_service.domain.catalog import Catalog, DataClass
from vault_service.domain.errors import Code, FieldError, VaultError
from vault_service.domain.events import EventGroup
from vault_service.domain.masking import masker
from vault_service.domain.metadata import check_tags, check_text
from vault_service.domain.sad import is_sad_class_name
from vault_service.domain.tokens import StoredBatch, TokenBatch
from vault_service.domain.validation import Normalizer, normalizer
from vault_service.services.items import (
    BROKEN,
    INTEGRITY,
    ItemError,
    TokenizedItem,
    TokenizeItem,
)
from vault_service.services.recording import outcome_of

MAX_EXPIRES_IN: Final = 100 * 365 * 24 * 3600
"""Seconds; beyond this a caller means "never" and may leave the field out."""


_LONGEST_CLASS_NAME: Final = 256


def fail(result: TokenizedItem, error: ItemError) -> None:
    """Turn a result into an error that shows nothing else."""
    result.status = "error"
    result.error = error
    result.token = result.masked = result.stored_tags = None


@dataclass(frozen=True, slots=True)
class ClassRules:
    """A data class with what checks and masks its values."""

    data_class: DataClass
    normalize: Normalizer
    all_canonical: AllCanonical
    masked: Callable[[str], str]


@dataclass(slots=True)
class Group:
    """The items of one class with one set of tags. The lists run alongside each other:
    position in the request, value (canonical once :meth:`normalize` has run), subject
    and seconds to live of each item; ``rows`` is the row of the stored batch that its
    value went to."""

    rules: ClassRules
    tags: Tags
    indexes: list[int] = field(default_factory=list)
    values: list[str] = field(default_factory=list, repr=False)
    subjects: list[str | None] = field(default_factory=list)
    expiries: list[int | None] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    policies: tuple[str, ...] = ()
    denied: ItemError | None = None
    withheld: tuple[str, ...] = ()
    """Tokens of known records that failed their check and were not given out."""

    @property
    def data_class(self) -> DataClass:
        """The class of the values."""
        return self.rules.data_class

    def normalize(self, results: Sequence[TokenizedItem]) -> None:
        """Bring the values into canonical form; items whose value is refused fail, and
        leave the group."""
        if self.rules.all_canonical(self.values):
            return
        normalize, values = self.rules.normalize, self.values
        refused: set[int] = set()
        for place, value in enumerate(values):
            try:
                values[place] = normalize(value)
            except VaultError as error:
                fail(results[self.indexes[place]], ItemError.of(error))
                refused.add(place)
        if refused:
            kept = [place for place in range(len(values)) if place not in refused]
            self.indexes = [self.indexes[place] for place in kept]
            self.values = [values[place] for place in kept]
            self.subjects = [self.subjects[place] for place in kept]
            self.expiries = [self.expiries[place] for place in kept]

    def deny(self, error: ItemError, results: Sequence[TokenizedItem]) -> None:
        """Refuse every item of the group."""
        self.denied = error
        for index in self.indexes:
            fail(results[index], error)

    def place_subjects(self, batch: TokenBatch) -> None:
        """Give each row the first subject among its items, and links to the others."""
        if not any(self.subjects):
            return
        placed: list[str | None] = [None] * len(batch)
        for row, subject in zip(self.rows, self.subjects, strict=True):
            if subject is None or subject == placed[row]:
                continue
            if placed[row] is None:
                placed[row] = subject
            else:
                batch.links.append((row, subject))
        batch.subjects = placed

    def place_expiries(self, batch: TokenBatch, at: datetime) -> None:
        """Give each row the latest expiry among its items; none beats any."""
        if all(seconds is None for seconds in self.expiries):
            return
        latest: dict[int, int | None] = {}
        for row, seconds in zip(self.rows, self.expiries, strict=True):
            known = latest.get(row, 0)
            latest[row] = None if known is None or seconds is None else max(known, seconds)
        batch.expires_at = [
            None if (seconds := latest[row]) is None else at + timedelta(seconds=seconds)
            for row in range(len(batch))
        ]

    def settle(
        self,
        stored: StoredBatch,
        results: Sequence[TokenizedItem],
        broken: Mapping[int, ItemError],
    ) -> None:
        """Write the tokens that hold into the results; ``broken`` are rows whose known
        record may not be given out."""
        tokens, known, masked = stored.tokens, stored.known, self.rules.masked
        self.withheld = tuple(known[row].token for row in broken)
        for index, row, value in zip(self.indexes, self.rows, self.values, strict=True):
            result = results[index]
            result.token = tokens[row]
            result.masked = masked(value)
        if not known:
            return
        for index, row in zip(self.indexes, self.rows, strict=True):
            if row in broken:
                fail(results[index], broken[row])
            elif row in known and known[row].tags != self.tags:
                results[index].stored_tags = dict(known[row].tags)

    def mask(self, results: Sequence[TokenizedItem]) -> None:
        """Write the masked values into the results that are no errors."""
        for index, value in zip(self.indexes, self.values, strict=True):
            if results[index].error is None:
                results[index].masked = self.rules.masked(value)


class Sorter:
    """Checks every item and puts the usable ones into groups."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._rules = {
            name: ClassRules(
                data_class,
                normalizer(data_class.validation),
                all_canonical(data_class.validation),
                masker(data_class.mask),
            )
            for name, data_class in catalog.data_classes.items()
        }

    def __call__(self, items: Sequence[TokenizeItem]) -> tuple[list[TokenizedItem], list[Group]]:
        """A result for every item, in order, and the groups of those without error."""
        groups: dict[tuple[str, Tags], Group] = {}
        results: list[TokenizedItem] = []
        rules = self._rules
        for index, item in enumerate(items):
            rule = rules.get(item.data_class)
            # What is no class of the catalog may be anything: never told back or kept.
            # The catalog's own string is one object for all, and quicker to look up.
            known = None if rule is None else rule.data_class.name
            result = TokenizedItem(index, "ok", None, None, known)
            results.append(result)
            try:
                if item.reference is not None:
                    check_text(item.reference, "reference")
                    result.reference = item.reference
                if item.subject is not None:
                    check_text(item.subject, "subject")
                tags = check_tags(item.tags, "tags") if item.tags else ()
                if item.expires_in is not None:
                    _check_expires_in(item.expires_in)
                if rule is None or known is None:
                    raise self._unknown(item.data_class)
            except VaultError as error:
                fail(result, ItemError.of(error))
                continue
            group = groups.get((known, tags))
            if group is None:
                group = groups[known, tags] = Group(rule, tags)
            group.indexes.append(index)
            group.values.append(item.value)
            group.subjects.append(item.subject)
            group.expiries.append(item.expires_in)
        for group in groups.values():
            group.normalize(results)
        return results, [group for group in groups.values() if group.indexes]

    def _unknown(self, name: str) -> VaultError:
        # Unicode makes some texts eighteen times as long when it is folded.
        if len(name) <= _LONGEST_CLASS_NAME and is_sad_class_name(name):
            # PCI-DSS 3.3.1
            detail = "Card verification codes, track data and PINs are never accepted."
            return VaultError(
                Code.SENSITIVE_AUTHENTICATION_DATA,
                detail,
                errors=(FieldError("data_class", "no_authentication_data", detail),),
            )
        try:
            self._catalog.data_class(name)
        except VaultError as error:
            return error
        raise AssertionError("a class of the catalog has no rules")


def _check_expires_in(seconds: int) -> None:
    if not 0 < seconds <= MAX_EXPIRES_IN:
        detail = "expires_in is in seconds, from 1 to 100 years."
        raise VaultError(
            Code.INVALID_REQUEST,
            detail,
            errors=(FieldError("expires_in", "range", detail),),
        )


def event_groups(groups: Sequence[Group], results: Sequence[TokenizedItem]) -> list[EventGroup]:
    """What the audit event says of the items: one entry a group, one a kind of failure."""
    found: list[EventGroup] = []
    told: set[int] = set()
    for group in groups:
        tokens = [token for i in group.indexes if (token := results[i].token) is not None]
        if group.withheld:
            broken = [i for i in group.indexes if results[i].error is BROKEN]
            told.update(broken)
            found.append(
                EventGroup(
                    outcome=INTEGRITY,
                    data_class=group.data_class.name,
                    tags=group.tags,
                    code=BROKEN.code,
                    policies=group.policies,
                    tokens=group.withheld,
                    count=len(broken),
                )
            )
        if group.denied is not None:
            told.update(group.indexes)
        elif not tokens:
            continue
        code = None if group.denied is None else group.denied.code
        found.append(
            EventGroup(
                outcome="ok" if code is None else outcome_of(code),
                data_class=group.data_class.name,
                tags=group.tags,
                code=code,
                policies=group.policies,
                tokens=tuple(dict.fromkeys(tokens)),
                subjects=tuple(dict.fromkeys(s for s in group.subjects if s is not None)),
                count=len(group.indexes) if code is not None else len(tokens),
            )
        )
    failures: dict[tuple[ItemError, str | None], int] = {}
    for index, result in enumerate(results):
        if result.error is not None and index not in told:
            key = (result.error, result.data_class)
            failures[key] = failures.get(key, 0) + 1
    found.extend(
        EventGroup(
            outcome=INTEGRITY if error.rule == INTEGRITY else outcome_of(error.code),
            data_class=name,
            code=error.code,
            count=count,
        )
        for (error, name), count in failures.items()
    )
    return found
