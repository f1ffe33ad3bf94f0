"""``GET /v1/audit/events``: the access log, newest first."""

from datetime import UTC, datetime

import msgspec

from vault_service.api.endpoint import Answer, Call
from vault_service.api.limits import whole_number
from vault_service.api.wire import malformed
from vault_service.domain.metadata import check_text
from vault_service.domain.ports import AuditQuery

PARAMETERS = frozenset(
    {
        "principal",
        "action",
        "outcome",
        "data_class",
        "token",
        "subject",
        "purpose",
        "from",
        "to",
        "limit",
        "cursor",
    }
)
_DEFAULT_LIMIT = "100"


class AuditAnswer(msgspec.Struct):
    """The answer of ``GET /v1/audit/events``; ``next_cursor`` is null on the last page."""

    events: list[msgspec.Raw]
    next_cursor: str | None
    request_id: str


_encode = msgspec.json.Encoder().encode


async def events(call: Call) -> Answer:
    """Recorded events of the caller's tenant that match the filters."""
    query = call.query
    for name in ("principal", "action", "outcome", "data_class", "token", "subject", "purpose"):
        if name in query:
            check_text(query[name], name)
    limit = whole_number(query.get("limit", _DEFAULT_LIMIT), "limit")
    found = await call.application.read_audit(
        call.context,
        AuditQuery(
            tenant=call.context.principal.tenant,
            limit=limit,
            principal=query.get("principal"),
            action=query.get("action"),
            outcome=query.get("outcome"),
            data_class=query.get("data_class"),
            token=query.get("token"),
            subject=query.get("subject"),
            purpose=query.get("purpose"),
            since=time_of(query.get("from"), "from"),
            until=time_of(query.get("to"), "to"),
            before=whole_number(query["cursor"], "cursor") if "cursor" in query else None,
        ),
    )
    return Answer(
        _encode(
            AuditAnswer(
                [msgspec.Raw(body) for _, body in found],
                str(found[-1][0]) if len(found) == limit else None,
                call.context.request_id,
            )
        )
    )


def time_of(text: str | None, name: str) -> datetime | None:
    """The time (RFC 3339; UTC where it names no zone) that a parameter gives, if it is
    given; ``invalid_request`` for anything else."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise malformed("type", "The parameter must be an RFC 3339 time.", name) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
