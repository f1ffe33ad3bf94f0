"""What production refuses, each by the real command (PCI-DSS 2.2.2, 2.2.6).

One setting of a safe configuration is made unsafe at a time: ``strongroom serve`` must end
with 2, name that rule and no other, and say the mend; the untouched configuration starts.
"""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from psycopg import sql

from tests.secured import Production
from tests.serving import ROOT
from vault_service.adapters.postgres.embedded.state import SUPERUSER
from vault_service.adapters.postgres.roles import MIGRATOR, SERVICE
from vault_service.domain.errors import ConfigurationError
from vault_service.production import RULES
from vault_service.settings import load

_SECRET: Final = "q9-hidden-word"


@dataclass(frozen=True)
class Unsafe:
    """Settings that break ``rule``; ``{url}`` and the like stand for what is safe there."""

    rule: str
    mend: str
    settings: Mapping[str, str | None]

    def __str__(self) -> str:
        return "-".join((self.rule, *self.settings))


def _url(change: str, to: str, name: str = "STRONGROOM_DATABASE_URL") -> dict[str, str]:
    return {name: f"{{url}}|{change}|{to}"}


CASES: Final = (
    Unsafe("embedded-database", "set STRONGROOM_DATABASE_URL", {"STRONGROOM_DATABASE_URL": None}),
    Unsafe("database-tls", "add ?sslmode=verify-full", _url("verify-full", "require")),
    Unsafe("database-tls", "add ?sslmode=verify-full", _url("verify-full", "verify-ca")),
    Unsafe("database-tls", "add ?sslmode=verify-full", _url("sslmode=verify-full&", "")),
    Unsafe(
        "database-tls",
        "add ?sslmode=verify-full",
        _url("sslmode=verify-full", "sslmode=verify-full&sslmode=disable"),
    ),
    Unsafe(
        "database-tls",
        "add ?sslmode=verify-full",
        _url("verify-full", "require", "STRONGROOM_SEALER_DATABASE_URL"),
    ),
    Unsafe("database-root-certificate", "add sslrootcert=", _url("&sslrootcert=", "&options=")),
    Unsafe("database-root-certificate", "add sslrootcert=", _url("sslrootcert=", "sslrootcert=/x")),
    Unsafe(
        "database-tls-keys",
        "take sslkeylogfile out",
        _url("sslmode=", "sslkeylogfile=/tmp/keys&sslmode="),
    ),
    Unsafe("database-login", "strongroom db roles", _url("strongroom_app", "postgres")),
    Unsafe("database-login", "strongroom db roles", _url("strongroom_app", "strongroom_owner")),
    Unsafe("database-login", "strongroom db roles", _url("strongroom_app@", "")),
    Unsafe("database-sealer", "strongroom_seal", _url("strongroom_app", "strongroom_seal")),
    Unsafe(
        "database-password",
        "set STRONGROOM_DATABASE_PASSWORD_FROM",
        _url("strongroom_app", f"strongroom_app:{_SECRET}"),
    ),
    Unsafe(
        "database-password",
        "set STRONGROOM_DATABASE_PASSWORD_FROM",
        _url("sslmode=", f"password={_SECRET}&sslmode="),
    ),
    Unsafe("database-password", "take it out", {"PGPASSWORD": _SECRET}),
    Unsafe(
        "database-no-password",
        "ARN of a secret",
        {"STRONGROOM_DATABASE_PASSWORD_FROM": None},
    ),
    Unsafe("secret-files", "mode 0400", {"STRONGROOM_DATABASE_PASSWORD_FROM": "file:{open}"}),
    Unsafe("secret-files", "mode 0400", {"STRONGROOM_DATABASE_PASSWORD_FROM": "file:/none"}),
    Unsafe("secret-files", "mode 0400", {"STRONGROOM_TLS_KEY": "{open}"}),
    Unsafe("policy-files", "chmod -R o-w", {"STRONGROOM_POLICY_DIR": "{writable}"}),
    Unsafe(
        "root-key",
        "set STRONGROOM_KMS_KEY_ARN_PCI",
        {"STRONGROOM_KMS_KEY_ARN_PCI": None, "STRONGROOM_KMS_KEY_ARN_PII": None},
    ),
    Unsafe(
        "signing-key",
        "set STRONGROOM_AUDIT_SIGNING_KEY_ARN",
        {"STRONGROOM_AUDIT_SIGNING_KEY_ARN": None},
    ),
    Unsafe("aws-endpoints", "use https://", {"AWS_ENDPOINT_URL_KMS": "http://kms.example"}),
    Unsafe("aws-endpoints", "use https://", {"AWS_ENDPOINT_URL": "http://10.1.2.3:4566"}),
    Unsafe("docs-pages", "unset STRONGROOM_DOCS", {"STRONGROOM_DOCS": "on"}),
    Unsafe(
        "sts-endpoint",
        "unset STRONGROOM_STS_TEST_ENDPOINT",
        {"STRONGROOM_STS_TEST_ENDPOINT": "https://sts.example"},
    ),
    Unsafe(
        "oidc-addresses",
        "use https://",
        {
            "STRONGROOM_OIDC_ISSUER": "http://issuer.example",
            "STRONGROOM_OIDC_AUDIENCE": "vault",
            "STRONGROOM_OIDC_JWKS_URL": "https://issuer.example/keys",
        },
    ),
    Unsafe(
        "oidc-addresses",
        "use https://",
        {
            "STRONGROOM_OIDC_ISSUER": "https://issuer.example",
            "STRONGROOM_OIDC_AUDIENCE": "vault",
            "STRONGROOM_OIDC_JWKS_URL": "http://issuer.example/keys",
        },
    ),
    Unsafe(
        "oidc-audience",
        "set STRONGROOM_OIDC_AUDIENCE",
        {
            "STRONGROOM_OIDC_ISSUER": "https://issuer.example",
            "STRONGROOM_OIDC_JWKS_URL": "https://issuer.example/keys",
        },
    ),
    *(
        Unsafe(
            "plain-http",
            "STRONGROOM_TLS_CERTIFICATE",
            {
                "STRONGROOM_TLS_CERTIFICATE": None,
                "STRONGROOM_TLS_KEY": None,
                "STRONGROOM_HOST": host,
            },
        )
        for host in ("0.0.0.0", "::", "10.1.2.3")
    ),
    *(
        Unsafe("trusted-proxies", "balancer's addresses", {"STRONGROOM_TRUSTED_PROXIES": proxies})
        for proxies in ("*", "10.0.0.1, 0.0.0.0/0", "balancer")
    ),
    *(
        Unsafe("debugging", "unset it", {name: value})
        for name, value in (
            ("PYTHONASYNCIODEBUG", "1"),
            ("PYTHONDEVMODE", "1"),
            ("SSLKEYLOGFILE", "/tmp/keys"),
        )
    ),
)


