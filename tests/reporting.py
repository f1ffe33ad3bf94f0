"""Reports of the tests' own, and a service that knows them.

``serve(program=PROGRAM)`` starts the real service on these definitions; the names are those
of sample principals (``job:<name>``), whose rights apply.
"""

import hashlib
from dataclasses import replace
from typing import Any, Final

import pytest
from fastapi import FastAPI

from tests.serving import Server
from tests.synthetic import cards
from vault_service.asgi import create as create_service
from vault_service.client import Client, RequestRefused, Retry
from vault_service.client.report_results import RunInfo
from vault_service.client.report_run import RunClient
from vault_service.client.reports import Reporting
from vault_service.domain.report_parts import Split
from vault_service.domain.reports import (
    Classification,
    Column,
    Format,
    Limits,
    Parameter,
    ParameterType,
    Reading,
    ReportDefinition,
)

COLUMNS: Final = ["token", "pan"]
KMS_KEY: Final = "arn:aws:kms:eu-central-1:111122223333:key/0000-1111"
RSA_KEY: Final = "rsa:" + "ab" * 32
DIGEST: Final = "cd" * 32

_CHARGEBACK = ReportDefinition(
    name="chargeback_file",
    title="Chargeback file",
    description="Card numbers of disputed orders",
    owner="payments",
    purpose="chargeback",
    reads=(Reading("pan", "plain"),),
    columns=(
        Column("token", Classification.TOKEN, "The token"),
        Column("pan", Classification.CARDHOLDER, "The card number"),
    ),
    limits=Limits(row_cap=5),
    formats=(Format.CSV, Format.JSON),
    parameters=(
        Parameter("tokens", ParameterType.TOKENS, "Of which cards", lowest=1, highest=5),
        Parameter("matter", ParameterType.TEXT, "The dispute", required=False),
    ),
    source_digest="00",
)
_REVIEW = ReportDefinition(
    name="access_review",
    title="Access review",
    description="Who may do what",
    owner="compliance",
    purpose="operations",
    reads=(),
    columns=(Column("count", Classification.FIGURE, "How many"),),
    limits=Limits(row_cap=1000),
    formats=(Format.PDF, Format.CSV),
    parameters=(
        Parameter("since", ParameterType.DATE, "From when", required=False),
        Parameter("top", ParameterType.INTEGER, "How many", default=10, lowest=1, highest=99),
        Parameter(
            "detail", ParameterType.CHOICE, "How much", default="short", choices=("short", "long")
        ),
        Parameter("at", ParameterType.TIME, "As of", required=False),
        Parameter("who", ParameterType.PRINCIPAL, "Of whom", required=False),
    ),
    schedule="rate(1 day)",
    source_digest="00",
)
_PURGE = ReportDefinition(
    name="retention_purge",
    title="Retention purge",
    description="Deletes what has outlived its retention",
    owner="compliance",
    purpose="operations",
    reads=(Reading("pan", "masked"),),
    columns=(Column("deleted", Classification.FIGURE, "How many"),),
    limits=Limits(row_cap=100),
    formats=(Format.JSON,),
    schedule="rate(1 day)",
    source_digest="00",
)
_BREACH = ReportDefinition(
    name="breach_notification",
    title="Breach notification",
    description="Whom to notify",
    owner="compliance",
    purpose="breach_notification",
    reads=(Reading("email", "plain"), Reading("phone", "plain")),
    columns=(Column("email", Classification.PERSONAL, "Where to write to"),),
    limits=Limits(row_cap=50),
    formats=(Format.CSV,),
    schedule="rate(1 day)",
    source_digest="00",
)

_SCREENING = ReportDefinition(
    name="sanctions_screening",
    title="Screening",
    description="Who is on a list",
    owner="compliance",
    purpose="regulatory_report",
    reads=(Reading("person_name", "plain"),),
    columns=(Column("token", Classification.TOKEN, "The token of a name"),),
    limits=Limits(row_cap=12),
    formats=(Format.CSV, Format.JSON, Format.PARQUET),
    approval=True,
    split=Split("person_name", 4),
    source_digest="00",
)

DEFINITIONS: Final = {d.name: d for d in (_CHARGEBACK, _REVIEW, _PURGE, _BREACH, _SCREENING)}
CHANGED: Final = {
    name: replace(definition, source_digest="01") for name, definition in DEFINITIONS.items()
}
"""The same reports made by other code."""


NOSY: Final = {"chargeback_file": replace(_CHARGEBACK, reads_rights=True)}
"""A report that declares that it reads rights, whose job the policies do not let read the log."""


def create() -> FastAPI:
    """The service on these reports."""
    return create_service(definitions=DEFINITIONS)


def create_changed() -> FastAPI:
    """The service after the reports have changed."""
    return create_service(definitions=CHANGED)


def create_nosy() -> FastAPI:
    """The service on the report that reads what its job may not."""
    return create_service(definitions=NOSY)


_UVICORN: Final = (
    "import os, uvicorn; uvicorn.run('tests.reporting:{}', factory=True, host='127.0.0.1',"
    " port=int(os.environ['STRONGROOM_PORT']), access_log=False, log_config=None)"
)
PROGRAM: Final = _UVICORN.format("create")
PROGRAM_CHANGED: Final = _UVICORN.format("create_changed")
PROGRAM_NOSY: Final = _UVICORN.format("create_nosy")
_ONCE: Final = Retry(attempts=1)


def people(server: Server, principal: str) -> Reporting:
    """Reports as one principal sees them; nothing is tried twice."""
    return Reporting(_client(server, principal))


def job(server: Server, name: str, holder: str | None = None) -> RunClient:
    """A process of the report's job; nothing is tried twice."""
    return RunClient(_client(server, f"job:{name}"), holder=holder)


def _client(server: Server, principal: str) -> Client:
    return server.closing(Client(server.url, server.key(principal), retry=_ONCE))


def refusal(caught: pytest.ExceptionInfo[RequestRefused]) -> tuple[str, str]:
    """Code and rule."""
    return caught.value.code, caught.value.errors[0].rule


def stored(server: Server, count: int, seed: int, **fields: Any) -> list[str]:
    return server.caller("checkout").tokenize("pan", cards(count, seed=seed), **fields)


def requested(server: Server, tokens: list[str], **fields: Any) -> RunInfo:
    officer = people(server, "compliance-officer")
    wanted = {"recipient": RSA_KEY, "parameters": {"tokens": tokens}} | fields
    return officer.request_run("chargeback_file", **wanted)


def approved(server: Server, tokens: list[str], **fields: Any) -> RunInfo:
    run = requested(server, tokens, **fields)
    return people(server, "compliance-lead").approve(run.id, binding=run.binding)


def running(server: Server, tokens: list[str], **fields: Any) -> RunClient:
    order = approved(server, tokens, **fields).order
    assert order is not None
    client = job(server, "chargeback_file")
    client.start(order)
    return client


def output(server: Server, client: RunClient, content: bytes = b"sealed") -> dict[str, Any]:
    """Lay a sealed output where the job would; what finish is told of it."""
    location = f"{client.run.id}/output.sealed"
    path = server.home / "reports" / location
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return {
        "output_sha256": hashlib.sha256(content).hexdigest(),
        "output_bytes": len(content),
        "output_location": location,
    }
