"""``strongroom principal`` on a real database, as an operator would use it."""

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from vault_service.adapters.postgres.access import driver_url
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.embedded.state import APP, MIGRATOR, SUPERUSER
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.cli.principals import app
from vault_service.domain.credentials import api_key_id, hash_api_key

POLICIES = Path(__file__).parents[2] / "policies"
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def urls(postgres: EmbeddedPostgres) -> Iterator[dict[str, str]]:
    urls = postgres.create_database("principal_commands")
    upgrade(urls[MIGRATOR])
    yield dict(urls)
    postgres.drop_database("principal_commands")


@pytest.fixture
def run(urls: dict[str, str], tmp_path: Path) -> Run:
    environment = {
        "STRONGROOM_ENV": "test",
        "STRONGROOM_HOME": str(tmp_path),
        "STRONGROOM_DATABASE_URL": urls[APP],
        "STRONGROOM_POLICY_DIR": str(POLICIES),
        # What the environment says about who operates is not believed.
        "USER": "somebody-else",
        "SUDO_USER": "somebody-else",
        "LOGNAME": "somebody-else",
    }
    return lambda *arguments: CliRunner().invoke(app, arguments, env=environment)


def rows(urls: dict[str, str], query: str, **parameters: Any) -> list[Any]:
    engine = sa.create_engine(driver_url(urls[SUPERUSER]), poolclass=sa.NullPool)
    with engine.connect() as connection:
        return list(connection.execute(sa.text(query), parameters))


def last_event(urls: dict[str, str], action: str) -> dict[str, Any]:
    query = (
        "SELECT body FROM strongroom.audit_events WHERE action = :action"
        " ORDER BY occurred_at DESC LIMIT 1"
    )
    [(body,)] = rows(urls, query, action=action)
    return dict(json.loads(bytes(body)))


def keys_of(run: Run, name: str) -> dict[str, Any]:
    [principal] = json.loads(run("list", name, "--json").stdout)
    return {key["id"]: key for key in principal["keys"]}


def test_issue_key_prints_the_key_alone(run: Run, urls: dict[str, str]) -> None:
    result = run("issue-key", "checkout")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    key = result.stdout.strip()
    key_id = api_key_id(key)
    assert key_id is not None
    assert key not in result.stderr
    [(stored, created, expires)] = rows(
        urls,
        "SELECT key_hash, created_at, expires_at FROM strongroom.api_keys WHERE id = :id",
        id=key_id,
    )
    assert bytes(stored) == hash_api_key(key)  # PCI-DSS 8.3.2
    assert expires - created == timedelta(days=90)
    event = last_event(urls, "issue_api_key")
    me = pwd.getpwuid(os.getuid()).pw_name
    assert (event["principal"], event["tenant"]) == (f"operator:{me}", "main")
    assert event["detail"]["key"] == key_id
    assert event["detail"]["principal"] == "checkout"
    assert key[17:] not in json.dumps(event)


def test_issue_key_as_json(run: Run) -> None:
    result = run("issue-key", "crm", "--days", "7", "--json")
    answer = json.loads(result.stdout)
    assert answer["id"] == api_key_id(answer["key"])
    life = datetime.fromisoformat(answer["expires_at"]) - datetime.fromisoformat(
        answer["created_at"]
    )
    assert life == timedelta(days=7)


@pytest.mark.parametrize(
    "arguments",
    [
        ("issue-key", "nobody"),
        ("issue-key", "checkout", "--days", "91"),
        ("issue-key", "checkout", "--days", "0"),
        ("issue-key",),
        ("rotate-key", "nobody"),
        ("rotate-key", "checkout", "--overlap-hours", "-1"),
        ("rotate-key", "checkout", "--overlap-hours", "100000"),
        ("revoke-key", "000000000000"),
        ("list", "nobody"),
    ],
)
def test_refusals_end_with_two_and_print_nothing_on_stdout(
    run: Run, urls: dict[str, str], arguments: tuple[str, ...]
) -> None:
    count = "SELECT count(*) FROM strongroom.api_keys"
    before = rows(urls, count)
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr
    assert rows(urls, count) == before


