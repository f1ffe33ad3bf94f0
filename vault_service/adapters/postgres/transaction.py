"""The careful way: an explicit transaction of two steps.

First the rows, budgets and deletions, then the events that say how it went, and the
commit. Nothing is answered before the commit, and a failure of the second step undoes
the first.
"""

from collections.abc import Sequence

import psycopg

from vault_service.adapters.postgres import statements
from vault_service.adapters.postgres.audit import event_columns
from vault_service.adapters.postgres.budgets import draw_on_budgets
from vault_service.adapters.postgres.failures import audit_failure, is_away
from vault_service.adapters.postgres.insertion import Connection, complete, find_or_insert
from vault_service.adapters.postgres.rows import outcomes
from vault_service.adapters.postgres.works import Write, conclusions
from vault_service.domain.errors import VaultError
from vault_service.domain.ports import Conclusion
from vault_service.domain.tokens import TokenRecord, TokenTaken


class FirstStepFailed(Exception):
    """The rows could not be written; nothing was committed, so a retry is safe."""

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__()
        self.error = error


async def run(
    connection: Connection, tenant: str, works: Sequence[Write]
) -> tuple[Sequence[VaultError | None], dict[bytes, TokenRecord]]:
    """Run the works of one tenant in one transaction: the error or ``None`` of each, and
    the rows that stood for their values before.

    Raises :class:`FirstStepFailed`, ``TokenTaken``, ``audit_unavailable``, and the
    driver's errors where the connection or the database failed at the events or the
    commit.
    """
    batches = [batch for work in works for batch in work.batches]
    results: list[VaultError | None] = [None] * len(works)
    try:
        await connection.execute("BEGIN")
        await connection.execute(statements.SET_TENANT, (tenant,), prepare=True)
        winners = await find_or_insert(connection, tenant, batches) if batches else {}
        # Counters, then rows, in an order that all transactions keep: they may wait for
        # each other and never deadlock.
        draws = [(d, position) for position, w in enumerate(works) if (d := w.charge) is not None]
        for draw, position in sorted(draws, key=lambda d: (d[0].principal, d[0].purpose, d[1])):
            results[position] = await draw_on_budgets(connection, draw)
        for token in sorted(work.delete for work in works if work.delete is not None):
            await connection.execute(statements.DELETE, (token, tenant), prepare=True)
        found = await conclusions(works, outcomes(batches, winners), results)
        withheld = {token for conclusion in found for token in conclusion.withheld}
        trusted = {i: record for i, record in winners.items() if record.token not in withheld}
        if trusted or any(batch.links for batch in batches):
            await complete(connection, tenant, batches, trusted)
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name == "tokens_pkey":
            raise TokenTaken from None
        raise FirstStepFailed(error) from None
    except psycopg.Error as error:
        raise FirstStepFailed(error) from None
    try:
        await _conclude(connection, tenant, found)
    except psycopg.Error as error:
        if is_away(error):
            raise
        raise audit_failure(error) from None
    return results, winners


async def _conclude(connection: Connection, tenant: str, found: Sequence[Conclusion]) -> None:
    async with connection.pipeline():
        if found:
            events = event_columns([conclusion.event for conclusion in found])
            await connection.execute(statements.APPEND_EVENTS, (tenant, *events), prepare=True)
        for conclusion in found:
            claim = conclusion.claim
            if claim is not None:
                await connection.execute(
                    statements.KEEP_ANSWER,
                    (
                        conclusion.answer,
                        claim.tenant,
                        claim.principal,
                        claim.key,
                        claim.request_digest,
                    ),
                    prepare=True,
                )
        await connection.execute("COMMIT")