def _filled(case: Unsafe, production: Production, tmp_path: Path) -> dict[str, str | None]:
    """The case's settings, with files that are open to others, and URLs changed."""
    opened, writable = tmp_path / "open", tmp_path / "policies"
    opened.write_text("x")
    opened.chmod(0o644)
    writable.mkdir()
    writable.chmod(0o777)
    filled: dict[str, str | None] = {}
    for name, value in case.settings.items():
        if value is not None and value.startswith("{url}|"):
            _, change, to = value.split("|")
            safe = production.settings[name]
            assert change in safe
            value = safe.replace(change, to, 1)
        elif value is not None:
            value = value.format(open=opened, writable=writable)
        filled[name] = value
    return filled


def serve(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vault_service", "serve"],
        env=dict(environment),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_unsafe_setting_is_refused_with_its_mend(
    production: Production, tmp_path: Path, case: Unsafe
) -> None:
    done = serve(production.environment(_filled(case, production, tmp_path)))
    assert (done.returncode, done.stdout) == (2, "")
    told = [line for line in done.stderr.splitlines() if line.startswith("- ")]
    assert len(told) == 1, done.stderr
    assert told[0].endswith(f"[{case.rule}]")
    assert case.mend in told[0]
    assert _SECRET not in done.stderr


def test_every_rule_is_tried() -> None:
    assert {case.rule for case in CASES} == {rule.name for rule in RULES}


def test_every_rule_is_in_the_manual() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text()
    assert [rule.name for rule in RULES if f"| `{rule.name}` |" not in manual] == []


def test_everything_unsafe_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load({"STRONGROOM_ENV": "prod", "STRONGROOM_DOCS": "1", "STRONGROOM_HOST": "0.0.0.0"})
    told = {line.rpartition("[")[2].rstrip("]") for line in str(refusal.value).split("\n- ")[1:]}
    assert told == {"embedded-database", "root-key", "signing-key", "docs-pages", "plain-http"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "superuser"),
        ("BYPASSRLS", "bypasses row-level security"),
        ("CREATEROLE", "make roles or databases"),
        ("MEMBER", "act as the owner"),
    ],
)
def test_a_login_that_may_too_much_is_refused(
    production: Production, tmp_path: Path, given: str | None, says: str
) -> None:
    """What a login may is looked at where it is known: at the database (PCI-DSS 7.2.5)."""
    postgres = production.postgres
    login = SUPERUSER
    if given is not None:
        login = f"too_much_{given.lower()}"
        postgres.passwords[login] = "f3-" + postgres.passwords[SERVICE.name]
        options = "" if given == "MEMBER" else given
        with postgres.connect() as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN NOINHERIT " + options + " PASSWORD {}").format(
                    sql.Identifier(login), sql.Literal(postgres.passwords[login])
                )
            )
            granted = "strongroom_service" + (", strongroom_owner" if given == "MEMBER" else "")
            connection.execute(sql.SQL("GRANT " + granted + " TO {}").format(sql.Identifier(login)))
            connection.execute(
                sql.SQL("GRANT CONNECT ON DATABASE strongroom TO {}").format(sql.Identifier(login))
            )
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(postgres.passwords[login])
    url = production.settings["STRONGROOM_DATABASE_URL"].replace(SERVICE.name, "renamed", 1)
    changes = {
        "STRONGROOM_DATABASE_URL": url.replace("renamed", login),
        "STRONGROOM_DATABASE_PASSWORD_FROM": f"file:{secret}",
    }
    if login == SUPERUSER:
        # Its name alone is refused before; a superuser of another name must be found out.
        with postgres.connect() as connection:
            connection.execute(b"CREATE ROLE quiet LOGIN SUPERUSER")
        postgres.set_password("quiet", postgres.passwords[SUPERUSER])
        changes["STRONGROOM_DATABASE_URL"] = url.replace("renamed", "quiet")
    done = serve(production.environment(changes))
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "strongroom db roles" in done.stderr
    assert postgres.passwords[login] not in done.stderr


def test_migrating_needs_no_keys(production: Production, tmp_path: Path) -> None:
    """``db`` asks of production what concerns the database, and no more."""
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(production.postgres.passwords[MIGRATOR.name])
    environment = production.environment(
        {
            "STRONGROOM_DATABASE_URL": production.postgres.url(MIGRATOR.name, password=False),
            "STRONGROOM_DATABASE_PASSWORD_FROM": f"file:{secret}",
            "STRONGROOM_KMS_KEY_ARN_PCI": None,
            "STRONGROOM_KMS_KEY_ARN_PII": None,
            "STRONGROOM_AUDIT_SIGNING_KEY_ARN": None,
        }
    )
    done = subprocess.run(
        [sys.executable, "-m", "vault_service", "db", "upgrade"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The database is at ")
