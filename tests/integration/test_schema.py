"""The schema: tables as declared, migrations that may be repeated, partitions by month."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.conftest import DatabaseUrls
from vault_service.adapters.postgres import report_tables, schema
from vault_service.adapters.postgres.access import driver_url
from vault_service.adapters.postgres.migrate import (
    current_revision,
    head_revision,
    upgrade,
)


def _relevant(name: str | None, kind: str, parents: object) -> bool:
    if kind == "table":
        return name is not None and not _is_partition(name)
    return kind != "schema" or name == schema.SCHEMA


def _is_partition(name: str) -> bool:
    return name.startswith("audit_events_")


def test_migrations_build_what_the_tables_declare(empty_database: DatabaseUrls) -> None:
    upgrade(empty_database.migrator_url)
    engine = sa.create_engine(driver_url(empty_database.superuser_url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table_schema": schema.SCHEMA,
                "include_schemas": True,
                "include_name": _relevant,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, report_tables.report_runs.metadata) == []
        inspector = sa.inspect(connection)
        built = set(inspector.get_table_names(schema.SCHEMA)) - {"alembic_version"}
        built = {name for name in built if not _is_partition(name)}
        assert built == {table.name for table in schema.metadata.tables.values()}
        for table in schema.metadata.tables.values():
            key = inspector.get_pk_constraint(table.name, schema.SCHEMA)["constrained_columns"]
            assert key == [column.name for column in table.primary_key.columns]
            collations = connection.execute(
                sa.text(
                    "SELECT DISTINCT c.collname FROM pg_attribute a"
                    " JOIN pg_collation c ON c.oid = a.attcollation"
                    " WHERE a.attrelid = to_regclass(:name) AND a.attnum > 0"
                ),
                {"name": f"{schema.SCHEMA}.{table.name}"},
            )
            assert set(collations.scalars()) <= {"C"}, table.name
    engine.dispose()


def test_a_second_upgrade_changes_nothing(empty_database: DatabaseUrls) -> None:
    assert current_revision(empty_database.migrator_url) is None
    assert upgrade(empty_database.migrator_url) == (None, head_revision())
    assert upgrade(empty_database.migrator_url) == (head_revision(), head_revision())
    assert current_revision(empty_database.migrator_url) == head_revision()


def test_upgrades_at_the_same_time_wait_for_each_other(empty_database: DatabaseUrls) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(upgrade, [empty_database.migrator_url] * 4))
    assert sorted(found, key=lambda pair: pair[0] or "") == [
        (None, head_revision()),
        *[(head_revision(), head_revision())] * 3,
    ]


def test_a_failed_upgrade_leaves_nothing(empty_database: DatabaseUrls) -> None:
    with psycopg.connect(empty_database.superuser_url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF tg_tag = 'CREATE POLICY' THEN RAISE EXCEPTION 'no'; END IF; END $$"
        )
        connection.execute(
            "CREATE EVENT TRIGGER refuse ON ddl_command_end EXECUTE FUNCTION refuse()"
        )
        with pytest.raises(sa.exc.DBAPIError):
            upgrade(empty_database.migrator_url)
        assert current_revision(empty_database.migrator_url) is None
        connection.execute("DROP EVENT TRIGGER refuse")
    assert upgrade(empty_database.migrator_url) == (None, head_revision())


def test_every_table_of_tenants_is_fenced(empty_database: DatabaseUrls) -> None:
    upgrade(empty_database.migrator_url)
    with psycopg.connect(empty_database.superuser_url) as connection:
        fenced = {
            name
            for (name,) in connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'strongroom'::regnamespace"
                " AND relkind IN ('r', 'p') AND relrowsecurity"
            )
        }
        parts = set(partitions(connection))
    with_tenant = {t.name for t in schema.metadata.tables.values() if "tenant" in t.columns}
    assert len(parts) == 5  # this month's, the next three, and the default one
    assert fenced == with_tenant | parts


def partitions(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """The audit log's partitions, and what each is for."""
    connection.execute("SET timezone TO 'UTC'")
    rows = connection.execute(
        "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid IN"
        " (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'strongroom.audit_events'::regclass)"
    )
    return dict(rows.fetchall())


def month(ahead: int) -> datetime:
    """The first moment of a month (UTC), counted from this one."""
    years, index = divmod(datetime.now(UTC).month - 1 + ahead, 12)
    return datetime(datetime.now(UTC).year + years, index + 1, 1, tzinfo=UTC)


def _name(ahead: int) -> str:
    return f"audit_events_{month(ahead):%Y_%m}"


@pytest.fixture
def owner(empty_database: DatabaseUrls) -> Iterator[psycopg.Connection[Any]]:
    """A migrated database, as the owner of its tables, in a time zone far from UTC."""
    upgrade(empty_database.migrator_url)
    with psycopg.connect(empty_database.migrator_url, autocommit=True) as connection:
        connection.execute("SET ROLE strongroom_owner; SET timezone TO 'Pacific/Kiritimati'")
        yield connection


