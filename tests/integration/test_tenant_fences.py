"""Row-level security and grants: what the service's role can do, and cannot.

Beneath the conditions in its statements the database itself holds the service to one
tenant, and to appending where the audit log is concerned (PCI-DSS 7.2.5, 10.3.2).
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tests.conftest import DatabaseUrls
from tests.stored import event, events_of, make, put, tokens_of
from vault_service.adapters.postgres import schema
from vault_service.adapters.postgres.audit_reader import PostgresAuditReader
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.token_store import PostgresTokenStore
from vault_service.domain.ports import AuditQuery

FENCED = sorted(t.name for t in schema.metadata.tables.values() if "tenant" in t.columns)
Refused = psycopg.errors.InsufficientPrivilege


@pytest.fixture
def service(urls: DatabaseUrls) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the service's role, with no statement of ours in between."""
    with psycopg.connect(urls.app_url, autocommit=True) as connection:
        connection.execute("SET ROLE strongroom_service")
        yield connection


def as_tenant(connection: psycopg.Connection[Any], tenant: str) -> None:
    connection.execute("SELECT set_config('strongroom.tenant', %s, false)", [tenant])


async def test_a_store_never_shows_another_tenants(
    store: PostgresTokenStore,
    database: Database,
    tenant: str,
    superuser: psycopg.Connection[Any],
) -> None:
    other = f"{tenant}_other"
    batch = make(other, ["x"])
    assert batch.blind_indexes is not None
    await put(store, other, batch)
    assert not await store.fetch(tenant, batch.tokens)
    assert not await store.find(tenant, batch.blind_indexes)
    await store.delete(tenant, batch.tokens[0], event(tenant))
    assert tokens_of(superuser, other) == set(batch.tokens)
    reader = PostgresAuditReader(database)
    for query in (
        AuditQuery(tenant, 10, action="tokenize", token=batch.tokens[0]),
        AuditQuery(tenant, 10, token=batch.tokens[0]),
    ):
        assert not await reader.events(query)
    assert len(await reader.events(AuditQuery(other, 10, token=batch.tokens[0]))) == 1


@pytest.mark.parametrize("table", FENCED)
async def test_without_a_tenant_there_are_no_rows(
    store: PostgresTokenStore,
    tenant: str,
    service: psycopg.Connection[Any],
    superuser: psycopg.Connection[Any],
    table: str,
) -> None:
    await put(store, tenant, make(tenant, ["x"], links=[("x", "cus_1")]))
    rows = f"SELECT count(*) FROM strongroom.{table} WHERE tenant <> %s".encode()
    assert service.execute(rows, ["-"]).fetchone() == (0,)
    as_tenant(service, f"{tenant}_other")
    assert service.execute(rows, ["-"]).fetchone() == (0,)
    if table in ("tokens", "audit_events", "token_subjects"):
        as_tenant(service, tenant)
        assert service.execute(rows, ["-"]).fetchone() == (1,)
    # The owner of a table passes its fences unless they are forced.
    forced = superuser.execute(
        "SELECT relforcerowsecurity FROM pg_class WHERE oid = to_regclass(%s)",
        [f"strongroom.{table}"],
    ).fetchone()
    assert forced == (table != "audit_events",), "find_events reads that as its owner"


async def test_rows_of_another_tenant_are_not_written(
    tenant: str, service: psycopg.Connection[Any]
) -> None:
    as_tenant(service, tenant)
    insert = (
        "INSERT INTO strongroom.tokens (tenant, token, data_class, key_id, ciphertext, created_at)"
        " VALUES (%s, 'tok', 'pan', 1, '', now())"
    )
    with pytest.raises(Refused):
        service.execute(insert, [f"{tenant}_other"])
    with pytest.raises(Refused):
        service.execute(
            "INSERT INTO strongroom.audit_events (id, occurred_at, tenant, action, outcome,"
            " data_classes, terms, body) VALUES ('e', now(), %s, 'a', 'ok', '{}', '{}', '')",
            [f"{tenant}_other"],
        )
    service.execute(insert, [tenant])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE strongroom.tokens SET ciphertext = ''",
        "UPDATE strongroom.tokens SET tags = '{}'",
        "UPDATE strongroom.tokens SET tenant = 'other'",
        "UPDATE strongroom.tokens SET blind_index = NULL",
        "UPDATE strongroom.data_keys SET wrapped = ''",
        "DELETE FROM strongroom.data_keys",
        "UPDATE strongroom.audit_events SET body = ''",
        "DELETE FROM strongroom.audit_events",
        "TRUNCATE strongroom.audit_events",
        "TRUNCATE strongroom.tokens",
        "ALTER TABLE strongroom.tokens DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON strongroom.tokens",
        "CREATE TABLE strongroom.mine (x int)",
        "SET ROLE strongroom_owner",
    ],
)
async def test_what_the_service_may_not_do(
    service: psycopg.Connection[Any], tenant: str, statement: str
) -> None:
    as_tenant(service, tenant)
    with pytest.raises(Refused):
        service.execute(statement.encode())


