"""What each sample principal may do, asked over HTTP (PCI-DSS 7.2)."""

import pytest

from tests.serving import Server
from tests.synthetic import VISA

IBAN = "GB82WEST12345698765432"
EMAIL = "jane.roe@example.com"

REVEALS = [
    # principal, data class, purpose, form, what is shown (None: refused)
    ("chargeback-service", "pan", "chargeback", "plain", VISA),
    ("chargeback-service", "pan", "chargeback", "last4", "1111"),
    ("chargeback-service", "pan", "fraud_review", "plain", None),
    ("chargeback-service", "pan", "customer_support", "masked", None),
    ("chargeback-service", "iban", "chargeback", "plain", None),
    ("chargeback-service", "email", "chargeback", "masked", None),
    ("payout-service", "iban", "payout", "plain", IBAN),
    ("payout-service", "iban", "chargeback", "plain", None),
    ("payout-service", "pan", "payout", "plain", None),
    ("checkout", "pan", "operations", "masked", "411111******1111"),
    ("checkout", "pan", "operations", "plain", None),
    ("checkout", "pan", "chargeback", "plain", None),
    ("checkout", "email", "operations", "masked", None),
    ("crm", "email", "operations", "plain", None),
    ("crm", "pan", "operations", "masked", None),
    ("support-agent", "pan", "customer_support", "masked", "411111******1111"),
    ("support-agent", "pan", "customer_support", "plain", None),
    ("support-agent", "pan", "customer_support", "last4", None),
    ("support-agent", "email", "customer_support", "plain", None),
    ("support-agent", "pan", "chargeback", "masked", None),
    ("warehouse-loader", "pan", "data_quality", "plain", None),
    ("warehouse-loader", "pan", "operations", "masked", None),
    ("warehouse-loader", "email", "operations", "masked", None),
    ("compliance-officer", "pan", "regulatory_report", "masked", None),
    ("compliance-lead", "pan", "regulatory_report", "masked", None),
    ("auditor", "pan", "operations", "masked", None),
    ("vault-admin", "pan", "operations", "masked", None),
    ("load-tester", "pan", "data_quality", "plain", VISA),
    ("load-tester", "iban", "data_quality", "plain", IBAN),
    ("load-tester", "pan", "operations", "plain", None),
]
VALUES = {"pan": VISA, "iban": IBAN, "email": EMAIL}


@pytest.mark.parametrize(("principal", "data_class", "purpose", "form", "shown"), REVEALS)
def test_reveals(
    server: Server, principal: str, data_class: str, purpose: str, form: str, shown: str | None
) -> None:
    [token] = server.caller("warehouse-loader").tokenize(data_class, [VALUES[data_class]])
    answer = server.caller(principal).detokenize([token], purpose, form)
    if shown is None:
        assert answer.status_code == 403
        body = answer.json()
        assert body["code"] == "access_denied"
        assert VALUES[data_class] not in answer.text
        event_id, outcome = body["receipt"]["event_id"], "denied"
    else:
        assert answer.status_code == 200, answer.text
        assert answer.json()["items"][0]["value"] == shown
        event_id, outcome = answer.json()["receipt"]["event_id"], "ok"
    event = server.caller("auditor").events(token=token, principal=principal)[0]
    assert (event["id"], event["outcome"]) == (event_id, outcome)
    assert event["purpose"] == purpose


@pytest.mark.parametrize("report", ["chargeback_file", "breach_notification", "access_review"])
def test_a_job_reveals_nothing_without_a_run(server: Server, report: str) -> None:
    """What it may with one: tests/attacks/test_report_fence.py."""
    [token] = server.caller("warehouse-loader").tokenize("pan", [VISA])
    answer = server.caller(f"job:{report}").detokenize([token], "chargeback")
    assert answer.status_code == 403
    assert VISA not in answer.text
    assert answer.json()["errors"][0]["rule"] == "no_run"


TOKENIZERS = {
    "pan": {"checkout", "warehouse-loader", "load-tester", "other-merchant"},
    "email": {"crm", "warehouse-loader", "load-tester"},
    "iban": {"crm", "warehouse-loader", "load-tester"},
}
PRINCIPALS = [
    "checkout",
    "crm",
    "warehouse-loader",
    "chargeback-service",
    "payout-service",
    "support-agent",
    "compliance-officer",
    "compliance-lead",
    "auditor",
    "vault-admin",
    "other-merchant",
    "load-tester",
]


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_who_tokenizes_what_and_who_reads_the_log(server: Server, principal: str) -> None:
    caller = server.caller(principal)
    for data_class, may in TOKENIZERS.items():
        item = {"data_class": data_class, "value": VALUES[data_class]}
        status = caller.post("/v1/tokenize", {"items": [item]}).status_code
        assert status == (200 if principal in may else 403), data_class
    status = caller.get("/v1/audit/events").status_code
    assert status == (200 if principal == "auditor" else 403)


def test_another_merchant_has_both_rights_in_its_own_tenant(server: Server) -> None:
    other = server.caller("other-merchant")
    [token] = other.tokenize("pan", [VISA])
    assert other.detokenize([token], "chargeback").json()["items"][0]["value"] == VISA
    assert server.caller("chargeback-service").detokenize([token], "chargeback").status_code == 404
