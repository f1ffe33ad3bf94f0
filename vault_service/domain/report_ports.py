"""What reports need from the outside, as protocols that adapters meet (see ``ports``)."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from vault_service.domain.events import AuditEvent
from vault_service.domain.holdings import Holding, TokenEntry
from vault_service.domain.report_parts import Part, Range
from vault_service.domain.report_runs import Run


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval of one run, or a standing one (``run`` is ``None``). ``binding`` is what
    it is of, as canonical JSON; it holds until just before ``until``. ``standing`` names the
    standing approval that a run's own came from."""

    id: str
    tenant: str
    report: str
    run: str | None
    binding: str
    approver: str
    approved_at: datetime
    until: datetime
    standing: str | None = None
    withdrawn_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs to find, newest first; ``None`` fields do not restrict. ``reports`` are
    those of which every run may be told, ``principal`` has a part in others. ``before`` is
    the id of a run: only older ones are given."""

    tenant: str
    limit: int
    reports: frozenset[str]
    principal: str
    report: str | None = None
    state: str | None = None
    before: str | None = None


class ReportStore(Protocol):
    """Runs and approvals. Every change is committed together with its events."""

    async def add(self, run: Run, events: Sequence[AuditEvent], approval: Approval | None) -> Run:
        """Store a new run with what comes with it; where a run of the same report,
        parameters, period, format and recipient is there that has not ended badly, return
        that one and record nothing."""

    async def find(self, tenant: str, run_id: str) -> Run | None:
        """The tenant's run with this id."""

    async def list(self, query: RunQuery) -> Sequence[Run]:
        """Matching runs, newest first."""

    async def change(
        self,
        before: Run,
        after: Run,
        events: Sequence[AuditEvent],
        approvals: Sequence[Approval] = (),
        parts: Sequence[Part] = (),
    ) -> bool:
        """Write how the run goes on, with the ``parts`` that it is cut into; ``False``, and
        nothing written or recorded, where it is no longer as ``before``. A step that
        ``NEXT`` does not know is a ``ValueError``."""

    async def extend(self, tenant: str, run_id: str, holder: str, until: datetime) -> bool:
        """Extend the lease of a running run; ``False`` where ``holder`` does not have it."""

    async def count_read(
        self, tenant: str, run_id: str, digest: bytes, tokens: int, cap: int
    ) -> bool:
        """Count tokens that a running run reads, once for each ``digest`` of them; ``False``,
        and nothing counted, where that would pass ``cap`` or the run is not running."""

    async def approval(self, tenant: str, run_id: str) -> Approval | None:
        """The approval of one run."""

    async def standing(self, tenant: str, report: str | None, at: datetime) -> Sequence[Approval]:
        """Standing approvals (of one report) that hold at this time."""

    async def withdraw(
        self, tenant: str, approval_id: str, at: datetime, event: AuditEvent
    ) -> bool:
        """Withdraw a standing approval that holds; ``False`` where there is none."""


class PartChange(Enum):
    """How a change of a part ended."""

    WRITTEN = "written"
    LOST = "lost"
    OVER = "over"


class PartStore(Protocol):
    """Parts of runs that were split. Every change is committed together with its events."""

    async def parts(self, tenant: str, run_id: str) -> Sequence[Part]:
        """The parts of a run, by number; none where it was not split."""

    async def part(self, tenant: str, run_id: str, number: int) -> Part | None:
        """One part of a run."""

    async def change_part(
        self, before: Part, after: Part, events: Sequence[AuditEvent], *, cap: int, at: datetime
    ) -> PartChange:
        """Write how a part goes on. ``LOST``, and nothing written or recorded, where it is
        no longer as ``before``, is done, or its run is not running; ``OVER`` where the parts
        of the run together would have more rows than ``cap``. A part that is done is counted
        in its run (done parts, rows, bytes) by the same commit, ``at`` this time."""

    async def extend_part(self, part: Part, holder: str, until: datetime) -> bool:
        """Extend the lease of a part of a running run; ``False`` where ``holder`` does not
        have it."""


class TokenRanges(Protocol):
    """Cuts the tokens of a class into ranges."""

    async def boundaries(self, tenant: str, data_class: str, size: int, most: int) -> Sequence[str]:
        """Tokens that cut a class into ranges of ``size`` tokens, in order, and of more
        where there would be over ``most`` ranges: none where all fit into one. Reads the
        metadata of every row."""


@dataclass(frozen=True, slots=True)
class TokenQuery:
    """Which tokens of a class to find, by token. ``subjects`` restricts to theirs, ``among``
    to these tokens; ``overdue_at`` to those that had expired by then, or were stored before
    ``retained_since`` (``None``: the class has no retention); ``within`` to a range, where
    neither subjects nor tokens are given. ``cursor`` is where the last page ended."""

    tenant: str
    data_class: str
    limit: int
    subjects: Sequence[str] | None = None
    among: Sequence[str] | None = None
    overdue_at: datetime | None = None
    retained_since: datetime | None = None
    within: Range | None = None
    cursor: str | None = None


class HoldingsReader(Protocol):
    """Reads what is stored beside values, never a value."""

    async def tokens(self, query: TokenQuery) -> tuple[Sequence[TokenEntry], str | None]:
        """A page of tokens, and where the next begins (``None``: there is none). Reads a
        bounded number of rows, so that a page may be empty and not the last.

        A token that belongs to several people comes once for each of them; with
        ``subjects`` for those alone, and with ``overdue_at`` once."""

    async def holdings(
        self, tenant: str, retained_since: Mapping[str, datetime], at: datetime
    ) -> Sequence[Holding]:
        """How many tokens of each class lie under each key; ``tags`` and
        ``retention_days`` are left for the catalog to say."""


class OutputStore(Protocol):
    """Where sealed outputs lie. Raises ``not_found`` for one that is not there and
    ``database_unavailable`` where the place cannot be reached."""

    def read(self, location: str) -> AsyncGenerator[bytes, None]:
        """The sealed output, piece by piece. ``location`` is a name below the place of
        outputs."""
