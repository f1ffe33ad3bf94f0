"""The settings of ``strongroom audit``, events beneath it, and what it says and leaves."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from typer.testing import Result

from tests.conftest import DatabaseUrls
from tests.stored import event, put_directly
from vault_service.domain.events import AuditEvent

ROOT = Path(__file__).parents[2]
Run = Callable[..., Result]


def settings(home: Path, url: str) -> dict[str, str]:
    return {
        "STRONGROOM_ENV": "test",
        "STRONGROOM_HOME": str(home),
        "STRONGROOM_DATABASE_URL": url,
        "STRONGROOM_POLICY_DIR": str(ROOT / "policies"),
    }


def put(urls: DatabaseUrls, *events: AuditEvent) -> None:
    put_directly(urls.superuser_url, events)


def recorded(urls: DatabaseUrls, after: int = 0) -> list[dict[str, Any]]:
    """Events of the commands, oldest first."""
    with psycopg.connect(urls.superuser_url) as connection:
        rows = connection.execute(
            "SELECT body FROM strongroom.audit_events WHERE action = 'read_audit' ORDER BY position"
        ).fetchall()
    return [json.loads(bytes(body)) for (body,) in rows][after:]


def verify(run: Run, bundle: Path, key: Path, *options: str | Path) -> dict[str, Any]:
    """The verifier's report; that it verified is asserted."""
    result = run("verify", bundle, "--key", key, "--json", *options)
    assert result.exit_code == 0, result.stdout
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def now_events(count: int, tenant: str = "main", **fields: Any) -> list[AuditEvent]:
    return [event(tenant, occurred_at=datetime.now(UTC), **fields) for _ in range(count)]
