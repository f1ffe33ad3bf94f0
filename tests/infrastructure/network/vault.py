"""The vault on its own hosts: the real service, its database, AWS, and the two balancers.

What runs is ``strongroom serve`` on settings like those of a task on Fargate: it finds its
credentials at the task's own address, KMS and S3 behind endpoints, PostgreSQL on another host.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.infrastructure.network.aws import BUCKET, REGION
from tests.infrastructure.network.topology import ROOT, Topology


class Vault:
    """A running vault in a topology; see :func:`vault`."""

    def __init__(self, network: Topology, directory: Path) -> None:
        self.network = network
        self.directory = directory
        self.certificate = directory / "tls.pem"
        self._closing = contextlib.ExitStack()
        self._settings: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Where clients call it."""
        return f"https://{self.network.addresses['entrance']}"

    @property
    def log(self) -> str:
        """What the service has written to standard error."""
        return (self.directory / "service.log").read_text()

    def start(self) -> None:
        """Database, AWS, balancers and service; returns when the service is ready."""
        at = self.network.addresses
        database = self._program("database", "database", str(self.directory / "database"))
        parts = urlsplit(database["app"])
        self.network.hosts["database"].ask(
            "relay", port=5432, address="127.0.0.1", to_port=parts.port
        )
        login = parts.netloc.rpartition("@")[0]
        keys = self._program("endpoints", "aws")
        self._program("s3", "aws")
        self._make_certificate(at["entrance"])
        credentials = self.network.hosts["service"].ask("give_credentials")
        self._settings = {
            "PATH": os.environ["PATH"],
            "AWS_REGION": REGION,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": credentials,
            "AWS_ENDPOINT_URL": f"http://{at['endpoints']}:443",
            "AWS_ENDPOINT_URL_S3": f"http://{at['s3']}:443",
            "STRONGROOM_ENV": "test",
            "STRONGROOM_HOME": str(self.directory / "home"),
            "STRONGROOM_DATABASE_URL": parts._replace(
                netloc=f"{login}@{at['database']}:5432"
            ).geturl(),
            "STRONGROOM_KMS_KEY_ARN": keys["wrapping"],
            "STRONGROOM_AUDIT_SIGNING_KEY_ARN": keys["signing"],
            "STRONGROOM_AUDIT_ANCHOR_BUCKET": f"s3://{BUCKET}/network",
            "STRONGROOM_AUDIT_ANCHOR_DAYS": "1",
            "STRONGROOM_POLICY_DIR": str(ROOT / "policies"),
            "STRONGROOM_HOST": "0.0.0.0",
            "STRONGROOM_PORT": "8200",
            "STRONGROOM_WORKERS": "1",
            "STRONGROOM_TLS_CERTIFICATE": str(self.certificate),
            "STRONGROOM_TLS_KEY": str(self.directory / "tls.key"),
        }
        self._serve()
        hosts = self.network.hosts
        hosts["balancer"].ask("relay", port=443, address=at["service"], to_port=8200)
        hosts["entrance"].ask("relay", port=443, address=at["balancer"], to_port=443)

    def command(
        self, *arguments: str, credentials: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """``strongroom`` with these arguments on the service's host; without the address of
        the task's credentials, if so asked."""
        settings = dict(self._settings)
        if not credentials:
            del settings["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
        return self._run("service", ["-m", "vault_service", *arguments], settings)

    def call(self) -> dict[str, str]:
        """What a core service on the clients' host gets from the vault."""
        keys = [
            self.command("principal", "issue-key", name).stdout.strip()
            for name in ("checkout", "chargeback-service")
        ]
        program = ["-m", "tests.infrastructure.network.caller"]
        arguments = [*program, self.url, str(self.certificate), *keys]
        done = self._run("clients", arguments, {"PATH": os.environ["PATH"]})
        assert done.returncode == 0, done.stderr
        answer: dict[str, str] = json.loads(done.stdout)
        return answer

    def close(self) -> None:
        """End what was started, the last first."""
        self._closing.close()

    def _run(
        self, host: str, arguments: Sequence[str], environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.network.hosts[host].inside, sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def _program(self, host: str, program: str, *arguments: str) -> Any:
        """Start one of this package's programs on a host; the line that it prints."""
        process = subprocess.Popen(
            [
                *self.network.hosts[host].inside,
                *(sys.executable, "-m", f"tests.infrastructure.network.{program}", *arguments),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._closing.callback(process.wait, 60)
        self._closing.enter_context(_closed(process))
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"{program} did not start; its error stands above"
        return json.loads(line)

    def _serve(self) -> None:
        (self.directory / "home").mkdir(mode=0o700)
        with (self.directory / "service.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *self.network.hosts["service"].inside,
                    # The service waits for no input: it is to end with the test in another way.
                    *("setpriv", "--pdeathsig", "TERM"),
                    *(sys.executable, "-m", "vault_service", "serve"),
                ],
                cwd=ROOT,
                env=self._settings,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert process.stdout is not None
        self._closing.callback(process.stdout.close)
        self._closing.callback(process.wait, 60)
        self._closing.callback(process.terminate)
        assert "is ready" in process.stdout.readline(), self.log

    def _make_certificate(self, address: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault.test")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = self.directory / "tls.key"
        private.touch(mode=0o600)
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


@contextlib.contextmanager
def _closed(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()


@contextlib.contextmanager
def vault(network: Topology, directory: Path) -> Iterator[Vault]:
    """A vault that runs until the block ends."""
    running = Vault(network, directory)
    try:
        running.start()
        yield running
    finally:
        running.close()
