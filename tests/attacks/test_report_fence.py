"""What a job, or who holds its credential, cannot get beyond a run of its report."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.reporting import (
    COLUMNS,
    PROGRAM,
    PROGRAM_NOSY,
    RSA_KEY,
    approved,
    job,
    output,
    people,
    refusal,
    running,
    stored,
)
from tests.serving import ROOT, Serve, Server
from tests.synthetic import cards
from vault_service.client import RequestRefused
from vault_service.client.report_run import RunClient
from vault_service.domain.report_runs import RUN_HEADER


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(program=PROGRAM)


def reveal(
    server: Server,
    tokens: list[str],
    run: str | None,
    *,
    who: str = "job:chargeback_file",
    purpose: str = "chargeback",
    form: str = "plain",
) -> tuple[int, str | None]:
    """Status, and the rule that was broken."""
    headers = {} if run is None else {RUN_HEADER: run}
    body = {"purpose": purpose, "items": [{"token": t, "form": form} for t in tokens]}
    answer = server.caller(who).post("/v1/detokenize", body, headers=headers)
    errors = answer.json().get("errors") or [{"rule": None}]
    return answer.status_code, errors[0]["rule"]


def state(server: Server, client: RunClient) -> tuple[str, str | None]:
    run = people(server, "compliance-lead").run(client.run.id)
    return run.state, run.rule


def last(server: Server, action: str) -> dict[str, Any]:
    event: dict[str, Any] = server.caller("auditor").events(action=action)[0]
    return event


def test_a_job_without_a_run_reads_nothing(server: Server) -> None:
    tokens = stored(server, 1, seed=40)
    assert reveal(server, tokens, None) == (403, "no_run")
    assert last(server, "detokenize")["detail"]["rule"] == "no_run"
    purge = server.caller("job:retention_purge")
    assert purge.delete(f"/v1/tokens/{tokens[0]}").status_code == 403
    assert server.caller("checkout").get(f"/v1/tokens/{tokens[0]}").status_code == 200


def test_a_run_that_is_not_running(server: Server) -> None:
    tokens = stored(server, 1, seed=41)
    run = approved(server, tokens)
    assert reveal(server, tokens, run.id) == (403, "not_running")
    assert people(server, "compliance-lead").run(run.id).state == "approved"


def test_the_run_of_another_report(server: Server) -> None:
    """It is refused, and the other's run goes on."""
    tokens = stored(server, 1, seed=42)
    client = running(server, tokens)
    for who in ("job:subject_access", "job:breach_notification"):
        assert reveal(server, tokens, client.run.id, who=who) == (403, "other_job")
    with pytest.raises(RequestRefused) as caught:
        job(server, "access_review").start(client.run.order or "")
    assert refusal(caught) == ("access_denied", "other_job")
    assert state(server, client) == ("running", None)
    assert client.reveal(tokens, "plain") == cards(1, seed=42)


@pytest.mark.parametrize(
    ("asked", "rule", "period"),
    [
        ({"purpose": "operations"}, "other_purpose", "2026-01"),
        ({"form": "masked"}, "undeclared_form", "2026-02"),
        ({"form": "last4"}, "undeclared_form", "2026-03"),
    ],
)
def test_what_is_not_declared_fails_the_run(
    server: Server, asked: dict[str, str], rule: str, period: str
) -> None:
    tokens = stored(server, 2, seed=43)
    client = running(
        server, tokens, period=f"2026-0{len(rule) % 9 + 1}-{len(asked[next(iter(asked))]):02}"
    )
    assert reveal(server, tokens, client.run.id, **asked) == (403, rule)
    assert state(server, client) == ("failed", rule)
    refused, failed = last(server, "detokenize"), last(server, "report_failed")
    assert (refused["detail"]["rule"], refused["code"]) == (rule, "access_denied")
    assert (failed["detail"]["rule"], failed["principal"]) == (rule, "job:chargeback_file")
    assert reveal(server, tokens, client.run.id) == (403, "not_running")


