"""Reports over HTTP: from the request over the approval to the signed manifest."""

from pathlib import Path
from typing import Any

import pytest

from tests.reporting import (
    COLUMNS,
    DEFINITIONS,
    KMS_KEY,
    PROGRAM,
    RSA_KEY,
    job,
    output,
    people,
    refusal,
    requested,
    running,
    stored,
)
from tests.serving import Serve, Server
from tests.synthetic import cards
from vault_service.client import RequestRefused
from vault_service.client.report_results import RunInfo
from vault_service.domain.notes import VerifierKey
from vault_service.domain.report_notes import open_manifest, open_order


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(program=PROGRAM)


def test_from_the_request_to_the_signed_manifest(server: Server, tmp_path: Path) -> None:
    values = cards(3, seed=1)
    tokens = server.caller("checkout").tokenize("pan", values)
    run = requested(server, tokens, row_cap=3)
    assert (run.state, run.created, run.needs_approval, run.order) == (
        *("requested", True, True),
        None,
    )
    lead = people(server, "compliance-lead")
    accepted = lead.approve(run.id, binding=run.binding)
    assert (accepted.state, accepted.approver) == ("approved", "compliance-lead")
    client = job(server, "chargeback_file")
    key = VerifierKey.parse(client.verifier_key())
    assert accepted.order is not None
    order = open_order(accepted.order, key)
    assert (order.run, order.requester, order.purpose) == (
        *(run.id, "compliance-officer"),
        "chargeback",
    )
    assert client.start(accepted.order).state == "running"
    assert client.heartbeat().lease_until is not None
    assert client.reveal(tokens, "plain") == values
    told = output(server, client, b"only the recipient reads this")
    done = client.finish(rows=3, columns=COLUMNS, **told)
    assert done.state == "succeeded"
    assert done.manifest is not None
    manifest = open_manifest(done.manifest, key)
    assert (manifest.rows, manifest.output_sha256) == (3, told["output_sha256"])
    assert (manifest.requester, manifest.approver) == ("compliance-officer", "compliance-lead")
    assert [(c.name, c.classification) for c in manifest.columns] == [
        ("token", "token"),
        ("pan", "cardholder"),
    ]
    events = server.caller("auditor").events()
    ids = [event["id"] for event in events]
    mine = [
        event["action"]
        for event in reversed(events)
        if event.get("detail", {}).get("run") == run.id
    ]
    assert mine == [
        "run_report",
        "approve_report",
        "report_started",
        "detokenize",
        "report_succeeded",
    ]
    assert ids.index(manifest.audit.last) < ids.index(manifest.audit.first)
    for who in ("compliance-officer", "compliance-lead"):
        path = tmp_path / who
        assert people(server, who).output(run.id, path) == len(b"only the recipient reads this")
        assert path.read_bytes() == b"only the recipient reads this"
    with pytest.raises(RequestRefused) as caught:
        people(server, "auditor").output(run.id, tmp_path / "auditor")
    assert caught.value.code == "not_found"


