"""How this process reaches the database, and what it will not be there.

A guarded access refuses connections that a service must not have in production: one
without TLS, and one whose login may do more than the vault needs (PCI-DSS 4.2.1, 7.2.5).
It looks at each connection, for a login can be given more while the service runs.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import sqlalchemy as sa
import structlog

from vault_service.adapters.postgres.passwords import PasswordSource, password_source
from vault_service.adapters.postgres.schema import OWNER_ROLE

_CONNECT_SECONDS: Final = 5
_log = structlog.get_logger("strongroom.database")
_LOGIN: Final = (
    "SELECT r.rolsuper, r.rolbypassrls, r.rolcreaterole OR r.rolcreatedb OR r.rolreplication,"
    " EXISTS (SELECT FROM pg_roles AS o WHERE o.rolname = %s"
    " AND pg_has_role(session_user, o.oid, 'MEMBER')),"
    " coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)"
    " FROM pg_roles AS r WHERE r.rolname = session_user"
)


class LoginRefused(psycopg.OperationalError):
    """The connection is not one that a service may have. The text says which and the mend."""


@dataclass(frozen=True, slots=True)
class Access:
    """A way to the database. ``url`` is ``postgresql://…``; ``password_from`` refers to the
    password that it lacks (see :mod:`.passwords`), empty where it lacks none."""

    url: str = field(repr=False)
    password_from: str = ""
    guarded: bool = False


class Door:
    """Makes connections by one access. Close it at the end."""

    def __init__(self, access: Access) -> None:
        # Else libpq may take GSSAPI's encryption in the place of TLS, and verify nothing.
        self._url = driver_url(access.url).update_query_dict({"gssencmode": "disable"})
        self._guarded = access.guarded
        self._source: PasswordSource | None = None
        if access.password_from:
            self._source = password_source(
                access.password_from,
                host=self._url.host or "",
                port=self._url.port,
                login=self._url.username or "",
            )

    def __repr__(self) -> str:
        return f"Door({self._url.render_as_string(hide_password=True)})"

    async def conninfo(self) -> str:
        """The whole URL, password included, as libpq takes it. Raises
        ``database_unavailable`` where the password cannot be had."""
        url = self._url.set(drivername="postgresql")
        if self._source is not None:
            password = await self._source.read()
            url = url.set(username=password.login or url.username, password=password.text)
        return url.render_as_string(hide_password=False)

    async def connect(self, **options: Any) -> psycopg.AsyncConnection[Any]:
        """A new connection with these options of psycopg. Raises its errors, and
        :class:`LoginRefused`."""
        connection = await psycopg.AsyncConnection.connect(
            await self.conninfo(), connect_timeout=_CONNECT_SECONDS, **options
        )
        try:
            await self.admit(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def admit(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Look whether a service may have this connection; :class:`LoginRefused` else."""
        if not self._guarded:
            return
        cursor = await connection.execute(_LOGIN, (OWNER_ROLE,))
        row = await cursor.fetchone()
        await connection.rollback()
        for found, reason in zip(row or (), _REASONS, strict=True):
            if found is (reason is not _PLAIN):
                _log.critical("database_login_refused", reason=reason)
                raise LoginRefused(reason)

    def close(self) -> None:
        """Let go of what reading passwords took."""
        if self._source is not None:
            self._source.close()


_ONLY: Final = "; use one that `strongroom db roles` makes for the service"
_PLAIN: Final = (
    "the connection to the database is not encrypted; switch ssl on at the server, and off"
    " whatever stands before it"
)
_REASONS: Final = (
    "the database login is a superuser's" + _ONLY,
    "the database login bypasses row-level security" + _ONLY,
    "the database login may make roles or databases, or replicate" + _ONLY,
    "the database login may act as the owner of the tables" + _ONLY,
    _PLAIN,
)


def driver_url(database_url: str) -> sa.URL:
    """The URL with the psycopg driver named, whatever spelling it came in."""
    return sa.make_url(database_url).set(drivername="postgresql+psycopg")


async def complete_url(access: Access) -> str:
    """The URL with the password that it refers to, for one command's own use. Raises
    ``database_unavailable`` where the password cannot be had."""
    door = Door(access)
    try:
        return await door.conninfo()
    finally:
        door.close()
