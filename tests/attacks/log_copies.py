"""Copies of a real log, each in a database of its own, for a superuser to tamper with."""

import itertools
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from psycopg import sql

from tests.bundles import ORIGIN, Signer
from tests.serving import Server
from vault_service.adapters.postgres.embedded.state import APP, SUPERUSER
from vault_service.domain.checkpoints import Checkpoint
from vault_service.domain.merkle import HASH_SIZE, leaf_hash, tree_root
from vault_service.domain.tiles import TILE_WIDTH, TileNodes, TreeGrowth

_COLUMNS: Final = (
    "id, occurred_at, tenant, principal, action, outcome, purpose, data_classes, terms, body"
)
_TABLES: Final = (
    "audit_events",
    "log_archives",
    "log_checkpoints",
    "log_leaves",
    "log_tiles",
    "log_tree",
)
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Row:
    """A recorded event in the table."""

    position: int
    id: str
    body: bytes

    def edited(self, **changes: Any) -> bytes:
        """Its canonical bytes with other contents."""
        said = json.loads(self.body) | changes
        return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class Copy:
    """A copy of a server's log in a database of its own, with the service's files beside it, or
    those of another ``home``."""

    def __init__(self, original: Server, home: Path | None = None) -> None:
        postgres, name = original.postgres, f"copied_{next(_numbers)}"
        with psycopg.connect(original.superuser_url, dbname="postgres", autocommit=True) as admin:
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(original.database)
                )
            )
        urls = postgres.create_database(name)  # grants are not copied along
        directory = original.directory / name
        directory.mkdir()
        shutil.copytree(home or original.home, directory / "home")
        self.server = Server(
            postgres,
            name,
            directory,
            urls[APP],
            urls[SUPERUSER],
            environment=original.environment,
        )

    @property
    def signing_key(self) -> Signer:
        """The log's own key, which whoever has the host has too."""
        pem = (self.server.home / "audit-signing.key").read_bytes()
        private = load_pem_private_key(pem, password=None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        return Signer(private)

    def break_sealer(self) -> None:
        """Let no sealer lead: a checkpoint that is kept beside the database is not the log's."""
        newest = max((self.server.home / "checkpoints").iterdir())
        newest.write_text(newest.read_text().replace(ORIGIN, "another/log"))

    def forget_anchors(self) -> None:
        """Take away the copies of checkpoints that the service keeps beside the database."""
        shutil.rmtree(self.server.home / "checkpoints")

    def tamper(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser who has switched the triggers off."""
        with psycopg.connect(self.server.superuser_url) as connection:
            connection.execute("SET session_replication_role = replica")
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description is not None else []

    def row(self, leaf: int) -> Row:
        """The event of a leaf."""
        [(position, event_id, body)] = self.tamper(
            "SELECT e.position, e.id, e.body FROM strongroom.log_leaves AS l"
            " JOIN strongroom.audit_events AS e USING (position, occurred_at)"
            " WHERE l.leaf_index = %s",
            leaf,
        )
        return Row(position, event_id, bytes(body))

    def edit(self, leaf: int, **changes: Any) -> Row:
        """Change what an event says, in its bytes and in the columns beside them."""
        row = self.row(leaf)
        columns = "".join(f", {name} = %s" for name in changes)
        self.tamper(
            f"UPDATE strongroom.audit_events SET body = %s{columns} WHERE position = %s",
            row.edited(**changes),
            *changes.values(),
            row.position,
        )
        return row

    def insert(self, like: Row, position: int | None, body: bytes) -> None:
        """Put an event in, with the columns that ``body`` asks for and the others of
        ``like``; at the next position, as any event, where ``position`` is ``None``."""
        said = json.loads(body)
        drawn = position is None
        self.tamper(
            f"INSERT INTO strongroom.audit_events ({'' if drawn else 'position, '}{_COLUMNS})"
            f" SELECT {'' if drawn else '%s, '}%s, %s::timestamptz,"
            " tenant, %s, action, outcome, purpose, data_classes, terms, %s"
            " FROM strongroom.audit_events WHERE position = %s",
            *(() if drawn else (position,)),
            said["id"],
            said["time"],
            said.get("principal"),
            body,
            like.position,
        )

    def insert_below_zero(self, like: Row, ids: Sequence[str], bodies: Sequence[bytes]) -> None:
        """Put many events of one moment in, at positions below zero."""
        self.tamper(
            f"INSERT INTO strongroom.audit_events (position, {_COLUMNS})"
            " SELECT -forged.number, forged.id, e.occurred_at, e.tenant, e.principal, e.action,"
            " e.outcome, e.purpose, e.data_classes, e.terms, forged.body"
            " FROM strongroom.audit_events AS e, unnest(%s::text[], %s::bytea[]) WITH ORDINALITY"
            " AS forged (id, body, number) WHERE e.position = %s",
            list(ids),
            list(bodies),
            like.position,
        )

    def exchange(self, one: Row, other: Row) -> None:
        """Let two events change places, with all that the table says of them."""
        stored = {
            row.position: self.tamper(
                f"DELETE FROM strongroom.audit_events WHERE position = %s RETURNING {_COLUMNS}",
                row.position,
            )[0]
            for row in (one, other)
        }
        for row, place in ((one, other), (other, one)):
            values = stored[row.position]
            self.tamper(
                f"INSERT INTO strongroom.audit_events (position, {_COLUMNS})"
                f" VALUES (%s{', %s' * len(values)})",
                place.position,
                *values,
            )

    def delete(self, *leaves: int) -> None:
        """Delete the events of these leaves."""
        self.tamper(
            "DELETE FROM strongroom.audit_events AS e USING strongroom.log_leaves AS l"
            " WHERE e.position = l.position AND l.leaf_index = ANY (%s)",
            list(leaves),
        )

    def edit_hash(self, leaf: int, new: bytes) -> None:
        """Change a leaf's hash in its tile."""
        index, at = divmod(leaf, TILE_WIDTH)
        self.tamper(
            "UPDATE strongroom.log_tiles SET hashes = overlay(hashes PLACING %s FROM %s)"
            " WHERE level = 0 AND tile_index = %s",
            new,
            HASH_SIZE * at + 1,
            index,
        )

    def gap(self) -> int:
        """A position below the newest that no event has."""
        [(position,)] = self.tamper(
            "SELECT g FROM generate_series(1, (SELECT max(position) FROM strongroom.log_leaves)) AS"
            " g WHERE g NOT IN (SELECT position FROM strongroom.audit_events) LIMIT 1"
        )
        return int(position)

    def span_of(self, leaf: int) -> int:
        """The first leaf that the checkpoint over this one signs and none before does."""
        return max((size for size in self.checkpoint_sizes() if size <= leaf), default=0)

    def size(self) -> int:
        [(size,)] = self.tamper("SELECT size FROM strongroom.log_tree")
        return int(size)

    def checkpoint_sizes(self) -> list[int]:
        rows = self.tamper("SELECT tree_size FROM strongroom.log_checkpoints ORDER BY 1")
        return [size for (size,) in rows]

    def rebuild(self, signer: Signer) -> None:
        """Make the tree again over the events as they are now, without a flaw, and sign
        every checkpoint again."""
        bodies = self.tamper(
            "SELECT e.body FROM strongroom.log_leaves AS l"
            " JOIN strongroom.audit_events AS e USING (position) ORDER BY l.leaf_index"
        )
        growth = TreeGrowth(0, {})
        growth.extend(leaf_hash(bytes(body)) for (body,) in bodies)
        tiles = growth.changed()
        self.tamper("DELETE FROM strongroom.log_tiles")
        for (level, index), hashes in tiles.items():
            self.tamper(
                "INSERT INTO strongroom.log_tiles VALUES (%s, %s, %s)", level, index, hashes
            )
        for size in self.checkpoint_sizes():
            root = tree_root(size, TileNodes(tiles).node)
            self.tamper(
                "UPDATE strongroom.log_checkpoints SET note = %s WHERE tree_size = %s",
                signer.note(Checkpoint(ORIGIN, size, root).text()),
                size,
            )

    def roll_back(self, to: "Copy") -> None:
        """Put every table of the log back to how it is in another copy, in place."""
        with (
            psycopg.connect(to.server.superuser_url) as source,
            psycopg.connect(self.server.superuser_url) as target,
        ):
            target.execute("SET session_replication_role = replica")
            for name in _TABLES:
                table = sql.Identifier("strongroom", name)
                target.execute(sql.SQL("DELETE FROM {}").format(table))
                read = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(table)
                write = sql.SQL("COPY {} FROM STDIN").format(table)
                with source.cursor().copy(read) as rows, target.cursor().copy(write) as put:
                    for row in rows:
                        put.write(row)

    def close(self) -> None:
        self.server.close()
        shutil.rmtree(self.server.directory)
