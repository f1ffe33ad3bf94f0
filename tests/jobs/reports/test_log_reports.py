"""Reports made of the log: access review, verification, sealing."""

import io
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reporting_jobs.byte_stream import stream_of
from reporting_jobs.context import ReportRefused
from tests.bundles import OTHER_SIGNER, SealedLog, event, events
from tests.fakes.run_vault import NOW, FakeRunVault, made, table
from vault_service.domain.events import EventGroup
from vault_service.domain.notes import NoteError


def reviewed() -> FakeRunVault:
    vault = FakeRunVault("access_review")
    group = EventGroup(
        "ok", "pan", "plain", policies=("disputes-reveal-pan",), tokens=("tok_a", "tok_b")
    )
    inputs = {"inputs": {"type": "service"}, "purpose": "chargeback"}
    thursday = NOW - timedelta(days=4)
    vault.record("detokenize", group, at=thursday, principal="chargeback-service", **inputs)
    vault.record("detokenize", group, at=thursday - timedelta(days=100), principal="payout-service")
    vault.record("detokenize", group, at=thursday.replace(hour=3), principal="crm", **inputs)
    denied = EventGroup("denied", "pan", "plain", code="access_denied")
    vault.record("detokenize", denied, at=thursday, principal="support-agent")
    return vault


def test_an_access_review_finds_what_nobody_uses_and_what_is_out_of_the_ordinary() -> None:
    vault = reviewed()
    output = made(vault)
    rows = table(vault, output)

    def found(kind: str, *columns: str) -> list[Any]:
        return [tuple(row[c] for c in columns) for row in rows if row["kind"] == kind]

    assert ("payouts-reveal-iban",) in found("unused_grant", "what")
    assert ("disputes-reveal-pan",) not in found("unused_grant", "what")
    idle = dict(found("idle_principal", "principal", "what"))
    assert idle["payout-service"] == "active before"
    assert idle["checkout"] == "never active"
    assert "crm" not in idle
    assert found("out_of_hours", "principal", "now") == [("crm", 2)]
    assert ("chargeback-service", "chargeback") in found("first_purpose", "principal", "what")
    assert found("denied", "principal", "what", "now") == [("support-agent", "access_denied", 1)]
    assert ("chargeback-service", "plain", 2, 0) in found(
        "revealed", "principal", "what", "now", "before"
    )
    assert ("payout-service", "any", 0, 2) in found(
        "revealed", "principal", "what", "now", "before"
    )
    # Another tenant's principals are none of this one's business.
    assert not any(row["principal"] == "other-merchant" for row in rows)
    assert not vault.reads
    summary = output.sections()[0]
    findings = {"unused_grant", "silent_policy", "idle_principal", "rise", "out_of_hours"}
    counted = [row for row in rows if row["kind"] in findings | {"first_purpose"}]
    assert f"{len(counted)} findings" in summary.paragraphs[1]
    assert output.sections()[1].chart is not None


def test_working_hours_are_those_asked_for() -> None:
    vault = reviewed()
    rows = table(vault, made(vault, hours_from=0, hours_to=24))
    assert not [row for row in rows if row["kind"] == "out_of_hours"]
    rows = table(vault, made(vault, timezone="Asia/Tokyo"))
    late = {row["principal"] for row in rows if row["kind"] == "out_of_hours"}
    assert late == {"chargeback-service"}


@pytest.mark.parametrize("wrong", [{"timezone": "Nowhere/City"}, {"hours_from": 18}])
def test_a_review_with_unusable_parameters_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ReportRefused) as refusal:
        made(reviewed(), **wrong)
    assert refusal.value.code == "parameters_invalid"


def verified(vault: FakeRunVault, **given: Any) -> tuple[dict[str, str], list[str]]:
    rows = table(vault, made(vault, **given))
    facts = {row["name"]: row["text"] for row in rows if row["item"] != "finding"}
    return facts, [row["name"] for row in rows if row["item"] == "finding"]


