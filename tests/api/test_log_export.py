"""``/v1/audit/export`` on the real service: what is in a bundle, and who gets it."""

from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest

from tests.auditing import (
    all_sealed,
    export,
    lines,
    pinned_key,
    proof,
    recorded,
    tokenize,
    verified,
)
from tests.calling import Caller
from tests.serving import Serve, Server
from tests.synthetic import cards
from vault_service.domain.checkpoints import open_checkpoint
from vault_service.domain.notes import VerifierKey
from vault_service.verifier.bundles import verify_bundle


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(workers=1)


@pytest.fixture(scope="module")
def auditor(server: Server) -> Caller:
    return server.caller("auditor")


@pytest.fixture(scope="module")
def key(auditor: Caller) -> VerifierKey:
    return pinned_key(auditor)


def test_the_whole_log_of_a_tenant(server: Server, auditor: Caller, key: VerifierKey) -> None:
    token, event_id = tokenize(server.caller("checkout"), 206)
    other_token, other_event = tokenize(server.caller("other-merchant"), 207)
    all_sealed(server)
    answer = auditor.get("/v1/audit/export")
    assert answer.status_code == 200
    assert "content-length" not in answer.headers
    bundle = answer.content
    report = verified(bundle, key)
    assert (report.scope, report.first) == ("main", 0)
    assert set(report.withheld) == {"tenant"}
    assert report.leaves == report.checkpoint.size if report.checkpoint else False
    assert event_id.encode() in bundle
    assert token.encode() in bundle
    # PCI-DSS 7.2.1: of another tenant there are hashes, and nothing else.
    for foreign in (other_token, other_event, "other-merchant"):
        assert foreign.encode() not in bundle
    found = recorded(auditor, answer)
    assert (found["action"], found["outcome"]) == ("read_audit", "ok")
    assert found["detail"] == {
        "policies": ["auditors-read-the-log"],
        "view": "export",
        "first": 0,
        "size": report.leaves,
    }
    assert found["item_count"] == report.leaves
    # PCI-DSS 10.2.1.3: it is recorded before a line of it is given out.
    unsealed = [line["event"]["id"] for line in lines(bundle, "unsealed")]
    assert found["id"] in unsealed


def test_from_and_to_choose_a_stretch(server: Server, auditor: Caller, key: VerifierKey) -> None:
    checkout = server.caller("checkout")
    marks = [tokenize(checkout, 208)[1]]
    proof(auditor, marks[0])
    for seed in (209, 210):
        marks.append(tokenize(checkout, seed)[1])
        assert proof(auditor, marks[-1]).status_code == 200  # a checkpoint stands after it
    at = {each["id"]: each["time"] for each in auditor.events() if each["id"] in marks}
    since = export(auditor, **{"from": at[marks[1]]})
    ids = [line["event"]["id"] for line in lines(since, "event")]
    assert marks[0] not in ids
    assert marks[1] in ids
    assert marks[2] in ids
    report = verified(since, key)
    assert report.first > 0
    after = datetime.fromisoformat(at[marks[1]]) + timedelta(microseconds=1)
    bundle = export(auditor, **{"from": at[marks[1]], "to": after.isoformat()})
    ids = [line["event"]["id"] for line in lines(bundle, "event")]
    assert marks[0] not in ids
    assert marks[1] in ids
    assert marks[2] not in ids
    assert lines(bundle, "unsealed") == []
    assert verified(bundle, key).first == report.first
    whole = export(auditor, to="2001-01-01")
    assert verified(whole, key).checkpoints == 1
    later = datetime.now(UTC) + timedelta(days=1)
    nothing = export(auditor, **{"from": later.isoformat()})
    assert lines(nothing, "event") == lines(nothing, "withheld") == []
    assert [line["size"] for line in lines(nothing, "checkpoint")] == [
        lines(nothing, "header")[0]["first"]
    ]


