"""Receipts, checkpoint and key of the log, on the real service: verified as by an auditor."""

import json

import pytest

from tests.auditing import pinned_key, proof, recorded, tokenize
from tests.calling import Caller
from tests.serving import Serve, Server
from tests.synthetic import cards
from vault_service.domain.checkpoints import open_checkpoint
from vault_service.domain.notes import VerifierKey
from vault_service.verifier.findings import Verdict
from vault_service.verifier.receipts import verify_receipt

NOBODYS = "evt_" + "0" * 26


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(workers=1)


@pytest.fixture(scope="module")
def auditor(server: Server) -> Caller:
    return server.caller("auditor")


@pytest.fixture(scope="module")
def key(auditor: Caller) -> VerifierKey:
    return pinned_key(auditor)


def test_a_receipt_becomes_a_proof(server: Server, auditor: Caller, key: VerifierKey) -> None:
    checkout, service = server.caller("checkout"), server.caller("chargeback-service")
    token, made = tokenize(checkout, 201, subject="cus_201")
    shown = service.detokenize([token], "chargeback", case="CB-201").json()
    for event_id, maker, action, purpose in (
        (made, checkout, "tokenize", None),
        (shown["receipt"]["event_id"], service, "detokenize", "chargeback"),
    ):
        for caller in (maker, auditor):
            answer = proof(caller, event_id)
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
            report = verify_receipt(answer.content, key)
            assert report.verdict is Verdict.VERIFIED, report.findings
            assert report.event is not None
            assert (report.event.id, report.event.action) == (event_id, action)
            assert (report.event.purpose, report.event.tokens) == (purpose, 1)
            told = recorded(auditor, answer)
            assert (told["action"], told["outcome"]) == ("read_audit", "ok")
            policies = ["auditors-read-the-log"] if caller is auditor else []
            assert told["detail"] == {"policies": policies, "view": "proof", "event": event_id}
            assert told["item_count"] == 1


def test_every_event_of_a_log_has_a_proof(
    server: Server, auditor: Caller, key: VerifierKey
) -> None:
    """Also those that nobody holds a receipt of, for who may read them."""
    for found in auditor.events()[:5]:
        report = verify_receipt(proof(auditor, found["id"]).content, key)
        assert report.verdict is Verdict.VERIFIED
        assert report.event is not None
        assert report.event.id == found["id"]


def test_of_others_events_not_even_the_existence_is_told(server: Server, auditor: Caller) -> None:
    """Another principal's, another tenant's and no event at all look alike."""
    _, event_id = tokenize(server.caller("checkout"), 202)
    _, foreign = tokenize(server.caller("other-merchant"), 203)
    answers = [
        proof(server.caller("crm"), event_id),
        proof(server.caller("vault-admin"), event_id),
        proof(server.caller("checkout"), NOBODYS),
        proof(auditor, NOBODYS),
        proof(auditor, foreign),
        proof(server.caller("checkout"), foreign),
    ]
    answers.append(proof(server.caller("other-merchant"), event_id))
    told = set()
    for answer in answers:
        assert answer.status_code == 404
        body = answer.json()
        assert body.pop("request_id") == answer.headers["x-request-id"]
        assert set(body.pop("receipt")) == {"event_id"}
        told.add(json.dumps(body))
    assert len(told) == 1
    for answer in answers[:-1]:
        found = recorded(auditor, answer)
        assert (found["action"], found["outcome"]) == ("read_audit", "failed")
        assert found["code"] == "not_found"
        assert found["detail"]["view"] == "proof"
        # An id that was tried out may be anything.
        assert "event" not in found["detail"]
        assert found["id"] == answer.json()["receipt"]["event_id"]


@pytest.mark.parametrize(
    "event_id", ["x", "evt_", NOBODYS + "0", NOBODYS.upper(), "evt_" + "u" * 26, "%0a", "evt_%00"]
)
def test_a_malformed_id_is_refused_and_not_written_down(auditor: Caller, event_id: str) -> None:
    answer = proof(auditor, event_id)
    assert answer.status_code == 400
    body = answer.json()
    assert (body["code"], body["errors"][0]["field"]) == ("invalid_request", "id")
    found = recorded(auditor, answer)
    assert (found["action"], found["code"]) == ("read_audit", "invalid_request")
    assert "detail" not in found


def test_a_card_number_for_an_id_is_refused(auditor: Caller) -> None:
    [card] = cards(1, seed=204)
    answer = proof(auditor, card)
    assert answer.status_code == 422
    assert answer.json()["code"] == "sensitive_value_in_metadata"
    assert card not in answer.text
    assert card not in json.dumps(recorded(auditor, answer))


def test_the_checkpoint_is_the_newest_that_was_signed(
    server: Server, auditor: Caller, key: VerifierKey
) -> None:
    """Anybody with a credential may have it: it says nothing but that there is a log."""
    _, event_id = tokenize(server.caller("checkout"), 205)
    assert proof(auditor, event_id).status_code == 200
    answer = server.caller("other-merchant").get("/v1/audit/checkpoint")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    checkpoint = open_checkpoint(answer.text, key, "strongroom/audit")
    [(leaf,)] = server.query(
        "SELECT leaf_index FROM strongroom.log_leaves JOIN strongroom.audit_events"
        " USING (position) WHERE id = %s",
        event_id,
    )
    assert checkpoint.size > leaf
    assert server.query("SELECT max(tree_size) FROM strongroom.log_checkpoints") >= [
        (checkpoint.size,)
    ]


def test_the_key_is_on_a_line(server: Server, auditor: Caller, key: VerifierKey) -> None:
    for caller in (auditor, server.caller("other-merchant")):
        answer = caller.get("/v1/audit/key")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.text == f"{key.encode()}\n"