def test_revoke_key(run: Run, urls: dict[str, str]) -> None:
    key_id = api_key_id(run("issue-key", "crm").stdout.strip())
    assert key_id is not None
    assert run("revoke-key", key_id).exit_code == 0
    assert keys_of(run, "crm")[key_id]["state"] == "revoked"
    assert last_event(urls, "revoke_api_key")["detail"]["key"] == key_id
    events = "SELECT count(*) FROM strongroom.audit_events WHERE action = 'revoke_key'"
    before = rows(urls, events)
    assert run("revoke-key", key_id).exit_code == 0
    assert rows(urls, events) == before


def test_rotate_key_lets_the_old_one_live_for_the_overlap(run: Run, urls: dict[str, str]) -> None:
    old = api_key_id(run("issue-key", "auditor").stdout.strip())
    result = run("rotate-key", "auditor", "--overlap-hours", "6")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    new = api_key_id(result.stdout.strip())
    assert old is not None
    assert new is not None
    assert old in result.stderr
    keys = keys_of(run, "auditor")
    ends = datetime.fromisoformat(keys[old]["expires_at"])
    assert ends - datetime.fromisoformat(keys[new]["created_at"]) == timedelta(hours=6)
    assert {keys[old]["state"], keys[new]["state"]} == {"active"}
    assert last_event(urls, "rotate_api_key")["detail"]["old_keys"] == [old]
    # A second rotation never gives a key more time than the first left it.
    run("rotate-key", "auditor")
    assert keys_of(run, "auditor")[old]["expires_at"] == keys[old]["expires_at"]


def test_rotate_key_without_overlap_ends_the_old_key_at_once(run: Run) -> None:
    old = api_key_id(run("issue-key", "payout-service").stdout.strip())
    assert run("rotate-key", "payout-service", "--overlap-hours", "0").exit_code == 0
    assert keys_of(run, "payout-service")[old or ""]["state"] == "expired"


def test_list_tells_everything_but_the_keys(run: Run, urls: dict[str, str]) -> None:
    secret = run("issue-key", "other-merchant").stdout.strip()
    for result in (run("list"), run("list", "--json")):
        assert result.exit_code == 0
        assert secret[4:16] in result.stdout
        assert secret[17:] not in result.stdout
        assert hash_api_key(secret).hex() not in result.stdout
        assert result.stderr == ""
    listed = {
        principal["name"]: principal for principal in json.loads(run("list", "--json").stdout)
    }
    assert listed["other-merchant"]["tenant"] == "other"
    assert "api_key" in listed["other-merchant"]["authentication"]
    assert set(listed) >= {"checkout", "crm", "chargeback-service", "vault-admin", "auditor"}


def test_keys_of_principals_that_are_no_longer_declared_can_be_seen_and_revoked(
    run: Run, urls: dict[str, str]
) -> None:
    key_id = api_key_id(run("issue-key", "support-agent").stdout.strip())
    engine = sa.create_engine(driver_url(urls[SUPERUSER]), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE strongroom.api_keys SET principal = 'left-us' WHERE id = :id"),
            {"id": key_id},
        )
    [gone] = json.loads(run("list", "left-us", "--json").stdout)
    assert (gone["declared"], gone["tenant"]) == (False, None)
    assert "no longer declared" in run("list", "left-us").stdout
    assert run("revoke-key", key_id or "").exit_code == 0
    assert last_event(urls, "revoke_api_key")["tenant"] == "-"


def test_a_database_that_is_gone_is_told_on_stderr_without_its_url(tmp_path: Path) -> None:
    # In a process of its own: what the logger takes for standard output is real there.
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "from vault_service.cli.principals import app; app(['issue-key', 'checkout'])",
        ],
        env={
            **os.environ,
            "STRONGROOM_ENV": "test",
            "STRONGROOM_HOME": str(tmp_path),
            "STRONGROOM_DATABASE_URL": "postgresql://me:hidden-word@127.0.0.1:1/x",
            "STRONGROOM_POLICY_DIR": str(POLICIES),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert "database cannot be used" in result.stderr
    assert "hidden-word" not in result.stderr
