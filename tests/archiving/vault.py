"""A database with events of past months, and the command as its operator runs it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
from typer.testing import CliRunner, Result

from tests.conftest import DatabaseUrls
from tests.stored import event
from vault_service.cli.audit import app
from vault_service.domain.archives import Month
from vault_service.domain.events import AuditEvent, canonical_bytes, new_event_id
from vault_service.domain.notes import VerifierKey
from vault_service.verifier.bundles import BundleReport, verify_bundle
from vault_service.verifier.findings import Verdict

POLICIES: Final = Path(__file__).parents[2] / "policies"
THIS: Final = Month.of(datetime.now(UTC))
OLD, OLDER, OLDEST, KEPT = THIS.before(13), THIS.before(14), THIS.before(15), THIS.before(12)
Filled = dict[Month, list[AuditEvent]]
"""The events of each month."""
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
SEALERS_LOCK: Final = 0x5374726F6E67


class ArchivedVault:
    """One test's own."""

    def __init__(self, urls: DatabaseUrls, home: Path) -> None:
        self.urls = urls
        self.folder = home / "archive"
        self.environment = {
            "STRONGROOM_ENV": "test",
            "STRONGROOM_HOME": str(home),
            "STRONGROOM_DATABASE_URL": urls.superuser_url,
            "STRONGROOM_POLICY_DIR": str(POLICIES),
        }
        self.superuser = psycopg.connect(urls.superuser_url, autocommit=True)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, arguments, env=self.environment)

    def did(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def archive(self, *arguments: str) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = json.loads(
            self.did("archive", "-o", str(self.folder), "--json", *arguments)
        )
        return told

    def refused(self, code: int, *arguments: str) -> str:
        """What the command says, which ends with this exit code and changes no event."""
        before = self.query("SELECT tableoid::regclass::text, id FROM strongroom.audit_events")
        result = self.run("archive", "-o", str(self.folder), *arguments)
        assert result.exit_code == code, result.output
        after = self.query("SELECT tableoid::regclass::text, id FROM strongroom.audit_events")
        assert set(before) <= set(after)
        assert self.query("SELECT month FROM strongroom.log_archives") == []
        return result.stderr

    def query(self, statement: str, *parameters: Any) -> list[Any]:
        return self.superuser.execute(statement.encode(), parameters or None).fetchall()

    def put(self, at: datetime, tenant: str = "main") -> AuditEvent:
        """Put an event of the past in, with an id of its time."""
        number = int(at.timestamp() * 1000) << 82 | 7
        random = new_event_id()[15:]
        name = "".join(_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))
        made = event(tenant, id=f"evt_{name[:11]}{random}", occurred_at=at)
        self.superuser.execute(
            "INSERT INTO strongroom.audit_events (id, occurred_at, tenant, action, outcome,"
            " data_classes, terms, body) VALUES (%s, %s, %s, 'x', 'ok', '{}', '{}', %s)",
            [made.id, made.occurred_at, made.tenant, canonical_bytes(made)],
        )
        return made

    def file(self, month: Month) -> Path:
        return self.folder / f"audit-{month}.ndjson"

    def key(self) -> VerifierKey:
        return VerifierKey.parse(self.did("key").strip())

    def verified(self, path: Path, kept: str | None = None) -> BundleReport:
        with path.open("rb") as stream:
            report = verify_bundle(stream, self.key(), kept)
        assert report.verdict is Verdict.VERIFIED, report.findings
        return report

    def exported(self, kept: str | None = None) -> BundleReport:
        """The whole log, exported and verified."""
        path = self.folder.with_name("export.ndjson")
        self.did("export", "-o", str(path))
        return self.verified(path, kept)

    def at_hand(self) -> dict[str, int]:
        return dict(
            self.query(
                "SELECT to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM'), count(*)"
                " FROM strongroom.audit_events GROUP BY 1"
            )
        )
