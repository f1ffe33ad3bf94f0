"""A log in a real database, driven as a process of the service drives it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.conftest import DatabaseUrls
from tests.fakes.checkpoints import RemovableAnchor, RemovableSigner
from tests.stored import event
from vault_service.adapters.anchors.file import FileAnchor
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.log_reader import PostgresLogReader
from vault_service.adapters.postgres.log_statements import LOCK
from vault_service.adapters.postgres.schema import SERVICE_ROLE, TENANT_SETTING
from vault_service.adapters.postgres.sealing_log import PostgresSealingLog
from vault_service.adapters.signing.local import UnsafeLocalSigningKey
from vault_service.domain.checkpoints import Checkpoint, open_checkpoint
from vault_service.domain.events import canonical_bytes
from vault_service.domain.transparency import StoredCheckpoint
from vault_service.services import log_export
from vault_service.services.log_export import Wanted
from vault_service.services.sealing import Sealer
from vault_service.verifier.bundles import BundleReport, verify_bundle

ORIGIN: Final = "vault.example/audit"
TENANT: Final = "main"
PATIENCE_SECONDS: Final = 60.0
_INSERT: Final = (
    "INSERT INTO strongroom.audit_events (id, occurred_at, tenant, principal, action, outcome,"
    " data_classes, terms, body) VALUES (%s, %s, %s, %s, 'tokenize', 'ok', '{pan}', '{}', %s)"
    " RETURNING position"
)


class Watching:
    """What a sealer told its observer."""

    def __init__(self) -> None:
        self.leaves: list[int] = []
        self.signatures = 0
        self.anchor_failures = 0
        self.broken: list[bool] = []

    def sealed(self, leaves: int) -> None:
        self.leaves.append(leaves)

    def signed(self) -> None:
        self.signatures += 1

    def anchor_failed(self) -> None:
        self.anchor_failures += 1

    def log_broken(self, broken: bool) -> None:
        self.broken.append(broken)


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class SealedDatabase:
    """A log of a test's own, and what a process needs to seal it."""

    urls: DatabaseUrls
    database: Database
    directory: Path
    clock: SetClock = field(default_factory=SetClock)
    watching: Watching = field(default_factory=Watching)

    def __post_init__(self) -> None:
        self.log = PostgresSealingLog(self.database)
        self.reader = PostgresLogReader(self.database)
        self.signer = RemovableSigner(UnsafeLocalSigningKey(self.directory / "signing.key", ORIGIN))
        self.key = self.signer.key
        self.folder = self.directory / "anchor"
        self.anchor = RemovableAnchor(FileAnchor(self.folder))

    def sealer(self, **changes: Any) -> Sealer:
        """A process's candidate, with the log's one signer and anchor unless told else."""
        parts = {
            "log": self.log,
            "signer": self.signer,
            "anchor": self.anchor,
            "observer": self.watching,
            "origin": ORIGIN,
            "clock": self.clock,
            "round_seconds": 0.01,
        }
        return Sealer(**{**parts, **changes})

    @asynccontextmanager
    async def sealing(self, **changes: Any) -> AsyncIterator[Sealer]:
        """A sealer that runs until the block ends, and then seals and signs its last."""
        sealer = self.sealer(**changes)
        task = asyncio.create_task(sealer.run())
        try:
            yield sealer
        finally:
            await sealer.stop(task)

    @asynccontextmanager
    async def open_transaction(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A transaction as the service's, rolled back unless the block commits it."""
        connection = await psycopg.AsyncConnection.connect(self.urls.app_url)
        try:
            await connection.execute(f"SET ROLE {SERVICE_ROLE}".encode())
            await connection.execute("SELECT set_config(%s, %s, false)", (TENANT_SETTING, TENANT))
            await connection.commit()
            yield connection
        finally:
            await connection.close()

    async def append(self, count: int = 1) -> list[int]:
        """Record so many events, committed together; their positions."""
        async with self.open_transaction() as connection:
            positions = await insert(connection, count)
            await connection.commit()
            return positions

    async def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a statement, run and committed as the database's superuser."""
        async with await psycopg.AsyncConnection.connect(
            self.urls.superuser_url, autocommit=True
        ) as connection:
            cursor = await connection.execute(statement.encode(), parameters or None)
            return await cursor.fetchall() if cursor.description is not None else []

    async def tamper(self, *statements: str) -> None:
        """Run statements as a superuser who has switched off triggers."""
        async with await psycopg.AsyncConnection.connect(self.urls.superuser_url) as connection:
            await connection.execute("SET session_replication_role = replica")
            for statement in statements:
                await connection.execute(statement.encode())
            await connection.commit()

    async def leaves(self) -> list[int]:
        """The positions of the sealed events, by leaf; that none is there twice and that
        leaves are numbered without a gap is asserted."""
        rows = await self.query(
            "SELECT leaf_index, position FROM strongroom.log_leaves ORDER BY leaf_index"
        )
        assert [index for index, _ in rows] == list(range(len(rows)))
        positions = [position for _, position in rows]
        assert len(set(positions)) == len(positions)
        return positions

    async def positions(self) -> list[int]:
        """The positions of all committed events."""
        rows = await self.query("SELECT position FROM strongroom.audit_events ORDER BY position")
        return [position for (position,) in rows]

    async def state(self) -> tuple[int, int, int]:
        """Size, settled position and wanted size of the tree."""
        [row] = await self.query("SELECT size, settled, wanted FROM strongroom.log_tree")
        return row[0], row[1], row[2]

    async def checkpoints(self) -> list[Checkpoint]:
        """All checkpoints, each opened with the log's key, smallest first."""
        rows = await self.query(
            "SELECT tree_size, note FROM strongroom.log_checkpoints ORDER BY tree_size"
        )
        opened = [open_checkpoint(note, self.key, ORIGIN) for _, note in rows]
        assert [checkpoint.size for checkpoint in opened] == [size for size, _ in rows]
        return opened

    async def newest(self) -> StoredCheckpoint:
        found = await self.reader.newest_checkpoint()
        assert found is not None
        return found

    async def loose(self) -> list[int]:
        """Sizes of the checkpoints of which no copy is noted."""
        rows = await self.query(
            "SELECT tree_size FROM strongroom.log_checkpoints WHERE anchored_at IS NULL"
            " ORDER BY tree_size"
        )
        return [size for (size,) in rows]

    def copies(self) -> dict[int, str]:
        """What is kept in the anchor's folder, by size of the tree."""
        if not self.folder.exists():
            return {}
        return {int(path.stem): path.read_text() for path in self.folder.iterdir()}

    async def export(self) -> bytes:
        """The bundle of the whole log."""
        async with self.reader.contents() as contents:
            stretch = await log_export.plan(contents, Wanted())
            lines = log_export.write(contents, stretch, tenant=None, origin=ORIGIN, key=self.key)
            return b"".join([piece async for piece in lines])

    async def verified(self, kept: str | None = None) -> BundleReport:
        """What the offline verifier says of the whole log."""
        return verify_bundle(BytesIO(await self.export()), self.key, kept)


async def insert(connection: psycopg.AsyncConnection[Any], count: int = 1) -> list[int]:
    """Record events in the open transaction; the positions that they drew."""
    positions: list[int] = []
    for _ in range(count):
        made = event(TENANT, occurred_at=datetime.now(UTC))
        cursor = await connection.execute(
            _INSERT,
            (made.id, made.occurred_at, made.tenant, made.principal, canonical_bytes(made)),
        )
        row = await cursor.fetchone()
        assert row is not None
        positions.append(row[0])
    return positions


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await holds():
        assert time.monotonic() < deadline, "what was waited for did not come"
        await asyncio.sleep(0.02)


async def leader(sealed: SealedDatabase) -> int | None:
    """The database's process id of the connection that leads, if one does."""
    rows = await sealed.query(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND (classid::bigint << 32 | objid::bigint) = %s",
        LOCK,
    )
    assert len(rows) <= 1
    return rows[0][0] if rows else None


async def admit(sealed: SealedDatabase, connections: bool) -> None:
    """Whether new connections to the log's database are let in."""
    url = sealed.urls.superuser_url.replace(f"/{sealed.urls.name}", "/postgres")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        statement = f'ALTER DATABASE "{sealed.urls.name}" ALLOW_CONNECTIONS {connections}'
        await connection.execute(statement.encode())


async def all_sealed(sealed: SealedDatabase) -> None:
    """Wait until every committed event is a leaf."""

    async def holds() -> bool:
        return sorted(await sealed.leaves()) == await sealed.positions()

    await until(holds)


async def signed_at(sealed: SealedDatabase, *sizes: int) -> None:
    """Wait until there are checkpoints of these sizes, and no others."""

    async def holds() -> bool:
        found = [checkpoint.size for checkpoint in await sealed.checkpoints()]
        assert set(found) <= set(sizes), found
        return found == list(sizes)

    await until(holds)
