"""A report's run, for the job that makes it.

with Client() as vault:                      # of the principal job:<report>
    run = RunClient(vault)
    run.start(order)
    for page in run.tokens("pan"):
        run.reveal([entry.token for entry in page], "plain")
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, Final

import msgspec

from vault_service.client import calls, operations, report_operations
from vault_service.client.errors import RequestRefused
from vault_service.client.exchange import Steps
from vault_service.client.report_lease import RunLease
from vault_service.client.report_results import HoldingRow, TokenPage, TokenRow
from vault_service.domain.access import PolicySource
from vault_service.domain.errors import Code
from vault_service.domain.holdings import Holding, TokenEntry
from vault_service.domain.principals import Principal, PrincipalType
from vault_service.domain.report_runs import RUN_HEADER
from vault_service.domain.rights import HeldPolicy, Rights

_BUNDLE: Final = "application/x-ndjson"
_GONE: Final = frozenset({Code.NOT_FOUND, Code.EXPIRED, Code.ERASED})
_AT_ONCE: Final = 1000
"""Subjects, or tokens, that are asked about at once."""


class RunClient(RunLease):
    """The vault as one run may read it, for its job: meets
    :class:`reporting_jobs.context.RunVault`.

    :meth:`start` it first; whatever the definition does not declare is refused with
    ``access_denied`` and fails the run.
    """

    def tokens(
        self,
        data_class: str,
        *,
        subjects: Sequence[str] | None = None,
        among: Sequence[str] | None = None,
        overdue: bool = False,
    ) -> Iterator[Sequence[TokenEntry]]:
        """Tokens of a declared class, page by page: all, those of these subjects, those
        ``among`` these tokens, or those past their expiry or retention. Subjects and tokens
        are not asked for together (:class:`ValueError`).

        A token that belongs to several people comes once for each of them, except where
        ``subjects`` are given (then for those alone) and with ``overdue`` (then once). In a
        part of a run, all tokens of the class that it splits by are those of the part."""
        if subjects is not None and among is not None:
            raise ValueError("ask for subjects or among tokens, not for both")
        if subjects is None and among is None:
            yield from self._pages(data_class, None, None, overdue)
        for asked in _batches(subjects):
            yield from self._pages(data_class, asked, None, overdue)
        for asked in _batches(among):
            yield from self._pages(data_class, None, asked, overdue)

    def _pages(
        self,
        data_class: str,
        subjects: Sequence[str] | None,
        among: Sequence[str] | None,
        overdue: bool,
    ) -> Iterator[Sequence[TokenEntry]]:
        def asked(cursor: str | None) -> Future[TokenPage]:
            fields = {
                "data_class": data_class,
                "subjects": None if subjects is None else list(subjects),
                "among": None if among is None else list(among),
                "overdue": overdue,
                "part": self._part,
                "cursor": cursor,
            }
            return self._client.submit(
                report_operations.token_page(self.run.id, fields, self._client.retry)
            )

        coming: Future[TokenPage] | None = asked(None)
        while coming is not None:
            page = coming.result()
            # The next one comes while this one is worked on.
            coming = None if page.next_cursor is None else asked(page.next_cursor)
            if page.tokens:
                yield [_entry(page.data_class, row) for row in page.tokens]

    def reveal(self, tokens: Sequence[str], form: str) -> Sequence[str | None]:
        """Values in order, in a declared form, for the definition's purpose; ``None`` for
        tokens that are no more. Anything else that an item fails with is raised."""
        if not tokens:
            return []
        plan = calls.plan_detokenize(
            calls.detokenize_items(tokens, form, None),
            self.run.purpose,
            None,
            self._client.retry,
            self._client.batch_size,
            self._named,
        )
        result = plan.finish(self._client.run_all(plan.steps))
        for item in result.items:
            if item.error is not None and item.error.code not in _GONE:
                raise RequestRefused(
                    item.error.code,
                    item.error.detail,
                    status=0,
                    request_id=next(iter(result.request_ids), None),
                )
        return [item.value if item.ok else None for item in result.items]

    def delete(self, tokens: Sequence[str]) -> int:
        """Delete tokens of declared classes for good; how many there were."""
        steps = [self._delete(token) for token in dict.fromkeys(tokens)]
        return sum(self._client.run_all(steps)) if steps else 0

    def _delete(self, token: str) -> Steps[bool]:
        try:
            yield from operations.delete(token, self._client.retry, self._named)
        except RequestRefused as error:
            if error.code != Code.NOT_FOUND:
                raise
            return False
        return True

    def events(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Audit events of the tenant, newest first, as :meth:`Client.audit_events`."""
        return self._client.audit_events(**filters)

    def inventory(self) -> Sequence[Holding]:
        """What is stored, by class and key, without a value."""
        steps = report_operations.inventory(self.run.id, self._client.retry)
        return [_holding(row) for row in self._client.run(steps).holdings]

    def rights(self) -> Rights:
        """The policies in force and the tenant's principals, for a report that declares
        that it reads them; it fails the run of any other."""
        told = self._client.run(report_operations.rights(self.run.id, self._client.retry))
        return Rights(
            told.policy_hash,
            [HeldPolicy(PolicySource(p.id, p.file, p.line), p.body) for p in told.policies],
            [Principal(p.name, PrincipalType(p.type), p.tenant, p.tags) for p in told.principals],
        )

    def catalog(self) -> Mapping[str, Any]:
        """Data classes and purposes, as ``GET /v1/catalog`` has them."""
        found: Mapping[str, Any] = msgspec.to_builtins(self._client.catalog())
        return found

    def export_log(self, *, cursor: int = 0) -> Iterator[bytes]:
        """The audit log from this leaf on as a bundle, piece by piece."""
        return self._client.stream(f"/v1/audit/export?cursor={cursor}", _BUNDLE)

    def checkpoint(self) -> str:
        """The newest signed checkpoint of the audit log."""
        return self._client.audit_checkpoint()

    def verifier_key(self) -> str:
        """The key that signs checkpoints, orders and manifests."""
        return self._client.audit_key()

    @property
    def _named(self) -> Mapping[str, str]:
        return {RUN_HEADER: self.run.id}


def _batches(asked: Sequence[str] | None) -> Iterator[Sequence[str]]:
    distinct = list(dict.fromkeys(asked or ()))
    for at in range(0, len(distinct), _AT_ONCE):
        yield distinct[at : at + _AT_ONCE]


def _entry(data_class: str, row: TokenRow) -> TokenEntry:
    return TokenEntry(row.token, data_class, row.subject, row.tags, row.created_at, row.expires_at)


def _holding(row: HoldingRow) -> Holding:
    return Holding(
        row.data_class,
        tuple(row.tags),
        row.key_id,
        row.epoch,
        row.key_state,
        datetime.fromisoformat(row.key_created_at),
        row.tokens,
        row.subjects,
        datetime.fromisoformat(row.oldest),
        datetime.fromisoformat(row.newest),
        row.overdue,
        row.retention_days,
        row.wrapping_key,
    )
