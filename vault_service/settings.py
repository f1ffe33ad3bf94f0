"""The settings, from the environment: the only reader of it in the service.

``load`` checks what can be checked without reaching anything. In ``prod`` it refuses
everything unsafe, all at once, each with its mend (PCI-DSS 2.2.2, 2.2.6).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from vault_service.domain.catalog import Domain
from vault_service.domain.errors import ConfigurationError

ENVIRONMENTS: Final = ("dev", "test", "prod")
_DEFAULT_PASSWORDS: Final = frozenset({"", "postgres", "password", "strongroom", "changeme"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says. Empty texts mean "not set"."""

    environment: str = "dev"
    home: Path = Path(".strongroom")
    database_url: str = field(default="", repr=False)
    kms_key_arns: Mapping[Domain, str] = field(default_factory=dict)
    audit_origin: str = "strongroom/audit"
    audit_signing_key_arn: str = ""
    audit_anchor: str = ""
    audit_anchor_days: int = 400
    report_bucket: str = ""
    policy_dir: Path = Path("policies")
    pg_bindir: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8200
    workers: int = 1
    docs: bool = True
    oidc_issuer: str = ""
    oidc_audience: str = ""
    oidc_jwks_url: str = ""
    sts_audience: str = ""
    sts_test_endpoint: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: str = ""
    otlp_endpoint: str = ""

    @property
    def embedded(self) -> bool:
        """Whether the embedded PostgreSQL under ``home`` is used."""
        return not self.database_url

    @property
    def signing_key_path(self) -> Path:
        """Where the local signing key lies, used where no KMS key is set."""
        return self.home / "audit-signing.key"

    @property
    def anchor_path(self) -> Path:
        """Where copies of checkpoints are kept, where no bucket is set."""
        return self.home / "checkpoints"

    @property
    def reports_path(self) -> Path:
        """Where sealed outputs of reports lie, where no bucket is set."""
        return self.home / "reports"

    @property
    def root_key_path(self) -> Path:
        """Where the local root key lies, used where no KMS key is set."""
        return self.home / "root.key"


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process; :class:`ConfigurationError` says what to mend."""
    env = os.environ if environ is None else environ
    get = env.get
    environment = get("STRONGROOM_ENV") or "dev"
    if environment not in ENVIRONMENTS:
        raise ConfigurationError("STRONGROOM_ENV must be dev, test or prod")
    general = get("STRONGROOM_KMS_KEY_ARN", "")
    arns = {
        domain: arn
        for domain in Domain
        if (arn := get(f"STRONGROOM_KMS_KEY_ARN_{domain.name}", "") or general)
    }
    if arns and len(arns) != len(Domain):
        raise ConfigurationError(
            "A wrapping key is set for one sensitivity domain only; set both"
            " STRONGROOM_KMS_KEY_ARN_PCI and STRONGROOM_KMS_KEY_ARN_PII, or"
            " STRONGROOM_KMS_KEY_ARN for both"
        )
    settings = Settings(
        environment=environment,
        home=Path(get("STRONGROOM_HOME") or ".strongroom").absolute(),
        database_url=get("STRONGROOM_DATABASE_URL", ""),
        kms_key_arns=arns,
        audit_origin=_origin(get("STRONGROOM_AUDIT_ORIGIN") or "strongroom/audit"),
        audit_signing_key_arn=get("STRONGROOM_AUDIT_SIGNING_KEY_ARN", ""),
        audit_anchor=get("STRONGROOM_AUDIT_ANCHOR_BUCKET", ""),
        audit_anchor_days=_number(
            get("STRONGROOM_AUDIT_ANCHOR_DAYS"), "STRONGROOM_AUDIT_ANCHOR_DAYS", 400, 36500
        ),
        report_bucket=get("STRONGROOM_REPORT_BUCKET", ""),
        policy_dir=Path(get("STRONGROOM_POLICY_DIR") or "policies").absolute(),
        pg_bindir=_path(get("STRONGROOM_PG_BINDIR")),
        host=get("STRONGROOM_HOST") or "127.0.0.1",
        port=_number(get("STRONGROOM_PORT"), "STRONGROOM_PORT", 8200, 65535, lowest=0),
        workers=_number(get("STRONGROOM_WORKERS"), "STRONGROOM_WORKERS", os.cpu_count() or 1, 256),
        docs=_flag(get("STRONGROOM_DOCS"), "STRONGROOM_DOCS", environment != "prod"),
        oidc_issuer=get("STRONGROOM_OIDC_ISSUER", ""),
        oidc_audience=get("STRONGROOM_OIDC_AUDIENCE", ""),
        oidc_jwks_url=get("STRONGROOM_OIDC_JWKS_URL", ""),
        sts_audience=get("STRONGROOM_STS_AUDIENCE", ""),
        sts_test_endpoint=get("STRONGROOM_STS_TEST_ENDPOINT", ""),
        tls_certificate=_path(get("STRONGROOM_TLS_CERTIFICATE")),
        tls_key=_path(get("STRONGROOM_TLS_KEY")),
        trusted_proxies=get("STRONGROOM_TRUSTED_PROXIES", ""),
        otlp_endpoint=get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
    )
    if settings.database_url and not settings.database_url.startswith(
        ("postgresql://", "postgres://", "postgresql+psycopg://")
    ):
        raise ConfigurationError("STRONGROOM_DATABASE_URL must begin with postgresql://")
    problems = unsafe(settings) if environment == "prod" else []
    if problems:
        raise ConfigurationError(
            "STRONGROOM_ENV=prod refuses these settings:\n" + "\n".join(f"- {p}" for p in problems)
        )
    return settings


def unsafe(settings: Settings) -> list[str]:
    """What production refuses in these settings, each with its mend."""
    problems: list[str] = []
    if settings.embedded:
        problems.append("the embedded database; set STRONGROOM_DATABASE_URL")
    else:
        url = urlsplit(settings.database_url)
        if parse_qs(url.query).get("sslmode") != ["verify-full"]:
            problems.append(
                "a database connection without verified TLS; add ?sslmode=verify-full"
                "&sslrootcert=… to STRONGROOM_DATABASE_URL"
            )
        if (url.username or "") == "postgres" or (url.password or "").lower() in _DEFAULT_PASSWORDS:
            problems.append(
                "default database credentials; give the service a login of its own that is"
                " a member of strongroom_service alone"
            )
    if not settings.kms_key_arns:
        problems.append("the local root key; set STRONGROOM_KMS_KEY_ARN_PCI and …_PII")
    if not settings.audit_signing_key_arn:
        # Each host would have a key of its own, and none accept what another signed.
        problems.append("a local signing key; set STRONGROOM_AUDIT_SIGNING_KEY_ARN")
    if settings.docs:
        problems.append("documentation pages; unset STRONGROOM_DOCS")
    if settings.sts_test_endpoint:
        problems.append("a replacement for AWS STS; unset STRONGROOM_STS_TEST_ENDPOINT")
    if settings.oidc_jwks_url and not settings.oidc_jwks_url.startswith("https://"):
        problems.append("signing keys over plain HTTP; use https:// in STRONGROOM_OIDC_JWKS_URL")
    return problems


def _path(text: str | None) -> Path | None:
    return Path(text).absolute() if text else None


def _origin(text: str) -> str:
    # What C2SP signed-note takes for the name of a key.
    if not text.isprintable() or not text.isascii() or set(text) & set(" +"):
        raise ConfigurationError(
            "STRONGROOM_AUDIT_ORIGIN must be ASCII without spaces and plus signs, such as"
            " vault.example/audit"
        )
    return text


def _number(text: str | None, name: str, default: int, highest: int, lowest: int = 1) -> int:
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
        raise ConfigurationError(f"{name} must be a number from {lowest} to {highest}")
    return int(text)


def _flag(text: str | None, name: str, default: bool) -> bool:
    if not text:
        return default
    if text.lower() in ("1", "true", "on", "yes"):
        return True
    if text.lower() in ("0", "false", "off", "no"):
        return False
    raise ConfigurationError(f"{name} must be on or off")
