"""``/v1/reports/runs/{id}`` for the job that makes the run."""

import re
from typing import Final

import msgspec

from vault_service.api.endpoint import Answer, Call
from vault_service.api.report_answers import holding_answer, rights_answer, token_answer
from vault_service.api.report_messages import (
    FailBody,
    FinishBody,
    HeartbeatBody,
    InventoryAnswer,
    RunTokensAnswer,
    RunTokensBody,
    StartBody,
)
from vault_service.api.reports import run_id, told
from vault_service.api.wire import decode, malformed
from vault_service.domain.errors import Code
from vault_service.domain.metadata import check_text
from vault_service.services.report_jobs import LOCATION, Result

_HOLDER: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MOST: Final = 2**53
_CODES: Final = {code.value: code for code in Code}
_encode = msgspec.json.Encoder().encode


async def start(call: Call) -> Answer:
    """Lease the run that a signed order is for."""
    call.check_media_type()
    body = decode(call.body, StartBody)
    holder = _holder(body.holder)
    jobs = call.application.report_jobs
    return told(call, await jobs.start(call.context, run_id(call), body.order, holder))


async def heartbeat(call: Call) -> Answer:
    """Keep the lease."""
    call.check_media_type()
    holder = _holder(decode(call.body, HeartbeatBody).holder)
    return told(
        call, await call.application.report_jobs.heartbeat(call.context, run_id(call), holder)
    )


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


async def finish(call: Call) -> Answer:
    """End the run well."""
    call.check_media_type()
    body = decode(call.body, FinishBody)
    holder = _holder(body.holder)
    for name, number in (("rows", body.rows), ("output_bytes", body.output_bytes)):
        if not 0 <= number <= _MOST:
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
    jobs = call.application.report_jobs
    return told(call, await jobs.finish(call.context, run_id(call), holder, result))


async def fail(call: Call) -> Answer:
    """End the run as failed."""
    call.check_media_type()
    body = decode(call.body, FailBody)
    holder = _holder(body.holder)
    code = _CODES.get(body.code)
    if code is None:
        raise malformed("enum", "Give one of the vault's error codes.", "code")
    jobs = call.application.report_jobs
    return told(call, await jobs.fail(call.context, run_id(call), holder, code))


def _holder(text: str) -> str:
    if _HOLDER.fullmatch(text) is None:
        raise malformed("format", "Give 8 to 64 letters, digits, _ and -.", "holder")
    return text
