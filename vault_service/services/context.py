"""What every use case is told of the request it serves."""

from dataclasses import dataclass
from datetime import datetime

from vault_service.domain.principals import Principal


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Who asks, under which request id, and when (UTC). ``run`` is the report run that a
    job named in its request."""

    principal: Principal
    request_id: str
    at: datetime
    run: str | None = None
