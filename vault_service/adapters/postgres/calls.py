"""What may be asked of the database twice, such as calls of functions that read or that count
once: a call is a statement that is a transaction of its own, one way to the database and
back, where an ordinary transaction takes five."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.failures import DRIVER_ERRORS, database_failure, is_lost
from vault_service.adapters.postgres.insertion import Connection

T = TypeVar("T")
TRIES: Final = 3


async def ask_repeatable(database: Database, ask: Callable[[Connection], Awaitable[T]]) -> T:
    """What ``ask`` returns: it is asked again where the connection was lost, since a pooled
    one may have died since its last use and another may not have. Raises
    ``database_unavailable`` or ``internal``."""
    for attempt in range(TRIES):
        try:
            async with database.hot_connection() as connection:
                return await ask(connection)
        except DRIVER_ERRORS as error:
            if attempt == TRIES - 1 or not is_lost(error):
                raise database_failure(error) from None
    raise AssertionError("the last try returns or raises")


async def call_repeatable(
    database: Database, statement: str, parameters: Sequence[object]
) -> list[tuple[Any, ...]]:
    """The rows of a call, which raises as :func:`ask_repeatable` does."""

    async def ask(connection: Connection) -> list[tuple[Any, ...]]:
        cursor = await connection.execute(statement, parameters, prepare=True, binary=True)
        return await cursor.fetchall()

    return await ask_repeatable(database, ask)
