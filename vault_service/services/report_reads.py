"""What a job reads without revealing a value: which tokens there are, how many, and who may
do what."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from vault_service.domain.catalog import Catalog
from vault_service.domain.detection import looks_like_card_number
from vault_service.domain.errors import Code, FieldError, VaultError
from vault_service.domain.events import EventGroup
from vault_service.domain.holdings import Holding, TokenEntry
from vault_service.domain.metadata import MAX_TEXT, check_text
from vault_service.domain.report_parts import Range
from vault_service.domain.report_ports import HoldingsReader, TokenQuery
from vault_service.domain.rights import Rights
from vault_service.domain.tokens import MAX_TOKEN_LENGTH, well_formed
from vault_service.services.context import RequestContext
from vault_service.services.report_fence import JobFence, OpenRun
from vault_service.services.report_runs import Runs

PAGE: Final = 10_000
MAX_SUBJECTS: Final = 1000
MAX_AMONG: Final = 1000


class ReportReads:
    """The use cases. One instance serves all requests of a process."""

    def __init__(
        self,
        runs: Runs,
        fence: JobFence,
        holdings: HoldingsReader,
        catalog: Catalog,
        rights: Rights,
    ) -> None:
        """``rights`` are those of all tenants; a job is told of its own."""
        self._runs = runs
        self._fence = fence
        self._holdings = holdings
        self._catalog = catalog
        self._rights = rights

    async def tokens(
        self,
        context: RequestContext,
        run_id: str,
        data_class: str,
        *,
        subjects: Sequence[str] | None = None,
        among: Sequence[str] | None = None,
        overdue: bool = False,
        part: int | None = None,
        cursor: str | None = None,
    ) -> tuple[Sequence[TokenEntry], str | None]:
        """A page of tokens of a declared class, and where the next begins (``None``: there
        is none; an empty page may have a next): all, those of ``subjects``, or those of the
        class ``among`` these tokens. For a ``part`` of the run, all of the class that the
        report splits by are those of the part. Another class fails the run."""
        action = "report_tokens_read"
        opened = await self._fence.enter(context, action, run_id)
        await opened.check_class(data_class)
        _check_subjects(subjects)
        _check_among(among, subjects)
        if cursor is not None:
            _check_cursor(cursor)
        within = None
        if part is not None and subjects is None and among is None:
            within = await self._within(context, action, opened, data_class, part)
        retention = self._catalog.data_class(data_class).retention_days
        at = context.at
        found, following = await self._holdings.tokens(
            TokenQuery(
                tenant=context.principal.tenant,
                data_class=data_class,
                limit=PAGE,
                subjects=subjects,
                among=among,
                overdue_at=at if overdue else None,
                retained_since=None if retention is None else at - timedelta(days=retention),
                within=within,
                cursor=cursor,
            )
        )
        told = tuple(dict.fromkeys(subjects or ()))
        group = EventGroup("ok", data_class, subjects=told, count=len(found))
        event = self._runs.recorder.event(
            context, action, [group], item_count=len(found), detail={"run": run_id}
        )
        await self._runs.append(event)
        return found, following

    async def _within(
        self, context: RequestContext, action: str, opened: OpenRun, data_class: str, number: int
    ) -> Range | None:
        """The tokens of the class that a part of the run is of."""
        run, split = opened.run, opened.definition.split
        part = await self._runs.parts.part(run.tenant, run.id, number)
        if part is None:
            raise await self._runs.refuse(context, action, "no_part", run)
        return part.range if split is not None and split.data_class == data_class else None

    async def inventory(self, context: RequestContext, run_id: str) -> Sequence[Holding]:
        """What is stored, by class and key. Reads the metadata of every row, no value."""
        action = "report_inventory_read"
        await self._fence.enter(context, action, run_id)
        at, classes = context.at, self._catalog.data_classes
        since = {
            name: at - timedelta(days=found.retention_days)
            for name, found in classes.items()
            if found.retention_days is not None
        }
        holdings = await self._holdings.holdings(context.principal.tenant, since, at)
        event = self._runs.recorder.event(
            context, action, item_count=len(holdings), detail={"run": run_id}
        )
        await self._runs.append(event)
        return [self._told(held) for held in holdings]

    async def rights(self, context: RequestContext, run_id: str) -> Rights:
        """The policies in force and the principals of the run's tenant. A report that does
        not declare it, and a job that may not read the log, fail the run."""
        action = "report_rights_read"
        opened = await self._fence.enter(context, action, run_id)
        decision = await opened.check_rights()
        tenant = context.principal.tenant
        found = replace(
            self._rights, principals=[p for p in self._rights.principals if p.tenant == tenant]
        )
        event = self._runs.recorder.event(
            context,
            action,
            item_count=len(found.policies),
            detail={"policies": list(decision.policies), "run": run_id},
        )
        await self._runs.append(event)
        return found

    def _told(self, held: Holding) -> Holding:
        found = self._catalog.data_classes.get(held.data_class)
        if found is None:
            return held
        return replace(held, tags=tuple(sorted(found.tags)), retention_days=found.retention_days)


def _check_subjects(subjects: Sequence[str] | None) -> None:
    if subjects is not None and not 0 < len(subjects) <= MAX_SUBJECTS:
        detail = "Ask for 1 to 1000 subjects at once."
        raise VaultError(
            Code.INVALID_REQUEST, detail, errors=(FieldError("subjects", "count", detail),)
        )
    for number, subject in enumerate(subjects or ()):
        check_text(subject, f"subjects[{number}]")


def _check_among(among: Sequence[str] | None, subjects: Sequence[str] | None) -> None:
    if among is None:
        return
    rule, detail = "", ""
    if subjects is not None:
        rule, detail = "exclusive", "Ask for subjects or among tokens, not for both."
    elif not 0 < len(among) <= MAX_AMONG:
        rule, detail = "count", "Ask for 1 to 1000 tokens at once."
    elif any(looks_like_card_number(token) for token in among):
        rule, detail = "no_card_number", "A card number stands where a token belongs."
    elif not all(well_formed(token) for token in among):
        rule, detail = "token", "The list holds what can be no token."
    if rule:
        raise VaultError(Code.INVALID_REQUEST, detail, errors=(FieldError("among", rule, detail),))


def _check_cursor(cursor: str) -> None:
    lines = cursor.split("\n")
    if len(cursor) > MAX_TOKEN_LENGTH + MAX_TEXT + 1 or not all(
        line.isprintable() for line in lines
    ):
        detail = "Give the cursor that the last page named."
        raise VaultError(
            Code.INVALID_REQUEST, detail, errors=(FieldError("cursor", "format", detail),)
        )
