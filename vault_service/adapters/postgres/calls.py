"""Calls of database functions, each a statement that is a transaction of its own: one way
to the database and back, where an ordinary transaction takes five."""

from collections.abc import Sequence
from typing import Any, Final

from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.failures import DRIVER_ERRORS, database_failure, is_lost

TRIES: Final = 3


async def call_repeatable(
    database: Database, statement: str, parameters: Sequence[object]
) -> list[tuple[Any, ...]]:
    """The rows of a call that may be made twice: it is made again where the connection was
    lost, since a pooled one may have died since its last use and another may not have.
    Raises ``database_unavailable`` or ``internal``."""
    for attempt in range(TRIES):
        try:
            async with database.hot_connection() as connection:
                cursor = await connection.execute(statement, parameters, prepare=True, binary=True)
                return await cursor.fetchall()
        except DRIVER_ERRORS as error:
            if attempt == TRIES - 1 or not is_lost(error):
                raise database_failure(error) from None
    raise AssertionError("the last try returns or raises")
