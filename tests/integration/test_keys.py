"""Data keys in PostgreSQL: what a superuser's hand cannot make the vault do, and how
keys, their events and their counts stay together."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, LiteralString

import psycopg
import pytest
from typer.testing import CliRunner

from tests.conftest import DatabaseUrls
from tests.stored import key_event
from vault_service.adapters.kms.local import UnsafeLocalRootKey
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.keys import PostgresKeyStore
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.cli.keys import app, as_table, described, find_keys, rotate_keys
from vault_service.domain.catalog import Catalog, DataClass, Domain, TokenFormat
from vault_service.domain.errors import Code, DamagedKey, IntegrityFailure, VaultError
from vault_service.domain.ports import KeyPurpose
from vault_service.services.keys import Keyring

NONCE = bytes(12)
PAN, IBAN, EMAIL = (
    DataClass(name, frozenset({tag}), "text", True, TokenFormat.OPAQUE, ("masked",), "all")
    for name, tag in (("pan", "pci"), ("iban", "pci"), ("email", "pii"))
)
CATALOG = Catalog({kind.name: kind for kind in (PAN, IBAN, EMAIL)})


@dataclass
class Vault:
    """One database with one root key; each keyring is as good as another process."""

    urls: DatabaseUrls
    database: Database
    root: UnsafeLocalRootKey

    def keyring(self) -> Keyring:
        return Keyring(
            PostgresKeyStore(self.database),
            dict.fromkeys(Domain, self.root),
            environment="test",
            clock=lambda: datetime.now(UTC),
            monotonic=time.monotonic,
            record=key_event,
        )

    def as_superuser(
        self, statement: LiteralString, parameters: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run a statement past every fence; its rows, if it has any."""
        with psycopg.connect(self.urls.superuser_url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def root(tmp_path: Path) -> Iterator[UnsafeLocalRootKey]:
    key = UnsafeLocalRootKey(tmp_path / "root.key")
    yield key
    key.close()


@pytest.fixture
async def vault(empty_database: DatabaseUrls, root: UnsafeLocalRootKey) -> AsyncIterator[Vault]:
    await asyncio.to_thread(upgrade, empty_database.migrator_url)
    database = Database(empty_database.app_url)
    await database.open()
    yield Vault(empty_database, database, root)
    await database.close()


SWAP: LiteralString = """
    UPDATE strongroom.data_keys AS k SET wrapped = other.wrapped
    FROM strongroom.data_keys AS other
    WHERE k.id IN (%(one)s, %(two)s) AND other.id IN (%(one)s, %(two)s) AND k.id <> other.id
"""


async def test_swapped_wrapped_keys_read_nothing(vault: Vault) -> None:
    """PCI-DSS 3.7.7: a wrapped key belongs to its row."""
    keyring = vault.keyring()
    places = [("main", PAN), ("main", IBAN), ("other", PAN)]
    ciphers = [await keyring.encrypting(tenant, kind, 1) for tenant, kind in places]
    newer = await keyring.rotate("main", PAN)
    places.append(("main", PAN))
    ids = [cipher.key_id for cipher in ciphers] + [newer.id]
    for at in range(1, len(ids)):
        pair = {"one": ids[0], "two": ids[at]}
        vault.as_superuser(SWAP, pair)
        for (tenant, kind), key_id in ((places[0], ids[0]), (places[at], ids[at])):
            with pytest.raises(DamagedKey) as caught:
                await vault.keyring().decrypting(tenant, kind, key_id)
            assert caught.value.code is Code.KEY_UNAVAILABLE
        vault.as_superuser(SWAP, pair)
        assert (await vault.keyring().decrypting(*places[at], ids[at])).key_id == ids[at]


async def test_edited_rows_read_nothing(vault: Vault) -> None:
    key_id = (await vault.keyring().encrypting("main", PAN, 1)).key_id
    (original,) = vault.as_superuser(
        "SELECT tenant, data_class, purpose, state, wrapped FROM strongroom.data_keys"
    )
    restore = dict(
        zip(("tenant", "data_class", "purpose", "state", "wrapped"), original, strict=True)
    )
    edits: list[tuple[LiteralString, str, DataClass]] = [
        ("tenant = 'other'", "other", PAN),
        ("data_class = 'iban'", "main", IBAN),
        ("purpose = 'blind_index'", "main", PAN),
        ("purpose = 'nonsense'", "main", PAN),
        ("state = 'nonsense'", "main", PAN),
        ("wrapped = substring(wrapped for 100)", "main", PAN),
        ("wrapped = ''", "main", PAN),
    ]
    for edit, tenant, kind in edits:
        vault.as_superuser(f"UPDATE strongroom.data_keys SET {edit}")
        with pytest.raises(IntegrityFailure):
            await vault.keyring().decrypting(tenant, kind, key_id)
        vault.as_superuser(
            "UPDATE strongroom.data_keys SET tenant = %(tenant)s, data_class = %(data_class)s,"
            " purpose = %(purpose)s, state = %(state)s, wrapped = %(wrapped)s",
            restore,
        )
    assert (await vault.keyring().decrypting("main", PAN, key_id)).key_id == key_id


async def test_a_blind_index_key_cannot_be_swapped_in(vault: Vault) -> None:
    keyring = vault.keyring()
    pan, iban = await keyring.index_key("main", PAN), await keyring.index_key("main", IBAN)
    vault.as_superuser(SWAP, {"one": pan.id, "two": iban.id})
    with pytest.raises(DamagedKey):
        await vault.keyring().index_key("main", PAN)


async def test_a_key_and_its_event_are_stored_together(vault: Vault) -> None:
    """PCI-DSS 10.2.1: no key without its event."""
    keyring = vault.keyring()
    first = await keyring.encrypting("main", PAN, 1)
    await keyring.rotate("main", PAN, principal="operator:ann")
    events = vault.as_superuser(
        "SELECT tenant, principal, action, data_classes FROM strongroom.audit_events ORDER BY id"
    )
    assert sorted(events) == [
        ("main", "operator:ann", "rotate_data_key", ["pan"]),
        ("main", "system", "create_data_key", ["pan"]),
    ]
    vault.as_superuser("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no room'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON strongroom.audit_events
        FOR EACH ROW EXECUTE FUNCTION refuse();
    """)
    for call in (keyring.rotate("main", PAN), keyring.encrypting("main", EMAIL, 1)):
        with pytest.raises(VaultError) as caught:
            await call
        assert caught.value.code is Code.AUDIT_UNAVAILABLE
    keys = vault.as_superuser("SELECT epoch, state FROM strongroom.data_keys ORDER BY epoch")
    assert keys == [(1, "retired"), (2, "active")]
    assert (await keyring.decrypting("main", PAN, first.key_id)) is first


async def test_processes_that_race_make_one_key_and_one_event(vault: Vault) -> None:
    keyrings = [vault.keyring() for _ in range(6)]
    ciphers = await asyncio.gather(*(k.encrypting("main", PAN, 1000) for k in keyrings))
    assert len({cipher.key_id for cipher in ciphers}) == 1
    rotated = await asyncio.gather(*(k.rotate("main", PAN) for k in keyrings))
    rows = vault.as_superuser("SELECT id, state FROM strongroom.data_keys ORDER BY epoch")
    assert [state for _, state in rows[:-1]] == ["retired"] * (len(rows) - 1)
    assert rows[-1][1] == "active"
    assert {key.id for key in rotated} <= {key_id for key_id, _ in rows}
    assert vault.as_superuser("SELECT count(*) FROM strongroom.audit_events") == [(len(rows),)]
    assert vault.as_superuser("SELECT uses FROM strongroom.data_keys WHERE epoch = 1") == [
        (6 * 2**16,)
    ]


async def test_no_plaintext_key_is_in_the_database(vault: Vault) -> None:
    class Recording(UnsafeLocalRootKey):
        secrets: list[bytes]

        async def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
            self.secrets.append(secret)
            return await super().wrap(secret, context)

    vault.root.__class__ = Recording
    secrets = vault.root.secrets = []  # type: ignore[attr-defined]
    keyring = vault.keyring()
    await keyring.encrypting("main", PAN, 1)
    await keyring.index_key("main", PAN)
    await keyring.idempotency_key("main")
    stored = b"".join(
        bytes(wrapped)
        for (wrapped,) in vault.as_superuser("SELECT wrapped FROM strongroom.data_keys")
    )
    assert len(secrets) == 3
    assert not [secret for secret in secrets if secret in stored]


async def test_listing_and_rotating_at_the_command_line(vault: Vault) -> None:
    keyring = vault.keyring()
    services: Any = SimpleNamespace(
        keyring=keyring, catalog=CATALOG, tenants=frozenset({"main", "other"})
    )
    old = await keyring.encrypting("main", PAN, 1)
    sealed = old.encrypt("4111111111111111", "tok", (), NONCE)
    await keyring.encrypting("main", EMAIL, 1)
    await keyring.index_key("main", PAN)
    done = await rotate_keys(services, None, (), KeyPurpose.RECORD)
    assert [(d["tenant"], d["data_class"], d["new"]["epoch"]) for d in done] == [
        ("main", "email", 2),
        ("main", "pan", 2),
    ]
    new = await keyring.encrypting("main", PAN, 1)
    assert new.key_id == done[1]["new"]["id"] != done[1]["old"]["id"] == old.key_id
    reader = await vault.keyring().decrypting("main", PAN, old.key_id)
    assert reader.decrypt(sealed, "tok", ()) == "4111111111111111"
    (only,) = await rotate_keys(services, "other", ["pan"], KeyPurpose.RECORD)
    assert only["old"] is None
    assert only["new"]["epoch"] == 1
    rows = [described(key) for key in await find_keys(services, None)]
    assert len(rows) == 6
    assert all("wrapped" not in row for row in rows)
    assert as_table(rows).count("\n") == 6
    for tenant, names in (("nobody", ["pan"]), ("main", ["no_such_class"])):
        with pytest.raises(VaultError):
            await rotate_keys(services, tenant, names, KeyPurpose.RECORD)
    with pytest.raises(VaultError):
        await rotate_keys(services, "main", ["pan"], KeyPurpose.BLIND_INDEX)


def test_the_commands_print_tables_and_json(
    empty_database: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(empty_database.migrator_url)
    monkeypatch.setenv("STRONGROOM_HOME", str(tmp_path))
    monkeypatch.setenv("STRONGROOM_ENV", "test")
    monkeypatch.setenv("STRONGROOM_DATABASE_URL", empty_database.app_url)
    run = CliRunner()
    empty = run.invoke(app, ["rotate"])
    assert (empty.exit_code, empty.stdout.count("\n")) == (0, 1)
    first = run.invoke(app, ["rotate", "--tenant", "main", "--data-class", "pan"])
    assert first.exit_code == 0
    assert "main pan: no key -> epoch 1" in first.stdout
    again = run.invoke(app, ["rotate", "--json"])
    (change,) = json.loads(again.stdout)
    assert (change["old"]["epoch"], change["new"]["epoch"]) == (1, 2)
    listed = json.loads(run.invoke(app, ["list", "--json"]).stdout)
    assert [(key["epoch"], key["state"]) for key in listed] == [(1, "retired"), (2, "active")]
    table = run.invoke(app, ["list", "--tenant", "main"]).stdout
    assert table.splitlines()[0].split()[:3] == ["id", "tenant", "data_class"]
    for refused in (
        ["rotate", "--purpose", "blind_index", "--data-class", "pan"],
        ["rotate", "--data-class", "no_such_class"],
        ["list", "--tenant", "nobody"],
    ):
        result = run.invoke(app, refused)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr
