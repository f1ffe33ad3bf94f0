"""``GET /v1/subjects/{id}/timeline``: who handled a person's data, newest first."""

from typing import Final

import msgspec

from vault_service.api.endpoint import Answer, Call
from vault_service.api.limits import refuse_sensitive, whole_number
from vault_service.api.tokenization import Receipt
from vault_service.services.timeline import TimelineEntry

PARAMETERS: Final = frozenset({"limit", "cursor"})
_DEFAULT_LIMIT: Final = "100"


class TimelineAnswer(msgspec.Struct):
    """The answer of ``GET /v1/subjects/{id}/timeline``; ``next_cursor`` is null on the last
    page."""

    subject: str
    entries: list[TimelineEntry]
    next_cursor: str | None
    request_id: str
    receipt: Receipt


_encode = msgspec.json.Encoder().encode


async def timeline(call: Call) -> Answer:
    """What was recorded about one person in the caller's tenant."""
    subject, query = call.path["id"], call.query
    refuse_sensitive(subject, "id")
    page = await call.application.timeline(
        call.context,
        subject,
        whole_number(query.get("limit", _DEFAULT_LIMIT), "limit"),
        whole_number(query["cursor"], "cursor") if "cursor" in query else None,
    )
    return Answer(
        _encode(
            TimelineAnswer(
                subject,
                list(page.entries),
                None if page.before is None else str(page.before),
                call.context.request_id,
                Receipt(page.event_id),
            )
        )
    )