def test_the_service_may_read_and_append_events_and_nothing_else(
    superuser: psycopg.Connection[Any],
) -> None:
    """By grant, and not only by the trigger that refuses the rest."""
    rights = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
    granted = {
        right
        for right in rights
        if superuser.execute(
            "SELECT has_table_privilege('strongroom_service', 'strongroom.audit_events', %s)",
            [right],
        ).fetchone()
        == (True,)
    }
    assert granted == {"SELECT"}
    columns = superuser.execute(
        "SELECT array_agg(attname::text) FROM pg_attribute WHERE attnum > 0"
        " AND attrelid = 'strongroom.audit_events'::regclass"
        " AND NOT has_column_privilege('strongroom_service', attrelid, attnum, 'INSERT')"
    ).fetchone()
    assert columns == (["position"],)


@pytest.mark.parametrize("value", ["7", "nextval('strongroom.audit_positions')"])
def test_the_service_chooses_no_position(
    service: psycopg.Connection[Any], tenant: str, value: str
) -> None:
    as_tenant(service, tenant)
    with pytest.raises(Refused):
        service.execute(
            "INSERT INTO strongroom.audit_events (position, id, occurred_at, tenant, action,"
            f" outcome, data_classes, terms, body) VALUES ({value}, 'e', now(), %s, 'a', 'ok',"
            " '{}', '{}', '')".encode(),
            [tenant],
        )
    with pytest.raises(Refused):
        service.execute("SELECT setval('strongroom.audit_positions', 7)")


PARTITIONS = ("audit_events_default", f"audit_events_{datetime.now(UTC):%Y_%m}")


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("role", ["service", "sealer", "auditor"])
async def test_partitions_are_reached_through_their_table_alone(
    store: PostgresTokenStore,
    superuser: psycopg.Connection[Any],
    tenant: str,
    role: str,
    partition: str,
) -> None:
    await store.append(event(tenant))
    await store.append(event(tenant, occurred_at=datetime.now(UTC)))
    superuser.execute(f"SET ROLE strongroom_{role}".encode())
    as_tenant(superuser, tenant)
    for statement in (
        "SELECT body FROM strongroom.{}",
        "INSERT INTO strongroom.{} SELECT * FROM strongroom.audit_events",
        "UPDATE strongroom.{} SET body = ''",
        "DELETE FROM strongroom.{}",
        "TRUNCATE strongroom.{}",
        "ALTER TABLE strongroom.audit_events DETACH PARTITION strongroom.{}",
        "DROP TABLE strongroom.{}",
    ):
        with pytest.raises(Refused):
            superuser.execute(statement.format(partition).encode())
    superuser.execute("RESET ROLE")
    superuser.execute(f"GRANT SELECT ON strongroom.{partition} TO strongroom_{role}".encode())
    superuser.execute(f"SET ROLE strongroom_{role}".encode())
    rows = superuser.execute(f"SELECT count(*) FROM strongroom.{partition}".encode()).fetchone()
    assert rows == (0,), "row-level security holds there too"
    superuser.execute("RESET ROLE")
    superuser.execute(f"REVOKE SELECT ON strongroom.{partition} FROM strongroom_{role}".encode())


@pytest.mark.parametrize("role", ["service", "auditor"])
def test_partitions_are_the_sealers_and_the_owners_to_make(
    superuser: psycopg.Connection[Any], role: str
) -> None:
    superuser.execute(f"SET ROLE strongroom_{role}".encode())
    with pytest.raises(Refused):
        superuser.execute("SELECT strongroom.ensure_audit_partitions()")
    superuser.execute("RESET ROLE; SET ROLE strongroom_sealer")
    superuser.execute("SELECT strongroom.ensure_audit_partitions()")
    with pytest.raises(Refused):
        superuser.execute("SELECT strongroom.add_audit_partition('2020-01-01')")


@pytest.mark.parametrize("statement", ["UPDATE {} SET body = ''", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("table", ["audit_events", *PARTITIONS])
@pytest.mark.parametrize("role", ["strongroom_owner", None])
async def test_not_even_its_owner_changes_the_log_by_accident(
    store: PostgresTokenStore,
    tenant: str,
    superuser: psycopg.Connection[Any],
    role: str | None,
    table: str,
    statement: str,
) -> None:
    await store.append(event(tenant))
    await store.append(event(tenant, occurred_at=datetime.now(UTC)))
    if role is not None:
        superuser.execute(f"SET ROLE {role}".encode())
    with pytest.raises(Refused):
        superuser.execute(statement.format(f"strongroom.{table}").encode())
    superuser.execute("RESET ROLE")
    assert len(events_of(superuser, tenant)) == 2
