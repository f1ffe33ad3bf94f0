"""Reads a tenant's events in the order of their positions, however many there are."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.schema import audit_events

# A large request's event has a megabyte, so few are fetched at a time.
_ROWS: Final = 100
# Without a sort the cursor walks the index and the first row comes at once. A tenant may
# have few events among many of others, so that a fetch looks at a lot of rows.
_WALK: Final = sa.text(
    "SELECT set_config('enable_sort', 'off', true), set_config('statement_timeout', '5min', true)"
)


async def stream(
    database: Database, tenant: str, since: datetime | None, until: datetime | None
) -> AsyncGenerator[bytes, None]:
    """Canonical bytes of the tenant's events that occurred from ``since`` until just
    before ``until`` (UTC; ``None``: all), as of one moment, a hundred in memory at a time.

    Raises ``database_unavailable``. Close it (``contextlib.aclosing``) where it is left
    before its end: until then it holds a connection.
    """
    c = audit_events.c
    query = sa.select(c.body).where(c.tenant == tenant).order_by(c.position)
    if since is not None:
        query = query.where(c.occurred_at >= since)
    if until is not None:
        query = query.where(c.occurred_at < until)
    async with database.transaction(tenant) as connection:
        await connection.execute(_WALK)
        rows = await connection.stream(query, execution_options={"yield_per": _ROWS})
        async for (body,) in rows:
            yield bytes(body)