def test_a_sound_log_is_verified() -> None:
    vault = FakeRunVault("audit_verify")
    vault.sealed = SealedLog(events(40))
    facts, findings = verified(vault)
    assert (facts["verdict"], findings) == ("verified", [])
    assert (facts["events"], facts["tree_size"]) == ("40", "40")
    assert facts["key_from"] == "vault"
    assert facts["checkpoint"] == vault.sealed.checkpoint(40)
    pinned, _ = verified(vault, verifier_key=vault.verifier_key())
    assert pinned["key_from"] == "parameter"


def test_a_log_that_was_tampered_with_is_not() -> None:
    vault = FakeRunVault("audit_verify")
    vault.sealed = SealedLog(events(40))
    vault.sealed.bodies[7] = vault.sealed.bodies[7].replace(b"chargeback", b"data_quality")
    output = made(vault)
    rows = table(vault, output)
    assert rows[0]["text"] == "tampered"
    [finding] = [row for row in rows if row["item"] == "finding"]
    assert (finding["name"], finding["leaf"]) == ("event_altered", 7)
    assert output.sections()[0].paragraphs[0].startswith("TAMPERED")


def test_a_log_that_lost_what_was_kept_is_told() -> None:
    vault = FakeRunVault("audit_verify")
    kept = SealedLog(events(60)).checkpoint(60)
    vault.sealed = SealedLog(events(40))
    files = {"kept_checkpoint": lambda: io.BytesIO(kept.encode())}
    given = {"kept_checkpoint": "kept.txt", "inputs": files}
    facts, findings = verified(vault, **given)
    assert facts["verdict"] == "tampered"
    assert findings == ["log_rolled_back"]


def test_a_log_of_another_key_is_not_verified() -> None:
    vault = FakeRunVault("audit_verify")
    vault.sealed = SealedLog(events(5))
    facts, findings = verified(vault, verifier_key=OTHER_SIGNER.key.encode())
    assert facts["verdict"] == "unverifiable"
    assert "unknown_key" in findings


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"verifier_key": "nonsense"}, "input_invalid"),
        ({"kept_checkpoint": "kept.txt", "content": b"no note"}, "input_invalid"),
        ({"kept_checkpoint": "kept.txt", "content": b"\xff\xfe"}, "input_invalid"),
        ({"kept_checkpoint": "kept.txt"}, "input_missing"),
    ],
)
def test_what_cannot_be_verified_with_is_refused(given: dict[str, Any], code: str) -> None:
    vault = FakeRunVault("audit_verify")
    vault.sealed = SealedLog(events(5))
    content = given.pop("content", None)

    def file() -> io.BytesIO:
        if content is None:
            raise FileNotFoundError
        return io.BytesIO(content)

    with pytest.raises(ReportRefused) as refusal:
        made(vault, **given, inputs={"kept_checkpoint": file})
    assert refusal.value.code == code


def test_sealing_is_alive_where_the_tail_is_young() -> None:
    vault = FakeRunVault("audit_seal")
    vault.sealed = SealedLog(events(25))
    vault.unsealed = [replace(event(30), occurred_at=NOW - timedelta(seconds=s)) for s in (2, 200)]
    vault.unsealed[1] = replace(vault.unsealed[1], id=event(31).id)
    [row] = table(vault, made(vault))
    assert (row["verdict"], row["leaves"], row["unsealed_events"]) == ("sealing", 25, 2)
    assert row["tail_age_seconds"] == 200
    assert row["checkpoint"] == vault.sealed.checkpoint(25)
    [row] = table(vault, made(vault, stalled_after_seconds=199))
    assert row["verdict"] == "stalled"
    vault.unsealed = []
    [row] = table(vault, made(vault))
    assert (row["verdict"], row["oldest_unsealed"], row["tail_age_seconds"]) == ("sealing", None, 0)


def test_a_checkpoint_of_another_key_fails_the_run() -> None:
    vault = FakeRunVault("audit_seal")
    vault.sealed = SealedLog(events(25), OTHER_SIGNER)
    with pytest.raises(NoteError):
        made(vault)


def test_a_stream_gives_its_pieces_back_whatever_their_size() -> None:
    pieces = [b"", b"one\ntw", b"o\n", b"x" * 100_000, b"\nend"]
    stream = stream_of(iter(pieces))
    assert stream.readline() == b"one\n"
    assert stream.readline(2) == b"tw"
    assert stream.read() == b"o\n" + b"x" * 100_000 + b"\nend"
