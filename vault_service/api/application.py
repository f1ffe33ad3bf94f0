"""What the routes stand on: the use cases and the few things they share."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from vault_service.domain.catalog import Catalog
from vault_service.domain.ports import BudgetStore, Clock, TokenStore
from vault_service.services.authenticate import Authenticator
from vault_service.services.authorize import Authorizer
from vault_service.services.detokenize import Detokenize
from vault_service.services.export_audit import ExportAudit
from vault_service.services.lookup import Lookup
from vault_service.services.proofs import Proofs
from vault_service.services.read_audit import ReadAudit
from vault_service.services.recording import Recorder
from vault_service.services.report_approvals import ReportApprovals
from vault_service.services.report_jobs import ReportJobs
from vault_service.services.report_parts import ReportParts
from vault_service.services.report_reads import ReportReads
from vault_service.services.reports import Reports
from vault_service.services.timeline import Timeline
from vault_service.services.tokenize import Tokenize
from vault_service.services.tokens import Tokens

Check = Callable[[], Awaitable[None]]
"""A readiness check: returns where the thing can be used, raises ``VaultError`` else."""


class Observer(Protocol):
    """Counts what happens. Arguments are names of the contract, never from a request."""

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request of a route (its template) was answered."""

    def items(self, action: str, data_class: str | None, outcome: str, count: int) -> None:
        """So many items of a batch ended alike."""

    def authentication_failed(self, method: str) -> None:
        """An attempt with this kind of credential failed."""

    def render(self) -> tuple[bytes, str]:
        """The metrics page and its media type (Prometheus exposition format)."""


@dataclass(frozen=True, slots=True)
class Application:
    """One process's use cases, ready to serve."""

    catalog: Catalog
    authenticator: Authenticator
    authorizer: Authorizer
    recorder: Recorder
    store: TokenStore
    budgets: BudgetStore
    tokenize: Tokenize
    detokenize: Detokenize
    lookup: Lookup
    tokens: Tokens
    read_audit: ReadAudit
    timeline: Timeline
    proofs: Proofs
    export_audit: ExportAudit
    reports: Reports
    report_approvals: ReportApprovals
    report_jobs: ReportJobs
    report_parts: ReportParts
    report_reads: ReportReads
    clock: Clock
    observer: Observer
    readiness: Mapping[str, Check]
    unsealed: Callable[[], Awaitable[timedelta]]
    """How old the oldest event is that is in no leaf of the log yet."""
