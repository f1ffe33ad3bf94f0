"""``GET`` and ``DELETE /v1/tokens/{token}``."""

import msgspec

from vault_service.api.endpoint import Answer, Call
from vault_service.api.limits import refuse_sensitive


class TokenAnswer(msgspec.Struct, omit_defaults=True):
    """What is known of a token, without its value. Times are RFC 3339 in UTC."""

    token: str
    data_class: str
    forms: list[str]
    created_at: str
    request_id: str
    tags: dict[str, str] = {}
    subject: str | None = None
    expires_at: str | None = None


_encode = msgspec.json.Encoder().encode


async def describe(call: Call) -> Answer:
    """Metadata of one token."""
    token = call.path["token"]
    refuse_sensitive(token, "token")
    stored, data_class = await call.application.tokens.describe(call.context, token)
    record = stored.record
    return Answer(
        _encode(
            TokenAnswer(
                token=record.token,
                data_class=record.data_class,
                forms=list(data_class.forms),
                created_at=stored.created_at.isoformat(),
                request_id=call.context.request_id,
                tags=dict(record.tags),
                subject=record.subject,
                expires_at=None if record.expires_at is None else record.expires_at.isoformat(),
            )
        )
    )


async def delete(call: Call) -> Answer:
    """Delete one token and its value for good."""
    token = call.path["token"]
    refuse_sensitive(token, "token")
    await call.application.tokens.delete(call.context, token)
    return Answer(status=204)
