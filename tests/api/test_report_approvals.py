"""An approval binds: whatever differs later is refused, each by a rule of its own.

What a run binds cannot be changed through the service, and not by the service's role. So
each line of the matrix is tried twice: with what the approver says they saw, and with a row
that a superuser changed after the approval.
"""

from typing import Any

import pytest

from tests.reporting import (
    COLUMNS,
    KMS_KEY,
    PROGRAM,
    PROGRAM_CHANGED,
    RSA_KEY,
    approved,
    job,
    output,
    people,
    refusal,
    requested,
    running,
    stored,
)
from tests.serving import Serve, Server
from vault_service.client import RequestRefused
from vault_service.client.report_results import RunInfo

OTHER = '{"tokens":["tok_pan_' + "0" * 27 + '"]}'
MATRIX = [
    ("other_parameters", {"parameters": OTHER}),
    ("larger_cap", {"row_cap": 5}),
    ("other_row_cap", {"row_cap": 1}),
    ("other_recipient", {"recipient": KMS_KEY}),
    ("other_format", {"format": "json"}),
    ("other_period", {"period": "2026-12"}),
    ("other_expiry", {"expires_at": "2031-01-01T00:00:00Z"}),
    ("template_changed", {"template_hash": "0" * 64}),
]


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(program=PROGRAM)


def altered(server: Server, run: RunInfo, fields: dict[str, Any]) -> None:
    """Change the row as nobody but a superuser can."""
    if "parameters" in fields:
        server.query(
            "UPDATE strongroom.report_runs SET parameters = %s, parameters_sha256 ="
            " encode(sha256(convert_to(%s, 'UTF8')), 'hex') WHERE id = %s",
            *(fields["parameters"], fields["parameters"], run.id),
        )
        return
    [(name, value)] = fields.items()
    server.query(f"UPDATE strongroom.report_runs SET {name} = %s WHERE id = %s", value, run.id)


def refusals(server: Server, run: RunInfo) -> list[tuple[str, str, str]]:
    """Action, code and rule of what was recorded against a run, oldest first."""
    return [
        (event["action"], event["code"], event["detail"]["rule"])
        for event in reversed(server.caller("auditor").events())
        if event.get("detail", {}).get("run") == run.id and "rule" in event["detail"]
    ]


def test_nobody_approves_their_own_run(server: Server) -> None:
    run = requested(server, stored(server, 1, seed=20))
    with pytest.raises(RequestRefused) as caught:
        people(server, "compliance-officer").approve(run.id)
    assert refusal(caught) == ("access_denied", "self_approval")
    assert refusals(server, run) == [("approve_report", "access_denied", "self_approval")]
    assert people(server, "compliance-officer").run(run.id).state == "requested"


def test_nobody_approves_without_the_right(server: Server) -> None:
    run = requested(server, stored(server, 1, seed=21))
    for who in ("auditor", "checkout", "job:chargeback_file"):
        with pytest.raises(RequestRefused) as caught:
            people(server, who).approve(run.id)
        assert (caught.value.code, caught.value.errors) == ("access_denied", ())
    with pytest.raises(RequestRefused) as caught:
        people(server, "other-merchant").approve(run.id)
    assert caught.value.code == "not_found"


@pytest.mark.parametrize(("rule", "fields"), MATRIX, ids=[rule for rule, _ in MATRIX])
def test_what_was_seen_is_what_is_approved(
    server: Server, rule: str, fields: dict[str, Any]
) -> None:
    run = requested(server, stored(server, 1, seed=22), row_cap=3)
    lead = people(server, "compliance-lead")
    # The run allows more than the approver was shown.
    seen = fields if rule not in ("larger_cap", "other_row_cap") else {"row_cap": 8 - 2 * 3}
    if rule == "other_row_cap":
        seen = {"row_cap": 4}
    with pytest.raises(RequestRefused) as caught:
        lead.approve(run.id, binding=run.binding | seen)
    assert refusal(caught) == ("access_denied", rule)
    assert refusals(server, run)[-1] == ("approve_report", "access_denied", rule)
    assert lead.run(run.id).state == "requested"


@pytest.mark.parametrize(("rule", "fields"), MATRIX, ids=[rule for rule, _ in MATRIX])
def test_a_run_that_was_altered_after_its_approval_is_not_started(
    server: Server, rule: str, fields: dict[str, Any]
) -> None:
    period = f"2026-{[r for r, _ in MATRIX].index(rule) + 1:02}"
    run = approved(server, stored(server, 1, seed=23), row_cap=3, period=period)
    altered(server, run, fields if rule != "other_period" else {"period": "2027-01"})
    with pytest.raises(RequestRefused) as caught:
        job(server, "chargeback_file").start(run.order or "")
    assert refusal(caught) == ("access_denied", rule)
    assert refusals(server, run) == [
        ("report_order_refused", "access_denied", rule),
        ("report_failed", "access_denied", rule),
    ]