def insert(connection: psycopg.Connection[Any], at: datetime) -> str:
    """Put an event in; the table that it got into."""
    row = connection.execute(
        "INSERT INTO strongroom.audit_events (id, occurred_at, tenant, action, outcome,"
        " data_classes, terms, body) VALUES (gen_random_uuid()::text, %s, 'main', 'x', 'ok',"
        " '{}', '{}', '') RETURNING tableoid::regclass::text",
        [at],
    ).fetchone()
    assert row is not None
    return str(row[0])


def test_events_are_kept_by_month(owner: psycopg.Connection[Any]) -> None:
    """PCI-DSS 10.5.1: whole months (UTC), whatever the time zone of whoever makes them."""
    for n in range(4):
        owner.execute(f"DROP TABLE strongroom.{_name(n)}".encode())
    owner.execute("SELECT strongroom.ensure_audit_partitions()")
    assert partitions(owner) == {"audit_events_default": "DEFAULT"} | {
        _name(n): f"FOR VALUES FROM ('{month(n):%Y-%m-%d} 00:00:00+00')"
        f" TO ('{month(n + 1):%Y-%m-%d} 00:00:00+00')"
        for n in range(4)
    }
    tick = timedelta(microseconds=1)
    for n in range(1, 4):
        assert insert(owner, month(n) - tick) == f"strongroom.{_name(n - 1)}"
        assert insert(owner, month(n)) == f"strongroom.{_name(n)}"
    assert insert(owner, month(0) - tick) == "strongroom.audit_events_default"
    assert insert(owner, month(4)) == "strongroom.audit_events_default"


def test_partitions_are_stored_and_indexed_as_declared(owner: psycopg.Connection[Any]) -> None:
    for name in partitions(owner):
        stored = owner.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s)"
            " AND attstorage = 'e' ORDER BY 1",
            [f"strongroom.{name}"],
        ).fetchall()
        assert stored == [("body",), ("terms",)]
        indexes = owner.execute(
            "SELECT amname, reloptions FROM pg_index JOIN pg_class c ON c.oid = indexrelid"
            " JOIN pg_am a ON a.oid = relam WHERE indrelid = to_regclass(%s) ORDER BY 1, 2",
            [f"strongroom.{name}"],
        ).fetchall()
        assert indexes == [("btree", None)] * 3


def test_partitions_are_made_once(owner: psycopg.Connection[Any]) -> None:
    for n in (1, 3):
        owner.execute(f"DROP TABLE strongroom.{_name(n)}".encode())
    assert len(partitions(owner)) == 3
    for _ in range(2):
        owner.execute("SELECT strongroom.ensure_audit_partitions()")
        assert set(partitions(owner)) == {"audit_events_default", *map(_name, range(4))}


def test_partitions_are_made_by_many_at_once(
    owner: psycopg.Connection[Any], empty_database: DatabaseUrls
) -> None:
    def ensure(_: int) -> None:
        with psycopg.connect(empty_database.app_url) as connection:
            connection.execute("SET ROLE strongroom_sealer")
            connection.execute("SELECT strongroom.ensure_audit_partitions()")

    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            owner.execute(f"DROP TABLE strongroom.{_name(2)}, strongroom.{_name(3)}".encode())
            list(threads.map(ensure, range(8)))
            assert set(partitions(owner)) == {"audit_events_default", *map(_name, range(4))}


def test_a_month_that_began_without_a_partition(owner: psycopg.Connection[Any]) -> None:
    """Its events stay in the default one; the other months get theirs."""
    owner.execute(f"DROP TABLE strongroom.{_name(0)}, strongroom.{_name(1)}".encode())
    assert insert(owner, month(0)) == "strongroom.audit_events_default"
    owner.execute("SELECT strongroom.ensure_audit_partitions()")
    assert set(partitions(owner)) == {"audit_events_default", *map(_name, range(1, 4))}
    assert insert(owner, month(0)) == "strongroom.audit_events_default"
    assert insert(owner, month(1)) == f"strongroom.{_name(1)}"


def test_partitions_are_not_waited_for(
    owner: psycopg.Connection[Any], empty_database: DatabaseUrls
) -> None:
    """Somebody reads the whole log for long: nobody is held up, and a later call makes them."""
    owner.execute(f"DROP TABLE strongroom.{_name(3)}".encode())
    with psycopg.connect(empty_database.app_url) as reader:
        reader.execute("SET ROLE strongroom_auditor")
        reader.execute("SELECT count(*) FROM strongroom.audit_events")
        owner.execute("SELECT strongroom.ensure_audit_partitions()")
        assert _name(3) not in partitions(owner)
        assert insert(owner, month(0)) == f"strongroom.{_name(0)}"
    owner.execute("SELECT strongroom.ensure_audit_partitions()")
    assert _name(3) in partitions(owner)


def test_an_upgrade_makes_partitions_that_are_missing(
    owner: psycopg.Connection[Any], empty_database: DatabaseUrls
) -> None:
    owner.execute(f"DROP TABLE strongroom.{_name(0)}, strongroom.{_name(3)}".encode())
    assert upgrade(empty_database.migrator_url) == (head_revision(), head_revision())
    assert set(partitions(owner)) == {"audit_events_default", *map(_name, range(4))}