def test_an_undeclared_class_fails_the_run(server: Server) -> None:
    """One among declared ones is enough, and nothing of the request is shown."""
    tokens = stored(server, 1, seed=44)
    [email] = server.caller("crm").tokenize("email", ["someone@example.com"])
    client = running(server, tokens)
    answer = server.caller("job:chargeback_file").post(
        "/v1/detokenize",
        {
            "purpose": "chargeback",
            "items": [{"token": t, "form": "plain"} for t in (*tokens, email)],
        },
        headers={RUN_HEADER: client.run.id},
    )
    assert answer.status_code == 403
    assert cards(1, seed=44)[0] not in answer.text
    assert state(server, client) == ("failed", "undeclared_class")
    other = running(server, tokens, period="2026-01")
    with pytest.raises(RequestRefused) as caught:
        list(other.tokens("email"))
    assert refusal(caught) == ("access_denied", "undeclared_class")
    assert state(server, other) == ("failed", "undeclared_class")


def test_rights_that_the_job_may_not_read_fail_the_run(serve: Serve) -> None:
    """Declared is not allowed: who may read the log is for the policies to say."""
    nosy = serve(program=PROGRAM_NOSY)
    client = running(nosy, stored(nosy, 1, seed=44))
    with pytest.raises(RequestRefused) as refused:
        client.rights()
    assert refusal(refused) == ("access_denied", "rights_denied")
    assert state(nosy, client) == ("failed", "rights_denied")
    event = last(nosy, "report_rights_read")
    assert (event["outcome"], event["detail"]["rule"]) == ("denied", "rights_denied")
    assert event["detail"]["run"] == client.run.id


def test_more_than_the_cap_fails_the_run(server: Server) -> None:
    tokens = stored(server, 6, seed=45)
    client = running(server, tokens[:5])
    assert client.reveal(tokens[:3], "plain") == cards(6, seed=45)[:3]
    # A repeat is not counted again.
    for _ in range(3):
        assert client.reveal(list(reversed(tokens[:3])), "plain")[0] == cards(6, seed=45)[2]
    assert people(server, "compliance-lead").run(client.run.id).revealed == 3
    assert reveal(server, tokens[3:], client.run.id) == (403, "row_cap_exceeded")
    assert state(server, client) == ("failed", "row_cap_exceeded")


def test_the_cap_holds_for_many_at_once(server: Server) -> None:
    """PCI-DSS 7.2: whatever the order, no more than five are ever shown."""
    tokens = stored(server, 8, seed=46)
    client = running(server, tokens[:5])
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(lambda token: reveal(server, [token], client.run.id), tokens)
        statuses = [status for status, _ in answers]
    assert statuses.count(200) <= 5
    assert state(server, client) == ("failed", "row_cap_exceeded")
    [(revealed,)] = server.query(
        "SELECT revealed FROM strongroom.report_runs WHERE id = %s", client.run.id
    )
    assert statuses.count(200) <= revealed <= 5


def test_an_output_beyond_what_is_declared(server: Server) -> None:
    tokens = stored(server, 1, seed=47)
    client = running(server, tokens)
    with pytest.raises(RequestRefused) as caught:
        client.finish(rows=6, columns=COLUMNS, **output(server, client))
    assert refusal(caught) == ("access_denied", "row_cap_exceeded")
    assert state(server, client) == ("failed", "row_cap_exceeded")
    other = running(server, tokens, period="2026-01")
    with pytest.raises(RequestRefused) as caught:
        other.finish(rows=1, columns=["token", "pan", "name"], **output(server, other))
    assert refusal(caught) == ("access_denied", "undeclared_column")
    assert state(server, other) == ("failed", "undeclared_column")


@pytest.mark.parametrize("location", ["../root.key", "/etc/passwd", "a/../b", ".hidden", "a//b"])
def test_an_output_elsewhere(server: Server, location: str) -> None:
    client = running(server, stored(server, 1, seed=48))
    told: dict[str, Any] = {"output_sha256": "0" * 64, "output_bytes": 1}
    told["output_location"] = location
    with pytest.raises(RequestRefused) as caught:
        client.finish(rows=1, columns=COLUMNS, **told)
    assert refusal(caught) == ("invalid_request", "format")
    client.fail("internal")


