"""Each report through the real service: asked for, approved where it must be, made by the
real runner, opened by its reader, its manifest verified offline; and what goes beyond its
definition stops before there is any output."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from reporting_jobs.context import Cell, Context, Output
from reporting_jobs.definitions import definitions
from reporting_jobs.reports import chargeback_file
from tests.jobs.conftest import RsaPair
from tests.jobs.report_world import NAMES, PEOPLE, World, lines
from tests.reporting import job, people, refusal
from tests.serving import Serve
from tests.synthetic import cards
from vault_service.client import RequestRefused

LIST: Final = "entry_id,name,birth_date\nun-1,Petrov Ivan,1970-01-02\n"


@pytest.fixture(scope="module")
def world(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory, reader: RsaPair) -> World:
    folder = tmp_path_factory.mktemp("reports")
    digest = reader.recipient.name.removeprefix("rsa:")
    (folder / f"{digest}.pem").write_text(reader.public)
    (folder / "sanctions.csv").write_text(LIST)
    started = datetime.now(UTC) - timedelta(minutes=1)
    found = World(serve_module(), folder, reader, started)
    found.store()
    return found


def test_the_list_of_reports_is_whole(world: World) -> None:
    """Nine of them; each is tested below."""
    told = {report.name: report for report in people(world.server, "auditor").reports()}
    assert set(told) == {name for name in definitions() if not name.startswith("tiny")}
    assert len(told) == 9
    assert told["sanctions_screening"].token_cap > told["sanctions_screening"].row_cap


def test_access_review(world: World) -> None:
    rows = world.rows("access_review")
    told = {(row["kind"], row["principal"], row["what"]): row for row in rows}
    assert told["revealed", "chargeback-service", "plain"]["now"] == 2
    assert ("idle_principal", "payout-service", "never active") in told
    assert ("idle_principal", "chargeback-service", "never active") not in told
    # Another tenant's principals are none of this one's business.
    assert "other-merchant" not in {row["principal"] for row in rows}
    unused = told["unused_grant", "payout-service", "payouts-reveal-iban"]
    assert unused["where"].startswith("reveal.cedar:")


def test_pci_inventory(world: World) -> None:
    rows = {row["data_class"]: row for row in world.rows("pci_inventory")}
    assert (rows["pan"]["tokens"], rows["pan"]["subjects"]) == (PEOPLE, PEOPLE + 1)
    assert rows["pan"]["wrapping_key"]
    # One birth date is about too few people to be shown.
    assert rows["date_of_birth"]["tokens"] is None


@pytest.mark.parametrize("report", ["pci_inventory", "access_review"])
def test_a_pdf_to_look_at(world: World, report: str) -> None:
    run = world.request(report, "pdf")
    assert world.make(run).state == "succeeded"
    assert world.opened(run).startswith(b"%PDF-")


def test_chargeback_file(world: World) -> None:
    rows = world.rows("chargeback_file", parameters={"tokens": [world.pans[3], world.pans[1]]})
    numbers = cards(PEOPLE, 1)
    assert [(row["token"], row["pan"]) for row in rows] == [
        (world.pans[3], numbers[3]),
        (world.pans[1], numbers[1]),
    ]


def test_subject_access(world: World) -> None:
    rows = world.rows("subject_access", parameters={"subject": "cus_0"})
    stored = {row["data_class"]: row["value"] for row in rows if row["record"] == "stored"}
    assert stored == {
        "pan": cards(PEOPLE, 1)[0],
        "person_name": NAMES[0],
        "email": "person0@mail.example",
        "date_of_birth": "1970-01-02",
    }
    handled = {(row["recipient"], row["action"]) for row in rows if row["record"] == "handled"}
    assert ("chargeback-service", "detokenize") in handled
    theirs = world.rows("subject_access", parameters={"subject": "cus_shared"})
    values = {row["value"] for row in theirs if row["record"] == "stored"}
    assert values == {cards(PEOPLE, 1)[0], "shared@mail.example"}


def test_breach_notification(world: World) -> None:
    """Everybody whom a revealed value belongs to is told of, the second owner of a card too."""
    rows = world.rows(
        "breach_notification",
        parameters={
            "principal": "chargeback-service",
            "from": world.started.isoformat(),
            "to": (datetime.now(UTC) + timedelta(minutes=1)).isoformat(),
        },
    )
    assert [(row["subject"], row["email"], row["exposed"]) for row in rows] == [
        ("cus_0", "person0@mail.example", "pan"),
        ("cus_1", "person1@mail.example", "pan"),
        ("cus_shared", "shared@mail.example", "pan"),
    ]
    assert rows[0]["person_name"] == NAMES[0]


def test_sanctions_screening(world: World) -> None:
    """All names are read, whatever few rows the requester wants; only hits leave."""
    run = world.request("sanctions_screening", row_cap=1)
    assert world.make(run).state == "succeeded"
    text = world.opened(run)
    [hit] = lines(text)
    assert (hit["token"], hit["subject"], hit["entry"]) == (world.names[0], "cus_0", "un-1")
    assert not any(name.encode() in text for name in NAMES)
    read = people(world.server, "compliance-officer").run(run.id).revealed
    assert read == PEOPLE + 1


def test_an_input_is_a_plain_name(world: World) -> None:
    for name in ("../sanctions.csv", "a/b.csv", ".hidden"):
        with pytest.raises(RequestRefused) as caught:
            world.request("sanctions_screening", parameters={"sanctions_list": name})
        assert refusal(caught) == ("invalid_request", "input_name")


def test_retention_purge(world: World) -> None:
    [old, young] = world.server.caller("crm").tokenize("phone", ["+4930123456", "+4930654321"])
    aged = "UPDATE strongroom.tokens SET created_at = now() - interval '20 years' WHERE token = %s"
    world.server.query(aged, old)
    listed = world.rows("retention_purge")
    assert [(row["token"], row["outcome"]) for row in listed] == [(old, "overdue")]
    purged = world.rows("retention_purge", parameters={"mode": "purge"})
    assert [(row["token"], row["outcome"]) for row in purged] == [(old, "deleted")]
    support = world.server.caller("support-agent")
    assert support.get(f"/v1/tokens/{old}").status_code == 404
    assert support.get(f"/v1/tokens/{young}").status_code == 200


def test_audit_verify(world: World) -> None:
    rows = world.rows("audit_verify", parameters={"verifier_key": world.key.strip()})
    facts = {row["name"]: row["text"] for row in rows}
    assert facts["verdict"] == "verified"
    assert facts["key_from"] == "parameter"
    assert int(facts["events"]) > PEOPLE


def test_audit_seal(world: World) -> None:
    [row] = world.rows("audit_seal")
    assert row["verdict"] == "sealing"
    assert row["verifier_key"] == world.key.strip()
    assert row["leaves"] > 0


# "Must show" 5: beyond the definition it stops before there is any output, on record.


def test_an_undeclared_class_stops_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(context: Context) -> Output:
        def rows() -> Iterator[Sequence[Cell]]:
            for page in context.vault.tokens("email"):
                yield from ((entry.token, None, True) for entry in page)

        return Output(rows())

    monkeypatch.setattr(chargeback_file, "make", greedy)
    run = world.request("chargeback_file", parameters={"tokens": [world.pans[5]]})
    outcome = world.make(run)
    assert (outcome.state, outcome.code) == ("failed", "access_denied")
    assert world.ended(run) == ("failed", "access_denied", "undeclared_class")
    assert world.outputs(run) == []
    assert [each["rule"] for each in world.failed(run)] == ["undeclared_class"]


def test_undeclared_rights_stop_the_run(world: World) -> None:
    run = world.request("pci_inventory", period="2026-02")
    client = job(world.server, "pci_inventory")
    client.start(run.order or "")
    with pytest.raises(RequestRefused) as caught:
        client.rights()
    assert refusal(caught) == ("access_denied", "undeclared_rights")
    assert world.ended(run) == ("failed", "access_denied", "undeclared_rights")
    assert [each["rule"] for each in world.failed(run)] == ["undeclared_rights"]


def test_more_tokens_than_the_cap_stop_the_run(world: World) -> None:
    run = world.request("chargeback_file", row_cap=2, parameters={"tokens": world.pans[6:9]})
    outcome = world.make(run)
    assert (outcome.state, outcome.code) == ("failed", "row_cap_exceeded")
    assert world.ended(run) == ("failed", "access_denied", "row_cap_exceeded")
    assert world.outputs(run) == []
    assert [each["rule"] for each in world.failed(run)] == ["row_cap_exceeded"]


def test_more_rows_than_the_cap_stop_the_run(world: World) -> None:
    run = world.request("access_review", row_cap=1, period="2026-03")
    outcome = world.make(run)
    assert (outcome.state, outcome.code) == ("failed", "row_cap_exceeded")
    assert world.ended(run)[:2] == ("failed", "too_many_items")
    assert world.outputs(run) == []
    assert len(world.failed(run)) == 1


def test_among_is_bounded_and_for_tokens_alone(world: World) -> None:
    run = world.request("chargeback_file", parameters={"tokens": [world.pans[10]]})
    client = job(world.server, "chargeback_file")
    client.start(run.order or "")
    page = next(client.tokens("pan", among=[world.pans[0], world.names[0], world.pans[1]]))
    found = sorted((entry.token, entry.subject) for entry in page)
    assert found == sorted(
        [(world.pans[0], "cus_0"), (world.pans[0], "cus_shared"), (world.pans[1], "cus_1")]
    )
    caller = world.server.caller("job:chargeback_file")
    for fields, rule in (
        ({"among": []}, "count"),
        ({"among": [world.pans[0]] * 1001}, "count"),
        ({"among": ["no token"]}, "token"),
        ({"among": cards(1, 5)}, "no_card_number"),
        ({"among": world.pans, "subjects": ["cus_1"]}, "exclusive"),
    ):
        body = {"data_class": "pan", **fields}
        answer = caller.post(f"/v1/reports/runs/{run.id}/tokens", body)
        assert (answer.status_code, answer.json()["errors"][0]["rule"]) == (400, rule)
        assert cards(1, 5)[0] not in answer.text
