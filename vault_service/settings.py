"""The settings, from the environment: the only reader of it in the service.

``load`` checks what can be checked without reaching anything. In ``prod`` it refuses
what :mod:`vault_service.production` calls unsafe.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from vault_service.configuration import Settings
from vault_service.domain.catalog import Domain
from vault_service.domain.errors import ConfigurationError
from vault_service.production import refuse_unsafe

__all__ = ["ENVIRONMENTS", "Settings", "load"]

ENVIRONMENTS: Final = ("dev", "test", "prod")
_DRAIN_SECONDS: Final = 15
_DEBUGGING: Final = (
    "PYTHONASYNCIODEBUG",
    "PYTHONDEVMODE",
    "PYTHONINSPECT",
    "PYTHONTRACEMALLOC",
    "SSLKEYLOGFILE",
)
"""What makes Python tell of values, or TLS of its keys, if it is set to anything."""


def load(environ: Mapping[str, str] | None = None, *, database_alone: bool = False) -> Settings:
    """The settings of this process; :class:`ConfigurationError` says what to mend.

    ``database_alone``: for a command that works on the database and nothing else, of which
    production asks less.
    """
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
        database_url=_database(get("STRONGROOM_DATABASE_URL"), "STRONGROOM_DATABASE_URL"),
        database_password_from=_reference(
            get("STRONGROOM_DATABASE_PASSWORD_FROM"), "STRONGROOM_DATABASE_PASSWORD_FROM"
        ),
        sealer_database_url=_database(
            get("STRONGROOM_SEALER_DATABASE_URL"), "STRONGROOM_SEALER_DATABASE_URL"
        ),
        sealer_database_password_from=_reference(
            get("STRONGROOM_SEALER_DATABASE_PASSWORD_FROM"),
            "STRONGROOM_SEALER_DATABASE_PASSWORD_FROM",
        ),
        ambient_password=bool(get("PGPASSWORD")),
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
        drain_seconds=_number(
            get("STRONGROOM_DRAIN_SECONDS"),
            "STRONGROOM_DRAIN_SECONDS",
            _DRAIN_SECONDS if environment == "prod" else 0,
            600,
            lowest=0,
        ),
        otlp_endpoint=get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        aws_endpoints={
            name: url for name, url in env.items() if name.startswith("AWS_ENDPOINT_URL") and url
        },
        debugging=tuple(name for name in _DEBUGGING if get(name)),
    )
    if settings.tls_key and not settings.tls_certificate:
        raise ConfigurationError("STRONGROOM_TLS_KEY needs STRONGROOM_TLS_CERTIFICATE beside it")
    if environment == "prod":
        refuse_unsafe(settings, database_alone=database_alone)
    return settings


def _path(text: str | None) -> Path | None:
    return Path(text).absolute() if text else None


def _database(text: str | None, name: str) -> str:
    if text and not text.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        raise ConfigurationError(f"{name} must begin with postgresql://")
    return text or ""


def _reference(text: str | None, name: str) -> str:
    if text and not (text == "iam" or text.startswith(("file:/", "arn:"))):
        # Not quoted: it may be the password itself.
        raise ConfigurationError(
            f"{name} refers to a password: iam, file:/path or the ARN of a secret"
        )
    return text or ""


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