def test_the_same_request_finds_the_run(server: Server) -> None:
    tokens = stored(server, 2, seed=2)
    first = requested(server, tokens)
    again = requested(server, tokens)
    assert (again.id, again.created) == (first.id, False)
    for other in ({"period": "2026-11"}, {"format": "json"}, {"recipient": KMS_KEY}):
        assert requested(server, tokens, **other).id != first.id
    assert requested(server, tokens[:1]).id != first.id
    with pytest.raises(RequestRefused) as caught:
        requested(server, tokens, row_cap=2)
    assert refusal(caught) == ("invalid_request", "other_row_cap")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"parameters": {}}, ("parameters.tokens", "required")),
        ({"parameters": {"tokens": [], "nonsense": 1}}, ("parameters", "unknown_field")),
        ({"parameters": {"tokens": "tok_pan_x"}}, ("parameters.tokens", "type")),
        ({"parameters": {"tokens": ["tok_pan_x"]}}, ("parameters.tokens", "token")),
        ({"parameters": {"tokens": ["4111111111111111"]}}, ("parameters.tokens", "no_card_number")),
        ({"recipient": "arn:aws:kms:eu-central-1:111122223333:alias/x"}, ("recipient", "format")),
        ({"recipient": "somebody"}, ("recipient", "format")),
        ({"row_cap": 6}, ("row_cap", "range")),
        ({"format": "pdf"}, ("format", "enum")),
        ({"period": "yesterday"}, ("period", "format")),
        ({"expires_at": "2020-01-01T00:00:00Z"}, ("expires_at", "range")),
        ({"expires_at": "2920-01-01T00:00:00Z"}, ("expires_at", "range")),
    ],
)
def test_a_request_that_breaks_a_rule(
    server: Server, fields: dict[str, Any], named: tuple[str, str]
) -> None:
    with pytest.raises(RequestRefused) as caught:
        requested(server, ["tok_pan_" + "0" * 27], **fields)
    assert caught.value.code == "invalid_request"
    assert named in [(error.field, error.rule) for error in caught.value.errors]
    assert "4111111111111111" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("since", "25.11.2026", "type"),
        ("at", "noon", "type"),
        ("top", 100, "range"),
        ("top", "10", "type"),
        ("top", True, "type"),
        ("detail", "all", "enum"),
        ("who", "4111 1111 1111 1111", "no_card_number"),
        ("who", "cvv=123", "no_authentication_data"),
        ("who", "", "length"),
    ],
)
def test_a_parameter_that_breaks_its_rule(server: Server, name: str, value: Any, rule: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        people(server, "compliance-officer").request_run(
            "access_review", recipient=RSA_KEY, parameters={name: value}
        )
    assert caught.value.code == "invalid_request"
    assert [(e.field, e.rule) for e in caught.value.errors] == [(f"parameters.{name}", rule)]


def test_parameters_have_one_spelling_and_their_defaults(server: Server) -> None:
    officer = people(server, "compliance-officer")
    one = officer.request_run(
        "access_review",
        recipient=RSA_KEY,
        parameters={"at": "2026-11-25T01:00:00+01:00", "top": 10},
    )
    other = officer.request_run(
        "access_review", recipient=RSA_KEY, parameters={"at": "2026-11-25T00:00:00Z"}
    )
    assert one.parameters == {"at": "2026-11-25T00:00:00Z", "detail": "short", "top": 10}
    assert other.id == one.id
    assert one.order is not None  # nobody has to approve it


def test_what_there_is_and_what_one_may_do(server: Server) -> None:
    rights = {
        "compliance-officer": (True, False),
        "compliance-lead": (False, True),
        "auditor": (False, False),
    }
    hashes = {name: found.template_hash() for name, found in DEFINITIONS.items()}
    for who, may in rights.items():
        found = {report.name: report for report in people(server, who).reports()}
        assert set(found) == set(DEFINITIONS)
        assert {(r.may_run, r.may_approve) for r in found.values()} == {may}
        assert {name: report.template_hash for name, report in found.items()} == hashes


def test_who_is_told_of_a_run(server: Server) -> None:
    run = requested(server, stored(server, 1, seed=4))
    for who in ("compliance-officer", "compliance-lead", "job:chargeback_file"):
        assert people(server, who).run(run.id).id == run.id
        assert run.id in [found.id for found in people(server, who).runs(limit=1)]
    for who in ("auditor", "checkout", "job:access_review", "other-merchant"):
        with pytest.raises(RequestRefused) as caught:
            people(server, who).run(run.id)
        assert caught.value.code == "not_found"
        assert run.id not in [found.id for found in people(server, who).runs()]
    waiting = people(server, "compliance-lead").runs(state="requested", report="chargeback_file")
    assert run.id in [found.id for found in waiting]


def test_who_may_not_run_a_report(server: Server) -> None:
    for who in ("compliance-lead", "checkout", "job:chargeback_file"):
        with pytest.raises(RequestRefused) as caught:
            people(server, who).request_run(
                "chargeback_file", recipient=RSA_KEY, parameters={"tokens": ["tok_pan_" + "0" * 27]}
            )
        assert caught.value.code == "access_denied"
    [event, *_] = server.caller("auditor").events(action="run_report", outcome="denied")
    assert event["detail"]["report"]["name"] == "chargeback_file"


def test_a_rejected_run_is_not_made(server: Server) -> None:
    tokens = stored(server, 1, seed=5)
    run = requested(server, tokens)
    lead = people(server, "compliance-lead")
    assert lead.reject(run.id).state == "rejected"
    with pytest.raises(RequestRefused) as caught:
        lead.approve(run.id)
    assert refusal(caught) == ("invalid_request", "not_waiting")
    assert requested(server, tokens).id != run.id


def test_a_standing_approval_for_a_schedule(server: Server) -> None:
    """What is alike but for the period needs no other approval; anything else does."""
    lead = people(server, "compliance-lead")
    scheduled = people(server, "job:breach_notification")

    def due(**fields: Any) -> RunInfo:
        wanted = {"recipient": RSA_KEY} | fields
        return scheduled.request_run("breach_notification", **wanted)

    first = due(period="2026-11-24")
    assert first.state == "requested"
    lead.approve(first.id, binding=first.binding, until="2026-12-24T00:00:00Z")
    second = due(period="2026-11-25")
    assert (second.state, second.approver) == ("approved", "compliance-lead")
    assert job(server, "breach_notification").start(second.order or "").state == "running"
    for other in ({"recipient": KMS_KEY}, {"row_cap": 49}):
        assert due(period="2026-11-26", **other).state == "requested"
    [held] = [
        standing
        for report in lead.reports()
        if report.name == "breach_notification"
        for standing in report.standing_approvals
    ]
    lead.withdraw(held.id)
    assert due(period="2026-11-27").state == "requested"
    with pytest.raises(RequestRefused) as caught:
        lead.withdraw(held.id)
    assert caught.value.code == "not_found"


def test_an_output_that_was_changed_breaks_off(server: Server, tmp_path: Path) -> None:
    client = running(server, stored(server, 1, seed=6))
    told = output(server, client, b"made")
    client.finish(rows=1, columns=COLUMNS, **told)
    (server.home / "reports" / told["output_location"]).write_bytes(b"forged")
    with pytest.raises(RequestRefused) as caught:
        people(server, "compliance-officer").output(client.run.id, tmp_path / "got")
    assert caught.value.code == "internal"
