"""Puts a runner together from the settings, and opens the vault for each report's job."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from reporting_jobs.job_vault import JobVault
from reporting_jobs.places import place
from reporting_jobs.queue import sender
from reporting_jobs.runner import Runner
from reporting_jobs.settings import JobSettings
from reporting_jobs.stores import FolderStore, S3Store, Store
from vault_service.client.credentials import sts_token
from vault_service.client.report_results import RunInfo
from vault_service.client.report_run import RunClient
from vault_service.client.reports import Reporting
from vault_service.client.sync import Client
from vault_service.domain.errors import ConfigurationError

_COLLECTIONS: Final = (50_000, 20, 100)
_BATCH: Final = 5000
_CONCURRENCY: Final = 4
"""A page of 10,000 tokens is revealed in two requests at once, and the next comes beside."""

OpenClient = Callable[[str], AbstractContextManager[Client]]
"""Opens the vault as the job of a report."""


def runner(settings: JobSettings, hand_on: Callable[[Sequence[str]], None] | None = None) -> Runner:
    """The runner of these settings; parts go to the queue that they name, unless another
    way to ``hand_on`` is given. Nothing is asked of anybody yet.

    The process is taken for a job's: its garbage collector looks less often from now on.
    While millions of rows come and go, looking through them took half of a run's time.
    """
    gc.set_threshold(*_COLLECTIONS)
    if hand_on is None and settings.queue:
        hand_on = sender(settings.queue)
    clients = opener(settings)

    @contextmanager
    def vault(report: str) -> Iterator[JobVault]:
        with clients(report) as client:
            yield RunClient(client)

    return Runner(
        vault=vault,
        store=_store(settings),
        key=settings.key,
        recipients=place(settings.recipients) if settings.recipients else None,
        inputs=place(settings.inputs) if settings.inputs else None,
        hand_on=hand_on,
    )


def opener(settings: JobSettings) -> OpenClient:
    """Opens clients of the vault, each with the credential of the report's job."""

    def client(report: str) -> Client:
        return Client(
            settings.url,
            _credential(settings, report),
            batch_size=_BATCH,
            concurrency=_CONCURRENCY,
        )

    return client


def request_run(settings: JobSettings, report: str, asked: Mapping[str, Any]) -> RunInfo:
    """Ask for a run as the report's job, for the recipient of the settings unless another
    is ``asked`` for."""
    recipient = asked.get("recipient") or settings.recipient
    if not recipient:
        raise ConfigurationError("No recipient: set STRONGROOM_REPORT_RECIPIENT, or name one.")
    with opener(settings)(report) as client:
        return Reporting(client).request_run(report, **{**asked, "recipient": recipient})


def _store(settings: JobSettings) -> Store:
    if settings.outputs.startswith("s3://"):
        bucket, _, prefix = settings.outputs.removeprefix("s3://").partition("/")
        return S3Store(bucket, prefix, settings.retention_days)
    return FolderStore(Path(settings.outputs))


def _credential(settings: JobSettings, report: str) -> "str | Callable[[], str]":
    if settings.tokens is not None:
        try:
            return (settings.tokens / report).read_text(encoding="ascii").strip()
        except OSError:
            raise ConfigurationError(
                f"STRONGROOM_REPORT_TOKENS has no file {report}; put the API key of"
                f" job:{report} there (`strongroom principal issue-key job:{report}`)."
            ) from None
    if settings.token:
        return settings.token
    role = settings.role.replace("{report}", report.replace("_", "-"))
    return lambda: sts_token(settings.audience, settings.region, session=_session(role, report))


def _session(role: str, report: str) -> Any:
    """A session of botocore with the credentials of ``role``; ``None`` for this process's
    own."""
    if not role:
        return None
    import botocore.session

    session = botocore.session.get_session()
    taken = session.create_client("sts").assume_role(
        RoleArn=role, RoleSessionName=f"strongroom-{report}"[:64], DurationSeconds=900
    )["Credentials"]
    session.set_credentials(taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])
    return session
