"""A migrated database for each module that asks, and the store and tenant of one test."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import DatabaseUrls
from tests.sealed import SealedDatabase
from tests.stored import Counted
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.embedded.state import APP, MIGRATOR, SUPERUSER
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.adapters.postgres.token_store import PostgresTokenStore


@pytest.fixture(scope="module")
def urls(postgres: EmbeddedPostgres) -> Iterator[DatabaseUrls]:
    name = f"shared_{uuid.uuid4().hex}"
    found = postgres.create_database(name)
    upgrade(found[MIGRATOR])
    yield DatabaseUrls(name, found[APP], found[MIGRATOR], found[SUPERUSER])
    postgres.drop_database(name)


@pytest.fixture
async def database(urls: DatabaseUrls) -> AsyncIterator[Database]:
    opened = Database(urls.app_url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
async def store(database: Database, counted: Counted) -> AsyncIterator[PostgresTokenStore]:
    opened = PostgresTokenStore(database, counted)
    yield opened
    await opened.settle()


@pytest.fixture
def tenant() -> str:
    """A tenant of the test's own."""
    return f"tenant_{uuid.uuid4().hex}"


@pytest.fixture
def superuser(urls: DatabaseUrls) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(urls.superuser_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def migrated_database(empty_database: DatabaseUrls) -> DatabaseUrls:
    """A database with the schema, for this test alone."""
    upgrade(empty_database.migrator_url)
    return empty_database


@pytest.fixture
async def sealed(empty_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[SealedDatabase]:
    """A log without leaves."""
    await asyncio.to_thread(upgrade, empty_database.migrator_url)
    database = Database(empty_database.app_url)
    await database.open()
    yield SealedDatabase(empty_database, database, tmp_path)
    await database.close()
