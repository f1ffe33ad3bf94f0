"""``/v1/reports/runs/{id}`` for the job that makes the run."""

import re
from typing import Final

import msgspec

from vault_service.api.endpoint import Answer, Call
from vault_service.api.report_answers import (
    holding_answer,
    parts_answer,
    rights_answer,
    token_answer,
)
from vault_service.api.report_bodies import (
    FailBody,
    HeartbeatBody,
    ReleaseBody,
    ResultBody,
    RunTokensBody,
    SplitBody,
    StartBody,
)
from vault_service.api.report_messages import InventoryAnswer, RunTokensAnswer
from vault_service.api.reports import run_id, told
from vault_service.api.wire import decode, malformed
from vault_service.domain.errors import Code
from vault_service.domain.metadata import check_text
from vault_service.domain.report_failures import FailureCode
from vault_service.domain.report_notes import PART
from vault_service.domain.report_parts import MAX_PARTS
from vault_service.services.report_results import LOCATION, Result

_HOLDER: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MOST: Final = 2**53
_CODES: Final = {code.value: code for code in Code}
_REASONS: Final = {reason.value: reason for reason in FailureCode}
_encode = msgspec.json.Encoder().encode


async def start(call: Call) -> Answer:
    """Lease the run, or the part of one, that a signed order is for."""
    call.check_media_type()
    body = decode(call.body, StartBody)
    holder, run = _holder(body.holder), run_id(call)
    context, application = call.context, call.application
    if body.order.startswith(f"{PART}\n"):
        found, part = await application.report_parts.start(context, run, body.order, holder)
        return told(call, found, job=True, part=part)
    return told(
        call, await application.report_jobs.start(context, run, body.order, holder), job=True
    )


async def heartbeat(call: Call) -> Answer:
    """Keep the lease."""
    call.check_media_type()
    body = decode(call.body, HeartbeatBody)
    holder, number, run = _holder(body.holder), _part(body.part), run_id(call)
    context, application = call.context, call.application
    if number is not None:
        found, part = await application.report_parts.heartbeat(context, run, number, holder)
        return told(call, found, job=True, part=part)
    return told(call, await application.report_jobs.heartbeat(context, run, holder), job=True)


async def release(call: Call) -> Answer:
    """Give the lease back."""
    call.check_media_type()
    body = decode(call.body, ReleaseBody)
    holder, number, run = _holder(body.holder), _part(body.part), run_id(call)
    context, application, reason = call.context, call.application, _reason(body.reason)
    if number is not None:
        found, part = await application.report_parts.release(context, run, number, holder, reason)
        return told(call, found, job=True, part=part)
    return told(call, await application.report_jobs.release(context, run, holder, reason), job=True)


async def split(call: Call) -> Answer:
    """Cut a heavy run into parts, and tell them."""
    call.check_media_type()
    holder = _holder(decode(call.body, SplitBody).holder)
    run, parts = await call.application.report_parts.split(call.context, run_id(call), holder)
    context = call.context
    return Answer(_encode(parts_answer(run, parts, context.request_id, context.at)))


async def run_tokens(call: Call) -> Answer:
    """A page of tokens of a declared class."""
    call.check_media_type()
    body = decode(call.body, RunTokensBody)
    check_text(body.data_class, "data_class")
    found, following = await call.application.report_reads.tokens(
        call.context,
        run_id(call),
        body.data_class,
        subjects=body.subjects,
        among=body.among,
        overdue=body.overdue,
        part=_part(body.part),
        cursor=body.cursor,
    )
    answer = RunTokensAnswer(
        body.data_class,
        [token_answer(entry) for entry in found],
        following,
        call.context.request_id,
    )
    return Answer(_encode(answer))


async def inventory(call: Call) -> Answer:
    """What is stored, by class and key."""
    found = await call.application.report_reads.inventory(call.context, run_id(call))
    answer = InventoryAnswer([holding_answer(held) for held in found], call.context.request_id)
    return Answer(_encode(answer))


async def rights(call: Call) -> Answer:
    """The policies in force and the principals that they are about."""
    found = await call.application.report_reads.rights(call.context, run_id(call))
    return Answer(_encode(rights_answer(found, call.context.request_id)))


async def seal(call: Call) -> Answer:
    """Keep what is sealed and about to be published."""
    holder, number, result = _result(call)
    context, application, run = call.context, call.application, run_id(call)
    if number is not None:
        found, part = await application.report_parts.seal(context, run, number, holder, result)
        return told(call, found, job=True, part=part)
    return told(call, await application.report_jobs.seal(context, run, holder, result), job=True)


async def finish(call: Call) -> Answer:
    """End the run well, or a part of it."""
    holder, number, result = _result(call)
    context, application, run = call.context, call.application, run_id(call)
    if number is not None:
        found, part = await application.report_parts.finish(context, run, number, holder, result)
        return told(call, found, job=True, part=part)
    return told(call, await application.report_jobs.finish(context, run, holder, result), job=True)


async def fail(call: Call) -> Answer:
    """End the run as failed."""
    call.check_media_type()
    body = decode(call.body, FailBody)
    holder, number = _holder(body.holder), _part(body.part)
    code = _CODES.get(body.code)
    if code is None:
        raise malformed("enum", "Give one of the vault's error codes.", "code")
    reason = None if body.reason is None else _reason(body.reason)
    jobs = call.application.report_jobs
    failed = await jobs.fail(call.context, run_id(call), holder, code, reason, number)
    return told(call, failed, job=True)


def _holder(text: str) -> str:
    if _HOLDER.fullmatch(text) is None:
        raise malformed("format", "Give 8 to 64 letters, digits, _ and -.", "holder")
    return text


def _part(number: int | None) -> int | None:
    if number is not None and not 0 < number <= MAX_PARTS:
        raise malformed("range", "Parts count from 1.", "part")
    return number


def _reason(text: str) -> FailureCode:
    reason = _REASONS.get(text)
    if reason is None:
        raise malformed("enum", "Give one of the codes of failed attempts.", "reason")
    return reason


def _result(call: Call) -> tuple[str, int | None, Result]:
    call.check_media_type()
    body = decode(call.body, ResultBody)
    holder, number = _holder(body.holder), _part(body.part)
    for name, count in (("rows", body.rows), ("output_bytes", body.output_bytes)):
        if not 0 <= count <= _MOST:
            raise malformed("range", "Give a number from 0.", name)
    if _SHA256.fullmatch(body.output_sha256) is None:
        raise malformed("format", "Give a SHA-256 in lower-case hex.", "output_sha256")
    if len(body.output_location) > 256 or LOCATION.fullmatch(body.output_location) is None:
        detail = "Give a name below the place of outputs: letters, digits, . _ - and /."
        raise malformed("format", detail, "output_location")
    check_text(body.output_location, "output_location")
    result = Result(
        body.rows,
        tuple(body.columns),
        body.output_sha256,
        body.output_bytes,
        body.output_location,
    )
    return holder, number, result
