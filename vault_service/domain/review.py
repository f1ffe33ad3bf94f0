"""The access review: what the log says about rights that nobody uses, and about use that
is out of the ordinary (PCI-DSS 7.2.4, 10.4.1.1).

Events pass through once and only counts stay, so memory grows with the number of
principals, policies and purposes, never with that of events.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Protocol

from vault_service.domain.access import PolicySource
from vault_service.domain.principals import Principal
from vault_service.domain.review_counts import (
    PLAIN,
    ReviewedEvent,
    Seen,
    deciding_policies,
    decode,
)
from vault_service.domain.review_grants import may_apply
from vault_service.domain.review_report import (
    Denials,
    FirstPurpose,
    Grant,
    IdlePrincipal,
    OutOfHours,
    Period,
    Reveals,
    ReviewReport,
    Rise,
    SilentPolicy,
)


@dataclass(frozen=True, slots=True)
class ReviewPlan:
    """What to review: the ``days`` before ``until`` (UTC), compared with as many before
    those. Working hours are ``hours[0]`` o'clock until just before ``hours[1]``, from
    Monday to Friday in ``zone``, which is called ``timezone``."""

    until: datetime
    days: int = 90
    factor: float = 2.0
    hours: tuple[int, int] = (8, 18)
    zone: tzinfo = UTC
    timezone: str = "UTC"

    @property
    def since(self) -> datetime:
        """Where the period begins."""
        return self.until - timedelta(days=self.days)

    @property
    def since_before(self) -> datetime:
        """Where the period before begins: the events from here on are wanted."""
        return self.since - timedelta(days=self.days)

    def is_weekend(self, at: datetime) -> bool:
        """Whether it was Saturday or Sunday there."""
        return at.astimezone(self.zone).weekday() >= 5

    def is_working_time(self, at: datetime) -> bool:
        """Whether people were at work there."""
        first, end = self.hours
        return not self.is_weekend(at) and first <= at.astimezone(self.zone).hour < end


class ReviewedPolicy(Protocol):
    """A policy of the present files."""

    @property
    def source(self) -> PolicySource:
        """Its ``@id``, and where it stands."""

    @property
    def body(self) -> Mapping[str, Any]:
        """Its Cedar JSON form."""


class Review:
    """Takes events in any order, gives the report."""

    def __init__(
        self, plan: ReviewPlan, policies: Collection[ReviewedPolicy], policy_hash: str
    ) -> None:
        self._plan = plan
        self._since, self._until = plan.since, plan.until
        self._since_before = plan.since_before
        self._policies = policies
        self._policy_hash = policy_hash
        self._seen: dict[tuple[str, str | None], Seen] = {}
        self._used: set[tuple[str, str | None]] = set()
        self._decided: set[str] = set()
        self._policies_since: datetime | None = None

    def add(self, body: bytes) -> None:
        """Count the event with these canonical bytes, if it is of one of the periods."""
        self.count(decode(body))

    def count(self, event: ReviewedEvent) -> None:
        """Count the event, if it is of one of the periods."""
        if not self._since_before <= event.time < self._until:
            return
        if event.policy_hash == self._policy_hash:
            self._policies_since = min(event.time, self._policies_since or event.time)
        seen = self._seen.get((event.tenant, event.principal))
        if seen is None:
            seen = self._seen[event.tenant, event.principal] = Seen()
        if event.time < self._since:
            seen.count_before(event)
            return
        at = event.time
        weekend = self._plan.is_weekend(at)
        seen.count(event, working_time=self._plan.is_working_time(at), weekend=weekend)
        for policy in deciding_policies(event):
            self._decided.add(policy)
            self._used.add((policy, event.principal))

    def report(self, principals: Collection[Principal], tenants: Sequence[str]) -> ReviewReport:
        """The review of what was added. ``principals`` are those of the present files,
        ``tenants`` those whose events were added."""
        known = {(tenant, name): s for (tenant, name), s in self._seen.items() if name is not None}
        return ReviewReport(
            period=Period(self._since, self._until, sum(s.events for s in self._seen.values())),
            before=Period(
                self._since_before,
                self._since,
                sum(s.events_before for s in self._seen.values()),
            ),
            tenants=tuple(tenants),
            factor=self._plan.factor,
            working_hours=self._plan.hours,
            timezone=self._plan.timezone,
            policy_hash=self._policy_hash,
            policies_since=self._policies_since,
            grants=self._grants(principals),
            silent_policies=tuple(
                SilentPolicy(p.source.id, p.body["effect"], p.source.file, p.source.line)
                for p in self._policies
                if p.source.id not in self._decided
            ),
            idle_principals=_idle(principals, known),
            rises=_rises(known, self._plan.factor),
            out_of_hours=_out_of_hours(known),
            first_purposes=_first_purposes(known),
            denials=_denials(self._seen),
            reveals=_reveals(known),
        )

    def _grants(self, principals: Collection[Principal]) -> tuple[Grant, ...]:
        grants = []
        for policy in self._policies:
            if policy.body["effect"] != "permit":
                continue
            source = policy.source
            names = sorted(p.name for p in principals if may_apply(policy.body, p))
            unused = [name for name in names if (source.id, name) not in self._used]
            grants.append(Grant(source.id, source.file, source.line, tuple(names), tuple(unused)))
        return tuple(grants)


_Known = Mapping[tuple[str, str], Seen]


def _idle(principals: Collection[Principal], known: _Known) -> tuple[IdlePrincipal, ...]:
    nothing = Seen()
    return tuple(
        IdlePrincipal(p.tenant, p.name, p.type.value, seen.events_before > 0)
        for p in sorted(principals, key=lambda p: (p.tenant, p.name))
        if not (seen := known.get((p.tenant, p.name), nothing)).events
    )


def _rises(known: _Known, factor: float) -> tuple[Rise, ...]:
    found = [
        Rise(tenant, name, form, before, now, round(now / before, 2) if before else None)
        for (tenant, name), seen in known.items()
        for form, before, now in (
            (PLAIN, seen.plain_before, seen.plain),
            ("any", seen.total_before, seen.total),
        )
        if now > factor * before
    ]
    return tuple(sorted(found, key=lambda r: (r.form != PLAIN, -r.now, r.tenant, r.principal)))


def _out_of_hours(known: _Known) -> tuple[OutOfHours, ...]:
    found = [
        OutOfHours(
            tenant,
            name,
            seen.type,
            late.requests,
            late.weekend,
            late.plain,
            late.total,
            late.first,
            late.last,
            tuple(event_id for _, event_id in late.earliest),
        )
        for (tenant, name), seen in known.items()
        if (late := seen.late) is not None
    ]
    # Services and jobs have no hours, so people come first.
    return tuple(
        sorted(found, key=lambda o: (o.type != "person", -o.plain, -o.total, o.tenant, o.principal))
    )


def _first_purposes(known: _Known) -> tuple[FirstPurpose, ...]:
    return tuple(
        FirstPurpose(tenant, name, purpose, p.requests, p.revealed, p.first, p.event_id)
        for (tenant, name), seen in sorted(known.items())
        for purpose, p in sorted(seen.purposes.items())
        if purpose not in seen.purposes_before
    )


def _denials(seen: Mapping[tuple[str, str | None], Seen]) -> tuple[Denials, ...]:
    found = [
        Denials(tenant, name, s.denied, dict(sorted(s.codes.items())))
        for (tenant, name), s in seen.items()
        if s.denied
    ]
    return tuple(sorted(found, key=lambda d: (-d.requests, d.tenant, d.principal or "")))


def _reveals(known: _Known) -> tuple[Reveals, ...]:
    found = [
        Reveals(tenant, name, s.plain, s.total, s.plain_before, s.total_before)
        for (tenant, name), s in known.items()
        if s.total or s.total_before
    ]
    return tuple(sorted(found, key=lambda r: (-r.plain, -r.total, r.tenant, r.principal)))
