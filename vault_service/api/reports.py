"""``/v1/reports`` for people: what there is, asking for runs, approving them, their output."""

from typing import Final

import msgspec

from vault_service.api.audit import time_of
from vault_service.api.endpoint import Answer, Call
from vault_service.api.limits import refuse_sensitive, whole_number
from vault_service.api.report_answers import report_answer, run_answer
from vault_service.api.report_bodies import ApproveBody, RunBody
from vault_service.api.report_messages import ReportsAnswer, RunsAnswer
from vault_service.api.wire import decode, malformed
from vault_service.domain.report_parts import MAX_PARTS, Part
from vault_service.domain.report_runs import RUN_ID, Run, RunState
from vault_service.domain.reports import NAME
from vault_service.services.report_requests import RunCommand

PARAMETERS: Final = frozenset({"report", "state", "limit", "cursor"})
SEALED: Final = b"application/octet-stream"
_DEFAULT_LIMIT: Final = "100"
_STATES: Final = frozenset(state.value for state in RunState)
_encode = msgspec.json.Encoder().encode


async def reports(call: Call) -> Answer:
    """Every report, with what the caller may do."""
    application, context = call.application, call.context
    standing = await application.report_approvals.standing(context)
    found = []
    for definition in application.reports.definitions.values():
        may_run, may_approve = application.reports.may(context, definition)
        # What was approved holds parameters, so it is for those who run or approve it.
        theirs = [a for a in standing if a.report == definition.name and (may_run or may_approve)]
        found.append(report_answer(definition, may_run, may_approve, theirs))
    return Answer(_encode(ReportsAnswer(found, context.request_id)))


async def request_run(call: Call) -> Answer:
    """Ask for a run, or find the one that is there."""
    name = call.path["name"]
    refuse_sensitive(name, "name")
    call.check_media_type()
    body = decode(call.body or b"{}", RunBody)
    run, created = await call.application.reports.request(
        call.context,
        name,
        RunCommand(
            parameters=body.parameters,
            period=body.period,
            format=body.format,
            recipient=body.recipient,
            row_cap=body.row_cap,
            expires_at=time_of(body.expires_at, "expires_at"),
        ),
    )
    return told(call, run, created=created)


async def runs(call: Call) -> Answer:
    """Runs that the caller has a part in, newest first."""
    query = call.query
    report, state, cursor = query.get("report"), query.get("state"), query.get("cursor")
    if report is not None and NAME.fullmatch(report) is None:
        raise malformed("format", "That is no name of a report.", "report")
    if state is not None and state not in _STATES:
        raise malformed("enum", "There is no such state.", "state")
    if cursor is not None and RUN_ID.fullmatch(cursor) is None:
        raise malformed("format", "Give the cursor that the last page named.", "cursor")
    limit = whole_number(query.get("limit", _DEFAULT_LIMIT), "limit")
    found = await call.application.reports.list(
        call.context, limit=limit, report=report, state=state, before=cursor
    )
    definitions, request_id = call.application.reports.definitions, call.context.request_id
    return Answer(
        _encode(
            RunsAnswer(
                [run_answer(run, definitions.get(run.report), request_id) for run in found],
                found[-1].id if len(found) == limit else None,
                request_id,
            )
        )
    )


async def run(call: Call) -> Answer:
    """One run."""
    return told(call, await call.application.reports.run(call.context, run_id(call)))


async def approve(call: Call) -> Answer:
    """Approve a run as it was seen."""
    call.check_media_type()
    body = decode(call.body or b"{}", ApproveBody)
    approved = await call.application.report_approvals.approve(
        call.context, run_id(call), seen=body.binding, until=time_of(body.until, "until")
    )
    return told(call, approved)


async def reject(call: Call) -> Answer:
    """Reject a run that waits for an approval."""
    return told(call, await call.application.report_approvals.reject(call.context, run_id(call)))


async def withdraw(call: Call) -> Answer:
    """Withdraw a standing approval."""
    approval_id = call.path["id"]
    refuse_sensitive(approval_id, "id")
    await call.application.report_approvals.withdraw(call.context, approval_id)
    return Answer(status=204)


async def output(call: Call) -> Answer:
    """The sealed output of a run, or of one part of it, as it comes."""
    part = None
    if "part" in call.query:
        part = whole_number(call.query["part"], "part")
        if not 0 < part <= MAX_PARTS:
            raise malformed("range", "The manifest lists the parts; they count from 1.", "part")
    pieces = call.application.reports.output(call.context, run_id(call), part)
    # Asked for here: what stands in the way is a problem document, not a broken stream.
    first = await anext(pieces, b"")
    return Answer(first, media_type=SEALED, rest=pieces)


def run_id(call: Call) -> str:
    """The run that the path names."""
    found = call.path["id"]
    refuse_sensitive(found, "id")
    return found


def told(
    call: Call, run: Run, *, created: bool = False, job: bool = False, part: Part | None = None
) -> Answer:
    """The answer about one run: 201 where it is new. Its ``job`` is told more."""
    definition = call.application.reports.definitions.get(run.report)
    answer = run_answer(
        run,
        definition,
        call.context.request_id,
        created=created,
        job=job,
        part=part,
        at=call.context.at,
    )
    return Answer(_encode(answer), 201 if created else 200)
