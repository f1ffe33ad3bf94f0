"""A database with months past their retention."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.archiving.vault import KEPT, OLD, OLDER, OLDEST, ArchivedVault, Filled
from tests.conftest import DatabaseUrls
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.domain.archives import Month
from vault_service.domain.events import AuditEvent


@pytest.fixture
def vault(empty_database: DatabaseUrls, tmp_path: Path) -> Iterator[ArchivedVault]:
    upgrade(empty_database.migrator_url)
    made = ArchivedVault(empty_database, tmp_path)
    with made.superuser:
        for month in (OLDEST, OLDER, KEPT):  # OLD lies in the default partition
            made.query("SELECT strongroom.add_audit_partition(%s)::text", month.first)
        yield made


@pytest.fixture
def filled(vault: ArchivedVault) -> Filled:
    """Events of each month, of two tenants; at the borders the order of times and leaves
    differs."""
    tick = timedelta(microseconds=1)
    made: dict[Month, list[AuditEvent]] = {OLDEST: [], OLDER: [], OLD: [], KEPT: []}
    for month in made:
        for day in range(20):
            tenant = "other" if day % 3 == 0 else "main"
            made[month].append(vault.put(month.start + timedelta(days=day), tenant))
        made[month].append(vault.put(month.end - tick))
        if month > OLDEST:
            made[month.before(1)].append(vault.put(month.start - 2 * tick))
    vault.did("checkpoint")
    return made
