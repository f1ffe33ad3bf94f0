"""A report over many tokens beside batch detokenize of the same tokens.

The report's job is a process of its own; service, PostgreSQL and job share the machine, as
service and load generator do.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench import cold_start
from bench.figures import BATCH, CALLERS, Figures, ReportRun
from bench.load import drive, request
from bench.pinned import finished
from bench.service import Service, database, running
from bench.values import addresses, detokenize_body, tokenize_body
from reporting_jobs.recipients import RsaRecipient, rsa_recipient
from vault_service.client import Client
from vault_service.client.reports import Reporting
from vault_service.domain.report_runs import RunState

DETOKENIZED: Final = "batch detokenize, addresses"
ROWS: Final = "rows of a report"
REPORT: Final = "breach_notification"
SERVICE: Final = "bench.report_service"
"""What is to run as the service, so that it knows the report."""
_SLICE: Final = 100
"""Batches that are in this process's memory at once."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """What jobs are given: settings, with credentials, and a recipient."""

    environ: Mapping[str, str]
    recipient: RsaRecipient


def all_figures(folder: Path, tokens: int, runs: int, starts: int, figures: Figures) -> None:
    """Measure on a database of its own below ``folder``, with the cold starts beside."""
    with database(folder / "home", "reports") as store, running(store, module=SERVICE) as service:
        jobs = prepared(service, folder, (REPORT, cold_start.REPORT))
        measure(service, jobs, tokens, runs, figures)
        figures.cold_start = cold_start.measure(jobs.environ, folder, starts)


def measure(service: Service, jobs: Jobs, tokens: int, runs: int, figures: Figures) -> None:
    """Store ``tokens`` addresses; then reveal them all in batches, and in a report, ``runs``
    times in turn (5,000,000 rows a day are the job's budget)."""
    stored = list(_stored(service, tokens))
    service.database.vacuum()
    for number in range(runs):
        seconds = 0.0
        for groups in _slices(stored):
            bodies = [
                request("/v1/detokenize", service.key, detokenize_body(group), service.port)
                for group in groups
            ]
            load = drive(service.port, bodies, CALLERS)
            if load.unexpected:
                raise RuntimeError(f"unexpected statuses {load.unexpected}")
            seconds += load.seconds
        figures.rate(DETOKENIZED, tokens / seconds)
        run = _run(service, jobs, number)
        if run.rows != tokens:
            raise RuntimeError(f"{run.rows} rows of {tokens} tokens")
        figures.rate(ROWS, run.rows / run.job.seconds)
        figures.reports.append(run)
        print(
            f"  job: {run.job.cpu_seconds:.1f} s of a processor, {run.job.peak_mib:.0f} MiB",
            file=sys.stderr,
            flush=True,
        )


def prepared(service: Service, folder: Path, reports: tuple[str, ...]) -> Jobs:
    """Settings of the jobs of these reports, whose outputs go to the service's own folder."""
    key = rsa.generate_private_key(65537, 3072).public_key()
    recipient = rsa_recipient(
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    )
    recipients, credentials = folder / "recipients", folder / "credentials"
    recipients.mkdir()
    credentials.mkdir(mode=0o700)
    name = recipient.name.removeprefix("rsa:")
    (recipients / f"{name}.pem").write_bytes(recipient.public_key)
    for report in reports:
        (credentials / report).write_text(service.issue_key(f"job:{report}"))
    with Client(service.url, service.issue_key("auditor")) as client:
        log_key = client.audit_key()
    return Jobs(
        {
            "STRONGROOM_URL": service.url,
            "STRONGROOM_LOG_KEY": log_key,
            "STRONGROOM_REPORT_OUTPUTS": str(service.database.home / "reports"),
            "STRONGROOM_REPORT_RECIPIENTS": str(recipients),
            "STRONGROOM_REPORT_RECIPIENT": recipient.name,
            "STRONGROOM_REPORT_TOKENS": str(credentials),
        },
        recipient,
    )


def _stored(service: Service, tokens: int) -> Iterator[str]:
    values = addresses(tokens)
    while bodies := [
        request("/v1/tokenize", service.key, tokenize_body(batch, "email"), service.port)
        for _ in range(_SLICE)
        if (batch := list(islice(values, BATCH)))
    ]:
        load = drive(service.port, bodies, CALLERS, keep=True)
        if load.unexpected:
            raise RuntimeError(f"unexpected statuses {load.unexpected}")
        for answer in load.answers:
            for item in json.loads(answer.partition(b"\r\n\r\n")[2])["items"]:
                yield item["token"]


def _slices(stored: list[str]) -> Iterator[list[list[str]]]:
    for at in range(0, len(stored), BATCH * _SLICE):
        part = stored[at : at + BATCH * _SLICE]
        yield [part[start : start + BATCH] for start in range(0, len(part), BATCH)]


def _run(service: Service, jobs: Jobs, number: int) -> ReportRun:
    officer, lead = (service.issue_key(f"compliance-{who}") for who in ("officer", "lead"))
    with Client(service.url, officer) as client, Client(service.url, lead) as other:
        asked = Reporting(client).request_run(
            REPORT,
            recipient=jobs.recipient.name,
            format="csv",
            period=f"2026-01-{number + 1:02d}",
        )
        order = Reporting(other).approve(asked.id, binding=asked.binding).order
        done = finished(
            ["-m", "bench.report_job"],
            {**service.environ, **jobs.environ},
            given=(order or "").encode(),
        )
        run = Reporting(client).run(asked.id)
    if run.state != RunState.SUCCEEDED or run.rows is None or run.output_bytes is None:
        raise RuntimeError(f"the run {run.state}: {run.code}")
    return ReportRun(run.rows, run.output_bytes, done)
