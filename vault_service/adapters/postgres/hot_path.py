"""The quick ways: one statement that is a transaction of its own.

Nearly all requests are of three kinds: values that were never seen, events alone, and
an event with what it draws on a budget. Each is one call of a database function, sent
and answered in one go. Where a value turns out to be known, nothing has happened, and
the work goes the careful way.
"""

from collections.abc import Sequence

import psycopg

from vault_service.adapters.postgres import statements
from vault_service.adapters.postgres.audit import event_columns
from vault_service.adapters.postgres.budgets import Draw
from vault_service.adapters.postgres.insertion import Connection
from vault_service.adapters.postgres.rows import batch_columns, merged, outcomes, row_columns
from vault_service.adapters.postgres.works import Write, conclusions
from vault_service.domain.errors import VaultError
from vault_service.domain.tokens import TokenBatch, TokenTaken


class KnownValue(Exception):
    """A value that was taken for new was there already; nothing was stored."""


def events_alone(works: Sequence[Write]) -> bool:
    """Whether the works only append events."""
    return not any(work.batches or work.charge or work.delete for work in works)


def reveal_alone(works: Sequence[Write]) -> bool:
    """Whether there is one work, an event that is recorded with what it draws on a budget."""
    return len(works) == 1 and works[0].charge is not None and works[0].event is not None


def presumably_new(works: Sequence[Write], repeating: set[tuple[str, str]]) -> bool:
    """Whether all the works store rows or append events, none of them of a class that
    had known values lately, and none with an answer to keep."""
    return not any(
        work.charge
        or work.delete
        or any((work.tenant, b.data_class) in repeating or b.links for b in work.batches)
        for work in works
    )


async def append(connection: Connection, tenant: str, works: Sequence[Write]) -> None:
    """Append the works' events. Raises the driver's errors."""
    found = await conclusions(works, (), [None] * len(works))
    await connection.execute(
        statements.APPEND_EVENTS,
        (tenant, *event_columns([conclusion.event for conclusion in found])),
        prepare=True,
    )


async def draw_and_append(connection: Connection, tenant: str, work: Write) -> VaultError | None:
    """Draw on the work's budget and append its event; the error, and nothing counted or
    appended, where the budget does not cover it. Raises the driver's errors."""
    assert work.charge is not None
    assert work.event is not None
    draw = Draw(work.charge)
    cursor = await connection.execute(
        statements.DRAW_AND_APPEND,
        (tenant, *draw.parameters(), *event_columns([work.event])),
        prepare=True,
        binary=True,
    )
    return draw.result(await cursor.fetchone())


async def store_new(connection: Connection, tenant: str, works: Sequence[Write]) -> bool:
    """Store the works' rows as new, with their events; ``False``, and nothing stored,
    where an answer must be kept too. Raises :class:`KnownValue`, ``TokenTaken`` and the
    driver's errors."""
    batches = [batch for work in works for batch in work.batches]
    found = await conclusions(works, outcomes(batches, {}), [None] * len(works))
    if any(conclusion.claim is not None for conclusion in found):
        return False
    statement, parameters = _rows(tenant, batches)
    events = event_columns([conclusion.event for conclusion in found])
    try:
        await connection.execute(statement, (*parameters, *events), prepare=True)
    except (psycopg.errors.ExclusionViolation, psycopg.errors.UniqueViolation) as error:
        if error.diag.constraint_name == "tokens_pkey":
            raise TokenTaken from None
        raise KnownValue from None
    return True


def _rows(tenant: str, batches: Sequence[TokenBatch]) -> tuple[str, tuple[object, ...]]:
    if len(batches) == 1 and batches[0].subjects is None and batches[0].expires_at is None:
        return statements.STORE_NEW_BATCH, batch_columns(tenant, batches[0])
    return statements.STORE_NEW, row_columns(tenant, merged(batches))
