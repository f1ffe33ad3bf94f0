"""The log for those who verify it: checkpoint, key, proofs and export (docs/audit-log.md)."""

from typing import Final

from vault_service.api.audit import time_of
from vault_service.api.endpoint import Answer, Call
from vault_service.api.limits import refuse_sensitive, whole_number
from vault_service.services.log_export import Wanted

TEXT: Final = b"text/plain; charset=utf-8"
NDJSON: Final = b"application/x-ndjson"
EXPORT_PARAMETERS: Final = frozenset({"from", "to", "cursor", "since"})


async def checkpoint(call: Call) -> Answer:
    """The newest signed checkpoint, as a C2SP signed note."""
    return Answer((await call.application.proofs.checkpoint()).encode(), media_type=TEXT)


async def key(call: Call) -> Answer:
    """The log's verifier key, as C2SP signed-note writes it, on a line."""
    return Answer(f"{await call.application.proofs.key()}\n".encode(), media_type=TEXT)


async def proof(call: Call) -> Answer:
    """The receipt of an event: a C2SP ``tlog-proof@v1`` with the event in it."""
    event_id = call.path["id"]
    refuse_sensitive(event_id, "id")
    found = await call.application.proofs.proof(call.context, event_id)
    return Answer(found.encode(), media_type=TEXT)


async def export(call: Call) -> Answer:
    """A stretch of the log as a bundle: from a time or leaf on, until a time."""
    query = call.query
    wanted = Wanted(
        since=time_of(query.get("from"), "from"),
        until=time_of(query.get("to"), "to"),
        first=whole_number(query["cursor"], "cursor") if "cursor" in query else None,
        kept=whole_number(query["since"], "since") if "since" in query else None,
    )
    lines = call.application.export_audit(call.context, wanted)
    # Asked for here: what stands in the way is a problem document, not a broken stream.
    first = await anext(lines)
    return Answer(first, media_type=NDJSON, rest=lines)
