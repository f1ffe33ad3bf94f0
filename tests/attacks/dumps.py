"""All that a database holds, as one who stole it would read it."""

import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.serving import Server
from vault_service.adapters.postgres.embedded.binaries import find_binaries


def dump(url: str) -> bytes:
    """What ``pg_dump`` writes of the database at ``url``."""
    bindir = find_binaries(None, None, None, None).bindir
    parts = urlsplit(url)
    return subprocess.run(
        [
            bindir / "pg_dump",
            f"--host={parts.hostname}",
            f"--port={parts.port}",
            f"--username={parts.username}",
            f"--dbname={parts.path[1:]}",
        ],
        check=True,
        capture_output=True,
        env={"PGPASSWORD": parts.password or ""},
    ).stdout


def tables(server: Server) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """The name and the rows of every table that is not PostgreSQL's own."""
    names = server.query(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
        " WHERE schemaname IN ('strongroom', 'public')"
    )
    for (name,) in names:
        yield name, server.query(f"SELECT * FROM {name}")
