"""What a job made of a run, or of a part of one: when it may count, and the end that it
gives the run: one signed manifest."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from vault_service.domain.errors import Code, VaultError
from vault_service.domain.events import new_event_id
from vault_service.domain.report_notes import Manifest
from vault_service.domain.report_parts import Part
from vault_service.domain.report_runs import Run, RunState
from vault_service.domain.reports import ReportDefinition
from vault_service.domain.transparency import TreeReader
from vault_service.services.context import RequestContext
from vault_service.services.report_runs import Runs

LOCATION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,7}")
"""A name below the place of outputs: no way out of it."""
REFUSED: Final = "report_refused"
TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Result:
    """What a job made: ``rows`` of ``columns``, sealed into a file of this length and
    SHA-256 (hex), which lies at ``location`` below the place of outputs."""

    rows: int
    columns: tuple[str, ...]
    output_sha256: str
    output_bytes: int
    location: str

    def is_of(self, made: Run | Part) -> bool:
        """Whether that is what the run, or the part, has already."""
        return (self.rows, self.output_sha256, self.output_bytes, self.location) == (
            *(made.rows, made.output_sha256, made.output_bytes, made.output_location),
        )


class Results:
    """Holds results against their runs, and ends runs well."""

    def __init__(self, runs: Runs, tree: TreeReader) -> None:
        self._runs = runs
        self._tree = tree

    async def check(
        self, context: RequestContext, run: Run, definition: ReportDefinition, result: Result
    ) -> None:
        """Fail the run where the result cannot be its output: more rows than its cap, other
        columns, an approval that no longer binds."""
        rule: str | None = None
        if result.rows > run.row_cap:
            rule = "row_cap_exceeded"
        elif result.columns != tuple(column.name for column in definition.columns):
            rule = "undeclared_column"
        else:
            rule = await self._runs.approval_rule(run, definition, context.at)
        if rule is not None:
            raise await self._runs.refuse_and_fail(context, REFUSED, rule, run)

    async def complete(
        self, context: RequestContext, run: Run, definition: ReportDefinition
    ) -> Run:
        """The run that was split, ended well where all its parts are done; as it stands
        where they are not, or it has ended. Any number of processes may ask for it."""
        for _ in range(TRIES):
            if run.state is not RunState.RUNNING or not run.parts or run.parts_done < run.parts:
                return run
            rule = await self._runs.approval_rule(run, definition, context.at)
            if rule is not None:
                raise await self._runs.refuse_and_fail(context, REFUSED, rule, run)
            parts = await self._runs.parts.parts(run.tenant, run.id)
            ended = await self.succeed(context, run, run, definition, parts)
            if ended is not None:
                return ended
            run = await self._runs.load(context, run.id)
        raise contended()

    async def succeed(
        self,
        context: RequestContext,
        before: Run,
        made: Run,
        definition: ReportDefinition,
        parts: Sequence[Part] = (),
    ) -> Run | None:
        """Sign the manifest of what was ``made`` and end the run with it; ``None`` where
        somebody changed the run meanwhile. ``key_unavailable`` where nothing can be signed."""
        event_id = new_event_id()
        newest = await self._tree.newest_checkpoint()
        ended = replace(
            made, state=RunState.SUCCEEDED, updated_at=context.at, version=before.version + 1
        )
        manifest = Manifest.of(
            ended,
            definition,
            policy_hash=self._runs.authorizer.bundle_hash,
            last_event=event_id,
            checkpoint=None if newest is None else newest.note,
            parts=parts,
        )
        ended = replace(ended, manifest=await self._runs.sign(manifest.text()))
        # What each part gave stands in the event of the part.
        gave = {"parts": len(parts)} if parts else {"output_sha256": ended.output_sha256}
        event = self._runs.recorder.event(
            context,
            "report_succeeded",
            item_count=ended.rows or 0,
            detail={
                "run": ended.id,
                "report_name": ended.report,
                "state": ended.state.value,
                **gave,
            },
            event_id=event_id,
        )
        return ended if await self._runs.store.change(before, ended, [event]) else None


def contended() -> VaultError:
    """The error where others changed a run each time that it was to be changed."""
    return VaultError(Code.IDEMPOTENCY_CONFLICT, "Others change this run; ask again.")