def test_an_altered_order_is_refused_and_recorded(server: Server) -> None:
    """And does the run no harm: garbage must not end it."""
    tokens = stored(server, 1, seed=49)
    run = approved(server, tokens)
    other = approved(server, tokens, period="2026-01")
    order = run.order or ""
    key = server.caller("job:chargeback_file")
    for forged in (
        order.replace('"row_cap":5', '"row_cap":9'),
        order.replace("compliance-officer", "compliance-lead"),
        order.replace("strongroom/report-order", "strongroom/report-manifest"),
        other.order,
        "nonsense",
        "",
    ):
        answer = key.post(f"/v1/reports/runs/{run.id}/start", {"order": forged, "holder": "h" * 16})
        assert (answer.status_code, answer.json()["errors"][0]["rule"]) == (403, "order_altered")
        event = last(server, "report_order_refused")
        assert (event["detail"]["run"], event["detail"]["rule"]) == (run.id, "order_altered")
    assert job(server, "chargeback_file").start(order).state == "running"


def test_another_tenant_has_no_part_in_a_run(server: Server) -> None:
    client = running(server, stored(server, 1, seed=50))
    other = server.caller("other-merchant")
    path = f"/v1/reports/runs/{client.run.id}"
    assert other.get("/v1/reports/runs").json()["runs"] == []
    unknown = f"/v1/reports/runs/run_{'0' * 26}"
    for suffix in ("", "/output", "/inventory"):
        answers = [other.get(each + suffix) for each in (path, unknown)]
        assert [answer.status_code for answer in answers] == [404, 404]
        bodies = [answer.json() for answer in answers]
        for body in bodies:
            del body["request_id"], body["receipt"]
        assert bodies[0] == bodies[1]
    start = {"order": client.run.order, "holder": "h" * 16}
    for suffix, body in (("/approve", {}), ("/reject", {}), ("/start", start)):
        assert other.post(path + suffix, body).status_code == 404


def test_the_requester_loses_the_right(serve: Serve) -> None:
    """The lesser of both rights: the job stops with the one it works for."""
    server = serve(program=PROGRAM)
    tokens = stored(server, 1, seed=51)
    client = running(server, tokens)
    ready = approved(server, tokens, period="2026-01")
    policies = server.directory / "policies"
    _copy_without_the_officers_right(policies)
    server.stop()
    server.environment = {"STRONGROOM_POLICY_DIR": str(policies)}
    server.start()
    assert reveal(server, tokens, client.run.id) == (403, "requester_denied")
    assert state(server, client) == ("failed", "requester_denied")
    with pytest.raises(RequestRefused) as caught:
        job(server, "chargeback_file").start(ready.order or "")
    assert refusal(caught) == ("access_denied", "requester_denied")


def _copy_without_the_officers_right(policies: Path) -> None:
    shutil.copytree(ROOT / "policies", policies)
    oversight = policies / "oversight.cedar"
    text = oversight.read_text()
    oversight.write_text(text.replace('== "run-reports" };', '== "runs-no-more" };'))


def test_the_header_is_read_strictly(server: Server) -> None:
    tokens = stored(server, 1, seed=52)
    for header in ("run_1", "4111111111111111", "run_" + "u" * 26, ""):
        status, rule = reveal(server, tokens, header)
        assert (status, rule) == (400, "format"), header
    # Who is no job needs no run, and none is looked for.
    service = server.caller("chargeback-service")
    body = {"purpose": "chargeback", "items": [{"token": tokens[0], "form": "plain"}]}
    answer = service.post("/v1/detokenize", body, headers={RUN_HEADER: "nonsense"})
    assert answer.status_code == 200


def test_a_purge_deletes_what_it_declares(server: Server) -> None:
    officer = people(server, "compliance-officer")
    [pan] = stored(server, 1, seed=53)
    [email] = server.caller("crm").tokenize("email", ["other@example.com"])
    run = officer.request_run("retention_purge", recipient=RSA_KEY)
    client = job(server, "retention_purge")
    client.start(run.order or "")
    assert client.delete([pan, pan]) == 1
    assert client.delete([pan]) == 0
    deleted = last(server, "delete_token")
    with pytest.raises(RequestRefused) as caught:
        client.delete([email])
    assert refusal(caught) == ("access_denied", "undeclared_class")
    assert deleted["detail"]["run"] == run.id
    assert server.caller("crm").get(f"/v1/tokens/{email}").status_code == 200
