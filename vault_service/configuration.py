"""What a process of the service is told: the settings, once read and understood.

:mod:`vault_service.settings` reads them; :mod:`vault_service.production` judges them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vault_service.domain.catalog import Domain


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says. Empty texts mean "not set"."""

    environment: str = "dev"
    home: Path = Path(".strongroom")
    database_url: str = field(default="", repr=False)
    database_password_from: str = ""
    sealer_database_url: str = field(default="", repr=False)
    sealer_database_password_from: str = ""
    ambient_password: bool = False
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
    drain_seconds: int = 0
    otlp_endpoint: str = ""
    aws_endpoints: Mapping[str, str] = field(default_factory=dict)
    debugging: tuple[str, ...] = ()

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
