"""Backtest: recorded decisions put to changed policies.

Each event holds what the policies saw (docs/audit-events.md), so the same question is
asked again under the new catalog, principals and policies, and the new decision is
compared with the recorded one, which is never decided again. Events pass through once and
only counts stay.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from vault_service.domain.access import (
    ON_REPORTS,
    ON_VALUES,
    AccessRequest,
    Action,
    Decision,
    Tags,
)
from vault_service.domain.catalog import Catalog
from vault_service.domain.errors import Code
from vault_service.domain.principals import Principal, PrincipalType
from vault_service.services.backtest_events import (
    RecordedEvent,
    RecordedGroup,
    asked_item_count,
    read_event,
)
from vault_service.services.backtest_report import (
    MEANINGS,
    NEWLY_ALLOWED,
    NEWLY_DENIED,
    Affected,
    BacktestReport,
    PrincipalUse,
    Tally,
    Unreplayed,
    Why,
)

_ACTIONS: Final = {action.value: action for action in Action}
_TYPES: Final = {kind.value: kind for kind in PrincipalType}
_NO_TAGS: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class PolicyDirectory:
    """What a backtest knows of a policy directory: the hash of its files, and ``permit``
    or ``forbid`` of each policy by ``@id``."""

    hash: str
    catalog: Catalog
    principals: Mapping[str, Principal]
    effects: Mapping[str, str]


class Backtest:
    """Takes canonical bytes of events, gives the report. Some 20 µs an event."""

    def __init__(
        self,
        decide: Callable[[AccessRequest], Decision],
        *,
        current: PolicyDirectory,
        new: PolicyDirectory,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> None:
        """``decide`` answers by the ``new`` directory's policies. Events from ``since``
        until just before ``until`` count (UTC; ``None``: all), and what is no event."""
        self._decide = decide
        self._current, self._new = current, new
        self.since, self.until = since, until
        self._forbids = {
            name
            for directory in (current, new)
            for name, effect in directory.effects.items()
            if effect == "forbid"
        }
        self._permits = {*current.effects, *new.effects} - self._forbids
        self._events = self._replayed = self._in_part = self._decisions = 0
        self._changes: dict[Affected, Tally] = {}
        self._unreplayed: dict[Why, Tally] = {}
        self._absent: dict[tuple[str, str], int] = {}
        self._recorded = lru_cache(4096)(_recorded_principal)

    def add(self, body: bytes) -> None:
        """Replay one event."""
        event = read_event(body)
        if isinstance(event, tuple):
            self._events += 1
            self._fail(*event, 0)
            return
        at = event.time
        if (self.since is not None and at < self.since) or (
            self.until is not None and at >= self.until
        ):
            return
        self._events += 1
        before, failed = self._decisions, self._replay(event)
        if self._decisions == before:
            return
        if failed:
            self._in_part += 1
        else:
            self._replayed += 1
        assert event.principal is not None
        if event.principal not in self._new.principals:
            name = (event.tenant, event.principal)
            self._absent[name] = self._absent.get(name, 0) + 1

    def withheld(self) -> None:
        """Count an event that the bundle does not show."""
        self._events += 1
        self._fail(Why.WITHHELD, "", 0)

    def report(self) -> BacktestReport:
        """The outcome of what was added, most events first."""
        changes = [tally.change(about) for about, tally in self._changes.items()]
        return BacktestReport(
            current_hash=self._current.hash,
            new_hash=self._new.hash,
            since=self.since,
            until=self.until,
            events=self._events,
            replayed=self._replayed,
            replayed_in_part=self._in_part,
            not_replayed=self._events - self._replayed - self._in_part,
            decisions=self._decisions,
            changes=sorted(changes, key=lambda c: (c.effect != NEWLY_DENIED, -c.events, repr(c))),
            unreplayed=[
                Unreplayed(why.value, MEANINGS[why], t.events, t.items, tuple(t.event_ids))
                for why in Why
                if (t := self._unreplayed.get(why)) is not None
            ],
            absent_principals=[
                PrincipalUse(tenant, name, name in self._current.principals, events)
                for (tenant, name), events in sorted(self._absent.items())
            ],
        )

    def _replay(self, event: RecordedEvent) -> bool:
        """Whether something of the event could not be replayed."""
        action = _ACTIONS.get(event.action)
        if action is None:
            return self._fail(Why.NOT_A_DECISION, event.id, event.item_count)
        principal = self._principal(event)
        if principal is None:
            return self._fail(Why.NO_INPUTS, event.id, event.item_count)
        if action not in ON_VALUES:
            return self._replay_whole(event, action, principal)
        if not event.groups:
            return self._fail(Why.NO_DECISION, event.id, event.item_count)
        item_count = asked_item_count(event, action)
        failed = False
        for group in event.groups:
            failed |= self._replay_group(event, group, action, principal, item_count)
        return failed

    def _principal(self, event: RecordedEvent) -> Principal | None:
        if event.principal is None or event.inputs.type is None:
            return None
        found = self._new.principals.get(event.principal)
        if found is not None:
            return found
        kind = _TYPES.get(event.inputs.type)
        if kind is None:
            return None
        return self._recorded(event.principal, kind, event.tenant, _pairs(event.inputs.tags))

    def _replay_whole(self, event: RecordedEvent, action: Action, principal: Principal) -> bool:
        """An event of an action that is not about values: one decision, and no groups."""
        policies, report = event.detail.policies, event.detail.report
        if action in ON_REPORTS and report is None:
            return self._fail(Why.NO_REPORT, event.id, event.item_count)
        then = event.code != Code.ACCESS_DENIED
        if event.detail.rule is not None:
            then = self._was_permitted(policies)
        elif then and not self._was_permitted(policies):
            return self._fail(Why.NO_DECISION, event.id, event.item_count)
        request = AccessRequest(
            principal,
            action,
            at=event.time.replace(microsecond=0),
            report=None if report is None or action not in ON_REPORTS else report.facts(),
        )
        self._compare(
            event, RecordedGroup("ok" if then else "denied", policies=policies), request, then
        )
        return False

    def _replay_group(
        self,
        event: RecordedEvent,
        group: RecordedGroup,
        action: Action,
        principal: Principal,
        item_count: int,
    ) -> bool:
        then = self._was_allowed(group, item_count)
        if then is None or group.data_class is None:
            return self._fail(Why.NO_DECISION, event.id, group.count)
        gone = self._gone(event, group)
        if gone is not None:
            return self._fail(gone, event.id, group.count)
        request = AccessRequest(
            principal,
            action,
            group.data_class,
            self._new.catalog.data_classes[group.data_class].tags,
            _pairs(group.tags) if group.tags else (),
            event.purpose,
            group.form,
            item_count,
            group.budget_left,
            event.time.replace(microsecond=0),
        )
        self._compare(event, group, request, then)
        return False

    def _was_allowed(self, group: RecordedGroup, item_count: int) -> bool | None:
        """What the policies said; ``None`` where that is not recorded."""
        code = group.code
        if code == Code.ACCESS_DENIED:
            return False
        if code == Code.BUDGET_EXCEEDED:
            # By a policy, or after all by the budget, since others drew on it meanwhile.
            known = not self._permits.isdisjoint(group.policies) or not self._forbids.isdisjoint(
                group.policies
            )
            if known:
                return self._was_permitted(group.policies)
            return group.budget_left is not None and item_count <= group.budget_left
        return True if group.policies else None

    def _was_permitted(self, policies: list[str]) -> bool:
        """Whether the named policies allowed it: Cedar names permits or forbids alone."""
        return bool(policies) and self._forbids.isdisjoint(policies)

    def _gone(self, event: RecordedEvent, group: RecordedGroup) -> Why | None:
        """What of the request the new catalog does not have, so that it could not be made."""
        new, current = self._new.catalog, self._current.catalog
        name, form, purpose = group.data_class, group.form, event.purpose
        assert name is not None
        found, before = new.data_classes.get(name), current.data_classes.get(name)
        if found is None:
            return Why.CLASS_UNKNOWN if before is None else Why.CLASS_REMOVED
        if form is not None and form not in found.forms:
            removed = before is not None and form in before.forms
            return Why.FORM_REMOVED if removed else Why.FORM_UNKNOWN
        if purpose is not None and purpose not in new.purposes:
            return Why.PURPOSE_REMOVED if purpose in current.purposes else Why.PURPOSE_UNKNOWN
        return None

    def _compare(
        self, event: RecordedEvent, group: RecordedGroup, request: AccessRequest, then: bool
    ) -> None:
        self._decisions += 1
        decision = self._decide(request)
        if decision.allowed is then:
            return
        about = Affected(
            NEWLY_DENIED if then else NEWLY_ALLOWED,
            event.tenant,
            request.principal.name,
            event.action,
            group.data_class,
            event.purpose,
            group.form,
        )
        tally = self._changes.setdefault(about, Tally())
        tally.count(self._events, event.id, group.count, len(group.tokens))
        tally.policies_then.update(group.policies)
        tally.policies_now.update(decision.policies)
        tally.failing_now.update(decision.errors)

    def _fail(self, why: Why, event_id: str, items: int) -> bool:
        self._unreplayed.setdefault(why, Tally()).count(self._events, event_id, items)
        return True


def _recorded_principal(name: str, kind: PrincipalType, tenant: str, tags: Tags) -> Principal:
    return Principal(name, kind, tenant, dict(tags))


def _pairs(tags: Mapping[str, str]) -> Tags:
    return tuple(sorted(tags.items()))
