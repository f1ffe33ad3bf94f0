"""``strongroom doctor`` on installations that are not sound: it must find each fault."""

import shutil
from pathlib import Path

import psycopg
import pytest

from tests.conftest import DatabaseUrls
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.cli.doctor_checks import examine
from vault_service.cli.doctor_database import Check

POLICIES = Path(__file__).parents[2] / "policies"


@pytest.fixture
def urls(
    empty_database: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> DatabaseUrls:
    monkeypatch.setenv("STRONGROOM_ENV", "test")
    monkeypatch.setenv("STRONGROOM_HOME", str(tmp_path))
    monkeypatch.setenv("STRONGROOM_DATABASE_URL", empty_database.app_url)
    monkeypatch.setenv("STRONGROOM_POLICY_DIR", str(POLICIES))
    return empty_database


@pytest.fixture
def migrated(urls: DatabaseUrls) -> DatabaseUrls:
    upgrade(urls.migrator_url)
    return urls


def change(urls: DatabaseUrls, *statements: str) -> None:
    with psycopg.connect(urls.superuser_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def found(state: str) -> list[Check]:
    return [check for check in examine() if check.state == state]


def test_a_sound_installation(migrated: DatabaseUrls) -> None:
    assert found("fail") == []


def test_a_database_without_a_schema(urls: DatabaseUrls) -> None:
    [check] = found("fail")
    assert check.name == "schema"
    assert check.mend == "run: strongroom db upgrade"


def test_a_database_that_is_away(urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_DATABASE_URL", "postgresql://me:hidden-word@127.0.0.1:1/x")
    [check] = found("fail")
    assert check.name == "database"
    assert "start it" in check.mend
    assert "hidden-word" not in str(check)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "ALTER TABLE strongroom.audit_events DISABLE TRIGGER USER",
            "append-only",
        ),
        (
            "ALTER TABLE strongroom.audit_events_default DISABLE TRIGGER USER",
            "append-only",
        ),
        ("ALTER TABLE strongroom.tokens DISABLE ROW LEVEL SECURITY", "tokens has no row-level"),
        (
            "GRANT UPDATE (outcome) ON strongroom.audit_events TO strongroom_service",
            "may change or delete audit events",
        ),
        (
            "GRANT DELETE ON strongroom.audit_events_default TO strongroom_service",
            "may change or delete audit events",
        ),
        (
            "GRANT DELETE ON strongroom.audit_events TO strongroom_service",
            "may change or delete audit events",
        ),
        (
            "UPDATE strongroom.alembic_version SET version_num = '0000'",
            "another schema",
        ),
    ],
)
def test_a_schema_that_someone_changed(migrated: DatabaseUrls, statement: str, says: str) -> None:
    change(migrated, statement)
    checks = found("fail")
    assert [check.name for check in checks] == ["schema"]
    assert says in checks[0].found


def test_an_audit_log_that_cannot_be_written(migrated: DatabaseUrls) -> None:
    change(
        migrated,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON strongroom.audit_events"
        " FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    [check] = found("fail")
    assert check.name == "audit"


def test_a_superuser_for_a_login(migrated: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_DATABASE_URL", migrated.superuser_url)
    assert any("superuser" in check.found for check in found("warn"))


def test_a_server_that_logs_parameters(migrated: DatabaseUrls) -> None:
    change(
        migrated,
        f"ALTER DATABASE {migrated.name} SET log_parameter_max_length = -1",
        f"ALTER DATABASE {migrated.name} SET synchronous_commit = off",
    )
    assert any("log_parameter_max_length" in check.found for check in found("warn"))
    assert any("synchronous_commit" in check.found for check in found("fail"))


def test_a_root_key_that_is_open_to_others(migrated: DatabaseUrls, tmp_path: Path) -> None:
    assert found("fail") == []
    (tmp_path / "root.key").chmod(0o644)
    assert [check.name for check in found("fail")] == ["keys"]


def test_data_keys_of_a_root_key_that_is_gone(migrated: DatabaseUrls) -> None:
    change(
        migrated,
        "INSERT INTO strongroom.data_keys (id, tenant, data_class, purpose, epoch, state, wrapped,"
        " wrapper, uses, created_at) VALUES (1, 'main', 'pan', 'record', 1, 'active', '\\x00',"
        " 'local:0000000000000000', 0, now())",
    )
    [check] = found("fail")
    assert check.name == "keys"
    assert "local:0000000000000000" in check.found


def test_policies_that_do_not_fit(
    migrated: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "policies"
    shutil.copytree(POLICIES, directory)
    monkeypatch.setenv("STRONGROOM_POLICY_DIR", str(directory))
    extra = directory / "extra.cedar"
    extra.write_text(
        '@id("no-reveal")\nforbid (principal, action == Action::"detokenize", resource);\n'
    )
    [check] = found("fail")
    assert check.name == "policies"
    assert "cases are decided otherwise" in check.found
    extra.write_text("permit (")
    assert [check.name for check in found("fail")] == ["policies"]


def test_settings_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_ENV", "production")
    [check] = examine()
    assert (check.name, check.state) == ("settings", "fail")
    assert "STRONGROOM_ENV" in check.found
