"""Whether the database can serve: reachable, of this release's schema, and writable
where it matters most."""

from collections.abc import Callable
from typing import Final

import sqlalchemy as sa
import sqlalchemy.exc

from vault_service.adapters.postgres.audit import append_event
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.failures import audit_failure
from vault_service.adapters.postgres.migrate import head_revision
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.events import AuditEvent

_CHECK_NOW: Final = sa.text("SET CONSTRAINTS ALL IMMEDIATE")
"""What the commit would check, since the trial never gets there."""
_REVISION: Final = sa.text("SELECT version_num FROM strongroom.alembic_version")


class _Undone(Exception):
    """Ends a transaction that was only a trial."""


class Readiness:
    """The checks. ``trial_event`` makes an event that is written and taken back."""

    def __init__(self, database: Database, trial_event: Callable[[], AuditEvent]) -> None:
        self._database = database
        self._trial_event = trial_event
        self._head = head_revision()

    async def database(self) -> None:
        """Raises ``database_unavailable`` where it is away or of another schema."""
        async with self._database.transaction() as connection:
            try:
                found = (await connection.execute(_REVISION)).scalar_one_or_none()
            except sqlalchemy.exc.ProgrammingError:
                found = None
            if found != self._head:
                raise VaultError(
                    Code.DATABASE_UNAVAILABLE,
                    "The database has another schema; run: strongroom db upgrade",
                )

    async def audit(self) -> None:
        """Raises ``audit_unavailable`` where an event could not be written now."""
        try:
            async with self._database.transaction() as connection:
                await append_event(connection, self._trial_event())
                try:
                    await connection.execute(_CHECK_NOW)
                except sqlalchemy.exc.DBAPIError as error:
                    raise audit_failure(error) from None
                raise _Undone
        except _Undone:
            return
