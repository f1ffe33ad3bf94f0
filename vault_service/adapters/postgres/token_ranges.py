"""Where a class of tokens is cut into ranges; meets
:class:`~vault_service.domain.report_ports.TokenRanges`.

The token table has no index on classes: every row of the tenant is read, as for an
inventory, and nothing of it is sent but the boundaries.
"""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.schema import tokens

_SLOW: Final = sa.text("SET LOCAL statement_timeout = '280s'")
_columns = tokens.c


class PostgresTokenRanges:
    """Ranges of the tokens of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def boundaries(self, tenant: str, data_class: str, size: int, most: int) -> Sequence[str]:
        """See :class:`~vault_service.domain.report_ports.TokenRanges`."""
        theirs = (_columns.tenant == tenant, _columns.data_class == data_class)
        counting = sa.select(sa.func.count()).select_from(tokens).where(*theirs)
        numbered = (
            sa.select(
                _columns.token,
                sa.func.row_number().over(order_by=_columns.token).label("place"),
            )
            .where(*theirs)
            .subquery()
        )
        async with self._database.transaction(tenant) as connection:
            await connection.execute(_SLOW)
            count = (await connection.execute(counting)).scalar_one()
            size = max(size, -(-count // most))
            ends = (
                sa.select(numbered.c.token)
                .where(numbered.c.place % size == 0, numbered.c.place < count)
                .order_by(numbered.c.token)
                .limit(most - 1)
            )
            return list((await connection.execute(ends)).scalars())
