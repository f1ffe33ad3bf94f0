"""Sets up the embedded server's roles and databases, as its superuser.

Login roles: ``strongroom_migrator`` runs the migrations, ``strongroom_app`` is the
service's. The group roles that hold the grants belong to the migration; they are made
here too, so that the migrator may hand them on (PostgreSQL 16 asks for ADMIN to grant
and for SET to act as a role) and the service may take them on before the first
migration. Everything is idempotent.
"""

from collections.abc import Mapping
from typing import Final

import psycopg
from psycopg import sql

from vault_service.adapters.postgres.embedded.state import APP, MIGRATOR
from vault_service.adapters.postgres.roles import SEALING, SERVICE
from vault_service.adapters.postgres.schema import OWNER_ROLE, ROLES

_CONNECT_SECONDS: Final = 10


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    """An autocommit connection to ``url``."""
    return psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_SECONDS)


def set_up_roles(superuser_url: str, passwords: Mapping[str, str]) -> None:
    """Make the roles that are missing, and compress the WAL as well as the server can."""
    with connect(superuser_url) as connection, connection.transaction():
        present = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        for role in ROLES:
            if role not in present:
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        # NOINHERIT: what a group role may do, the service may do only after SET ROLE.
        for role, options in ((MIGRATOR, "LOGIN CREATEROLE"), (APP, "LOGIN NOINHERIT")):
            if role not in present:
                verifier = connection.pgconn.encrypt_password(
                    passwords[role].encode(), role.encode(), b"scram-sha-256"
                )
                connection.execute(
                    sql.SQL("CREATE ROLE {} " + options + " PASSWORD {}").format(
                        sql.Identifier(role), sql.Literal(verifier.decode())
                    )
                )
        if not {MIGRATOR, APP, *ROLES} <= present:
            _grant(connection, ROLES, MIGRATOR, " WITH ADMIN OPTION")
            # One login seals, too: whoever has this server's home has all of its passwords.
            _grant(connection, (*SERVICE.member_of, *SEALING.member_of), APP, "")
    with connect(superuser_url) as connection:
        _compress_wal(connection)


def create_database(superuser_url: str, database_url: str, name: str) -> None:
    """Make the database ``name`` where it is missing, owned by the migrator and closed to
    every other role but the service's. ``database_url``: the superuser's URL of it."""
    with connect(superuser_url) as connection:
        row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        database = sql.Identifier(name)
        if row is None:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(database, sql.Identifier(MIGRATOR))
            )
    with connect(database_url) as connection, connection.transaction():
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(APP))
        )
        connection.execute(
            sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(
                database, sql.Identifier(OWNER_ROLE)
            )
        )


def drop_database(superuser_url: str, name: str) -> None:
    """Drop the database ``name`` with whatever is connected to it."""
    with connect(superuser_url) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


def _grant(
    connection: psycopg.Connection[tuple[object, ...]],
    roles: tuple[str, ...],
    to: str,
    option: str,
) -> None:
    connection.execute(
        sql.SQL("GRANT {} TO {}" + option).format(
            sql.SQL(", ").join(map(sql.Identifier, roles)), sql.Identifier(to)
        )
    )


def _compress_wal(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """lz4 where the server was built with it, else PostgreSQL's own compression."""
    row = connection.execute(
        "SELECT setting, 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'wal_compression'"
    ).fetchone()
    if row is None:
        return
    setting, has_lz4 = row
    wanted = "lz4" if has_lz4 else "pglz"
    if setting != wanted:
        connection.execute(
            sql.SQL("ALTER SYSTEM SET wal_compression = {}").format(sql.Literal(wanted))
        )
        connection.execute("SELECT pg_reload_conf()")
