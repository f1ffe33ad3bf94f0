"""What tests of jobs share: a report of their own, recipients, AWS played by moto."""

import hashlib
import io
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from reporting_jobs import reports, sealing
from reporting_jobs.definitions import definitions
from reporting_jobs.recipients import RsaRecipient, rsa_recipient
from tests.fakes.lambda_runtime import LambdaRuntime
from tests.fakes.report_vault import ReportVault
from vault_service.domain.notes import parse_note
from vault_service.domain.report_notes import WorkOrder, read_order

REGION = "eu-west-1"
_buckets = itertools.count(1)


@dataclass(frozen=True)
class RsaPair:
    """A recipient with both halves of its key (PEM)."""

    recipient: RsaRecipient
    private: bytes = field(repr=False)

    @property
    def public(self) -> str:
        return self.recipient.public_key.decode()


def rsa_pair(bits: int = 3072) -> RsaPair:
    key = rsa.generate_private_key(65537, bits)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return RsaPair(rsa_recipient(public.decode()), private)


@pytest.fixture(scope="session")
def reader() -> RsaPair:
    """Who outputs are for."""
    return rsa_pair()


@pytest.fixture(scope="session")
def stranger() -> RsaPair:
    """Who they are not for."""
    return rsa_pair()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The reports ``tiny`` and ``tiny_parts`` among the others."""
    folder = str(Path(__file__).parent / "tiny")
    monkeypatch.setattr(reports, "__path__", [*reports.__path__, folder])
    definitions.cache_clear()
    yield
    definitions.cache_clear()


@pytest.fixture
def recipients(tmp_path: Path, reader: RsaPair) -> Path:
    """The folder of recipients' keys."""
    folder = tmp_path / "recipients"
    folder.mkdir()
    digest = reader.recipient.name.removeprefix("rsa:")
    (folder / f"{digest}.pem").write_text(reader.public)
    return folder


def emails(count: int) -> dict[str, str]:
    """So many tokens and what they stand for."""
    return {f"tok_email_{number:026d}": f"person{number}@mail.example" for number in range(count)}


@pytest.fixture
def vault(tiny: None) -> Iterator[ReportVault]:
    """A vault with 2,500 addresses: three pages."""
    with ReportVault(emails(2500)) as played:
        yield played


@dataclass
class Aws:
    """AWS as moto plays it."""

    url: str
    environment: dict[str, str]

    def client(self, service: str) -> Any:
        from boto3.session import Session

        return Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION
        ).client(service, endpoint_url=self.url)

    def bucket(self) -> str:
        """A new bucket with Object Lock."""
        name = f"outputs-{next(_buckets)}"
        self.client("s3").create_bucket(
            Bucket=name,
            ObjectLockEnabledForBucket=True,
            CreateBucketConfiguration={"LocationConstraint": REGION},
        )
        return name

    def key(self) -> str:
        """The ARN of a new KMS key."""
        arn: str = self.client("kms").create_key()["KeyMetadata"]["Arn"]
        return arn


@pytest.fixture(scope="session")
def moto() -> Iterator[Aws]:
    from moto.server import ThreadedMotoServer

    # werkzeug writes a line a request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    yield Aws(
        url,
        {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        },
    )
    server.stop()


@pytest.fixture
def aws(moto: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """AWS, also for boto3's own settings in this process."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    return moto


class Function(Protocol):
    """Starts a function of Lambda."""

    def __call__(self, handler: str = "tiny", **environment: str) -> LambdaRuntime: ...


@pytest.fixture
def bucket(aws: Aws) -> str:
    """A bucket for outputs."""
    return aws.bucket()


@pytest.fixture
def function(
    aws: Aws, vault: ReportVault, bucket: str, recipients: Path, reader: RsaPair, tmp_path: Path
) -> Iterator[Function]:
    """Starts functions on this vault, this AWS and this bucket."""
    with ExitStack() as closing:

        def start(handler: str = "tiny", **environment: str) -> LambdaRuntime:
            settings = {
                **aws.environment,
                "STRONGROOM_URL": vault.url,
                "STRONGROOM_TOKEN": "srk_test",
                "STRONGROOM_LOG_KEY": vault.key.encode(),
                "STRONGROOM_REPORT_OUTPUTS": f"s3://{bucket}/outputs",
                "STRONGROOM_REPORT_RECIPIENTS": str(recipients),
                "STRONGROOM_REPORT_RECIPIENT": reader.recipient.name,
                "TINY_WAITS_IN": str(tmp_path),
                **environment,
            }
            place = f"tests.jobs.tiny_lambda.{handler}"
            return closing.enter_context(LambdaRuntime(place, settings, tmp_path / "lambda.log"))

        yield start


def ordered(order: str) -> WorkOrder:
    """What an order says."""
    return read_order(parse_note(order).text)


def opened(sealed: bytes, order: str, part: str | None = None, **key: Any) -> bytes:
    """What was sealed for the run of an order, or for its ``part`` (``3/12``), opened with
    ``private_key`` or ``key_arn``."""
    wanted = ordered(order)
    bound = sealing.context(wanted.run, wanted.report, wanted.template_hash, part)
    return b"".join(sealing.unseal(io.BytesIO(sealed), bound, **key))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool]], None]:
    """Waits until something holds."""

    def wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.01)

    return wait