@pytest.mark.parametrize(("rule", "fields"), MATRIX[:-1], ids=[rule for rule, _ in MATRIX[:-1]])
def test_a_run_that_was_altered_while_it_ran_has_no_output(
    server: Server, rule: str, fields: dict[str, Any]
) -> None:
    period = f"2025-{[r for r, _ in MATRIX].index(rule) + 1:02}"
    client = running(server, stored(server, 1, seed=24), row_cap=3, period=period)
    run = client.run
    altered(server, run, fields if rule != "other_period" else {"period": "2027-02"})
    with pytest.raises(RequestRefused) as caught:
        client.finish(rows=1, columns=COLUMNS, **output(server, client))
    assert refusal(caught) == ("access_denied", rule)
    after = people(server, "compliance-lead").run(run.id)
    assert (after.state, after.rule, after.manifest) == ("failed", rule, None)


def test_without_an_approval_nothing_starts(server: Server) -> None:
    """The state says approved; the approval itself is missing, or the requester's own."""
    run = approved(server, stored(server, 1, seed=25))
    server.query("UPDATE strongroom.report_runs SET state = 'requested' WHERE id = %s", run.id)
    server.query("DELETE FROM strongroom.report_approvals WHERE run = %s", run.id)
    with pytest.raises(RequestRefused) as caught:
        job(server, "chargeback_file").start(run.order or "")
    assert refusal(caught) == ("access_denied", "not_approved")
    other = approved(server, stored(server, 1, seed=26))
    server.query(
        "UPDATE strongroom.report_approvals SET approver = 'compliance-officer' WHERE run = %s",
        other.id,
    )
    with pytest.raises(RequestRefused) as caught:
        job(server, "chargeback_file").start(other.order or "")
    assert refusal(caught) == ("access_denied", "self_approval")


def test_an_approval_ends(server: Server) -> None:
    run = approved(server, stored(server, 1, seed=27))
    server.query("UPDATE strongroom.report_approvals SET until = now() WHERE run = %s", run.id)
    with pytest.raises(RequestRefused) as caught:
        job(server, "chargeback_file").start(run.order or "")
    assert refusal(caught) == ("expired", "approval_expired")


def test_a_run_expires(server: Server) -> None:
    """Seen when it is looked at, and recorded; the same request makes a new run."""
    tokens = stored(server, 1, seed=28)
    run = requested(server, tokens)
    server.query("UPDATE strongroom.report_runs SET expires_at = now() WHERE id = %s", run.id)
    lead = people(server, "compliance-lead")
    with pytest.raises(RequestRefused) as caught:
        lead.approve(run.id)
    assert refusal(caught) == ("expired", "approval_expired")
    assert lead.run(run.id).state == "expired"
    assert refusals(server, run)[0] == ("report_expired", "expired", "approval_expired")
    assert requested(server, tokens).id != run.id


def test_a_report_that_changed_needs_a_new_run(serve: Serve) -> None:
    """Its code is another: runs that were asked for before are void."""
    server = serve(program=PROGRAM)
    tokens = stored(server, 1, seed=29)
    waiting = requested(server, tokens)
    ready = approved(server, tokens, period="2026-01")
    begun = running(server, tokens, period="2026-02")
    server.stop()
    server.program = PROGRAM_CHANGED
    server.start()
    with pytest.raises(RequestRefused) as caught:
        people(server, "compliance-lead").approve(waiting.id)
    assert refusal(caught) == ("access_denied", "template_changed")
    with pytest.raises(RequestRefused) as caught:
        job(server, "chargeback_file").start(ready.order or "")
    assert refusal(caught) == ("access_denied", "template_changed")
    with pytest.raises(RequestRefused) as caught:
        begun.reveal(tokens, "plain")
    assert caught.value.code == "access_denied"
    lead = people(server, "compliance-lead")
    assert (lead.run(begun.run.id).state, lead.run(begun.run.id).rule) == (
        "failed",
        "template_changed",
    )
    assert requested(server, tokens).id != waiting.id
    assert lead.run(waiting.id).state == "expired"


def test_what_a_run_binds_is_beyond_the_service(server: Server) -> None:
    """PCI-DSS 7.2.5: not even the service's role changes what was approved."""
    run = approved(server, stored(server, 1, seed=30))
    assert run.recipient == RSA_KEY
    for column in ("parameters", "row_cap", "recipient", "template_hash", "requester", "period"):
        rows = server.query(
            "SELECT has_column_privilege('strongroom_service', 'strongroom.report_runs', %s,"
            " 'UPDATE')",
            column,
        )
        assert rows == [(False,)]
    for column in ("binding", "approver", "until"):
        rows = server.query(
            "SELECT has_column_privilege('strongroom_service', 'strongroom.report_approvals',"
            " %s, 'UPDATE')",
            column,
        )
        assert rows == [(False,)]
