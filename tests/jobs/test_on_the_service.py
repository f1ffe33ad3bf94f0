"""A job on the real service: from the request to a file that its reader opens."""

from pathlib import Path

import pytest

from reporting_jobs import settings, wiring
from reporting_jobs.failures import OrderRefused
from reporting_jobs.manifest import verify
from tests.fakes.report_vault import altered
from tests.jobs.conftest import RsaPair, opened
from tests.serving import Serve, Server
from tests.synthetic import cards
from vault_service.client import Client
from vault_service.client.reports import Reporting
from vault_service.domain.notes import VerifierKey
from vault_service.domain.report_notes import open_manifest


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve()


def job(server: Server, folder: Path, recipients: Path) -> settings.JobSettings:
    tokens = folder / "tokens"
    tokens.mkdir()
    (tokens / "pci_inventory").write_text(server.key("job:pci_inventory"))
    key = server.caller("auditor").get("/v1/audit/key").text
    return settings.load(
        {
            "STRONGROOM_URL": server.url,
            "STRONGROOM_LOG_KEY": key,
            "STRONGROOM_REPORT_OUTPUTS": str(server.home / "reports"),
            "STRONGROOM_REPORT_RECIPIENTS": str(recipients),
            "STRONGROOM_REPORT_TOKENS": str(tokens),
        }
    )


def test_a_report_is_made_sealed_and_signed_for(
    server: Server, tmp_path: Path, recipients: Path, reader: RsaPair
) -> None:
    server.caller("checkout").tokenize("pan", cards(30, 1))
    with Client(server.url, server.key("compliance-officer")) as client:
        reporting = Reporting(client)
        run = reporting.request_run("pci_inventory", recipient=reader.recipient.name, format="csv")
        assert run.order is not None
        made = job(server, tmp_path, recipients)
        runner = wiring.runner(made)
        with pytest.raises(OrderRefused):
            runner.run(altered(run.order))
        outcome = runner.run(run.order)
        assert (outcome.state, outcome.repeated) == ("succeeded", False)
        assert runner.run(run.order).repeated
        done = reporting.run(run.id)
        reporting.output(run.id, tmp_path / "sealed")
    assert done.manifest is not None
    assert done.rows == outcome.rows
    key = VerifierKey.parse(made.key.encode())
    with (tmp_path / "sealed").open("rb") as sealed:
        manifest, _ = verify(sealed, done.manifest, key)
    assert manifest == open_manifest(done.manifest, key)
    text = opened((tmp_path / "sealed").read_bytes(), run.order, private_key=reader.private)
    assert b"pan" in text
    refused = server.caller("auditor").events(action="report_order_refused")
    assert [event["detail"]["run"] for event in refused] == [run.id]
