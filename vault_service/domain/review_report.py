"""What an access review says, as data. Rendering it is up to who asked for it.

All times are in UTC, periods include their beginning and not their end. A reveal is a
token in a group of a detokenize event that ended ``ok``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Period:
    """From ``since`` until just before ``until``, with the events recorded in it."""

    since: datetime
    until: datetime
    events: int


@dataclass(frozen=True, slots=True)
class Grant:
    """A permit policy, the ``principals`` that it may apply to, and those of them that
    it decided nothing for (PCI-DSS 7.2.4). Names are sorted."""

    policy: str
    file: str
    line: int
    principals: tuple[str, ...]
    unused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SilentPolicy:
    """A policy that decided nothing. ``effect`` is ``permit`` or ``forbid``: a forbid is
    silent where nobody tried what it forbids."""

    policy: str
    effect: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class IdlePrincipal:
    """A principal without a single event in the period. ``seen_before`` tells whether it
    has one in the period before."""

    tenant: str
    principal: str
    type: str
    seen_before: bool


@dataclass(frozen=True, slots=True)
class Reveals:
    """The tokens that a principal revealed, in the period and in the one before:
    ``plain`` in that form, ``total`` in any."""

    tenant: str
    principal: str
    plain: int
    total: int
    plain_before: int
    total_before: int


@dataclass(frozen=True, slots=True)
class Rise:
    """Reveals that rose more than the factor asked for. ``form`` is ``plain`` or ``any``;
    ``ratio`` is rounded to two decimals, and ``None`` where there were none before."""

    tenant: str
    principal: str
    form: str
    before: int
    now: int
    ratio: float | None


@dataclass(frozen=True, slots=True)
class OutOfHours:
    """Requests that revealed something outside the working hours: ``plain`` and ``total``
    are tokens, ``weekend`` are those ``requests`` that came on a Saturday or Sunday.
    ``event_ids`` names the first few."""

    tenant: str
    principal: str
    type: str
    requests: int
    weekend: int
    plain: int
    total: int
    first: datetime
    last: datetime
    event_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FirstPurpose:
    """A purpose that a principal named in the period and not in the one before.
    ``revealed`` are tokens in any form; ``event_id`` is the first such request's."""

    tenant: str
    principal: str
    purpose: str
    requests: int
    revealed: int
    first: datetime
    event_id: str


@dataclass(frozen=True, slots=True)
class Denials:
    """Requests of a principal that were denied, wholly or for some items, and how many
    of them under each error code. ``principal`` is ``None`` for failed authentication."""

    tenant: str
    principal: str | None
    requests: int
    codes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ReviewReport:
    """The review of ``period`` against the period ``before``, which is as long.

    ``working_hours`` are the first full hour and the end, in ``timezone``, from Monday to
    Friday. ``policies_since`` is the first event under the present policy files
    (``policy_hash``) among those read, ``None`` where there is none: what those files
    grant can have been in use no longer than that.
    """

    period: Period
    before: Period
    tenants: tuple[str, ...]
    factor: float
    working_hours: tuple[int, int]
    timezone: str
    policy_hash: str
    policies_since: datetime | None
    grants: tuple[Grant, ...]
    silent_policies: tuple[SilentPolicy, ...]
    idle_principals: tuple[IdlePrincipal, ...]
    rises: tuple[Rise, ...]
    out_of_hours: tuple[OutOfHours, ...]
    first_purposes: tuple[FirstPurpose, ...]
    denials: tuple[Denials, ...]
    reveals: tuple[Reveals, ...]

    @property
    def findings(self) -> int:
        """How many things somebody should look at; reveals and denials are figures, not
        findings."""
        return (
            sum(len(grant.unused) for grant in self.grants)
            + len(self.silent_policies)
            + len(self.idle_principals)
            + len(self.rises)
            + len(self.out_of_hours)
            + len(self.first_purposes)
        )