def test_bundles_follow_on_one_another(server: Server, auditor: Caller, key: VerifierKey) -> None:
    """An auditor's routine: from where the last bundle ended, with its checkpoint kept."""
    checkout = server.caller("checkout")
    made = {tokenize(checkout, 211)[1]}
    all_sealed(server)
    bundles = [export(auditor, cursor=0)]
    for seed in range(212, 215):
        kept = lines(bundles[-1], "checkpoint")[-1]["note"]
        size = open_checkpoint(kept, key).size
        made.add(tokenize(checkout, seed)[1])
        all_sealed(server)
        bundles.append(export(auditor, cursor=size, since=size))
        report = verified(bundles[-1], key, kept)
        assert report.first == size
        assert report.checkpoint is not None
        assert report.checkpoint.size > size
    seen = [line["event"]["id"] for bundle in bundles for line in lines(bundle, "event")]
    assert len(set(seen)) == len(seen)
    assert made <= set(seen)
    # The kept one connects with a bundle that begins after it, too.
    kept = lines(bundles[-1], "checkpoint")[-1]["note"]
    size = open_checkpoint(kept, key).size
    tokenize(checkout, 215)
    all_sealed(server)
    later = export(auditor, cursor=size + 1, since=size)
    assert lines(later, "header")[0]["since"]["size"] == size
    assert verified(later, key, kept).kept == open_checkpoint(kept, key)


def test_a_size_that_nobody_could_have_kept(auditor: Caller, key: VerifierKey) -> None:
    """0 proves nothing, one beyond the log cannot be proven; any other size can be."""
    for size in (0, 10**17):
        bundle = export(auditor, since=size)
        assert "since" not in lines(bundle, "header")[0]
        verified(bundle, key)
    [header] = lines(export(auditor, since=3), "header")
    assert header["since"]["size"] == 3


@pytest.mark.parametrize(
    "principal", ["checkout", "crm", "vault-admin", "compliance-lead", "load-tester"]
)
def test_only_who_may_read_the_log_may_export_it(
    server: Server, auditor: Caller, principal: str
) -> None:
    answer = server.caller(principal).get("/v1/audit/export")
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "access_denied"
    found = recorded(auditor, answer)
    assert (found["action"], found["outcome"]) == ("read_audit", "denied")
    assert found["principal"] == principal


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("cursor=-1", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=1.0", "cursor"),
        ("cursor=1&cursor=1", "cursor"),
        ("cursor=%C2%B2", "cursor"),
        ("cursor=9999999999999999999", "cursor"),
        ("cursor=99999999", "cursor"),
        ("since=x", "since"),
        ("since=-0", "since"),
        ("from=yesterday", "from"),
        ("to=2026-13-01", "to"),
        ("tenant=other", "query"),
        ("limit=1", "query"),
    ],
)
def test_a_bad_parameter_is_named_before_the_first_line(
    auditor: Caller, query: str, field: str
) -> None:
    answer = auditor.get(f"/v1/audit/export?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == "invalid_request"
    assert [error["field"] for error in body["errors"]] == [field]
    assert recorded(auditor, answer)["code"] == "invalid_request"


@pytest.mark.parametrize(
    "query",
    [
        {"from": "0001-01-01T00:00:00+23:59"},
        {"to": "0001-01-01T00:00:00+23:59"},
        {"from": "9999-12-31T23:59:59.999999-23:59"},
        {"to": "9999-12-31T23:59:59.999999-23:59"},
    ],
)
def test_times_at_the_ends_of_the_calendar(
    auditor: Caller, key: VerifierKey, query: dict[str, str]
) -> None:
    verify_bundle(BytesIO(export(auditor, **query)), key)


def test_a_card_number_in_the_query_is_refused(auditor: Caller) -> None:
    [card] = cards(1, seed=216)
    answer = auditor.get(f"/v1/audit/export?cursor={card}")
    assert answer.status_code == 422
    assert card not in answer.text
