"""The sample principals have the rights of the public contract, and no other.

The table below is written from the contract, not from the policies: every principal is
asked for every action, class, form and purpose, and the answers must agree exactly.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vault_service.adapters.cedar import CedarEngine
from vault_service.adapters.policy_files import load_bundle
from vault_service.domain.access import ON_REPORTS, ON_VALUES, AccessRequest, Action, ReportFacts
from vault_service.domain.catalog import DataClass

BUNDLE = load_bundle(Path(__file__).parents[2] / "policies", None)
ENGINE = CedarEngine(BUNDLE)
CLASSES = BUNDLE.catalog.data_classes
PURPOSES = frozenset(BUNDLE.catalog.purposes)
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)

PCI = frozenset({"pan", "pan_unverified"})
PII = frozenset(
    {
        "person_name",
        "email",
        "phone",
        "iban",
        "us_ssn",
        "date_of_birth",
        "postal_address",
        "ip_address",
        "national_id",
        "free_text",
    }
)
ALL = PCI | PII
MASKED = frozenset({"masked"})
FORMS = frozenset({"masked", "plain", "bin", "last4", "domain", "year"})


@dataclass(frozen=True)
class Reveal:
    """May see ``classes`` in ``forms`` for ``purposes``."""

    classes: frozenset[str]
    forms: frozenset[str]
    purposes: frozenset[str]


@dataclass(frozen=True)
class Rights:
    """What a principal may do; what is not said here, it may not."""

    tokenize: frozenset[str] = frozenset()
    lookup: frozenset[str] = frozenset()
    describe: frozenset[str] = frozenset()
    delete: frozenset[str] = frozenset()
    reveals: tuple[Reveal, ...] = ()
    vault: frozenset[Action] = frozenset()


def one(*names: str) -> frozenset[str]:
    return frozenset(names)


CAPTURE_PCI = Reveal(PCI, MASKED, PURPOSES)
CHARGEBACK = Reveal(one("pan"), FORMS, one("chargeback"))
READS_LOG = Rights(vault=frozenset({Action.READ_AUDIT}))
RIGHTS = {
    "checkout": Rights(tokenize=PCI, lookup=PCI, describe=PCI, reveals=(CAPTURE_PCI,)),
    "crm": Rights(tokenize=PII, lookup=PII, describe=PII, reveals=(Reveal(PII, MASKED, PURPOSES),)),
    "warehouse-loader": Rights(tokenize=ALL, describe=ALL),
    "chargeback-service": Rights(describe=one("pan"), reveals=(CHARGEBACK,)),
    "payout-service": Rights(
        describe=one("iban"), reveals=(Reveal(one("iban"), FORMS, one("payout")),)
    ),
    "support-agent": Rights(describe=ALL, reveals=(Reveal(ALL, MASKED, one("customer_support")),)),
    "compliance-officer": Rights(),
    "compliance-lead": Rights(),
    "auditor": READS_LOG,
    "vault-admin": Rights(
        delete=ALL,
        vault=frozenset({Action.MANAGE_KEYS, Action.MANAGE_PRINCIPALS, Action.ERASE_SUBJECT}),
    ),
    "job:access_review": READS_LOG,
    "job:pci_inventory": READS_LOG,
    "job:retention_purge": Rights(delete=ALL, vault=frozenset({Action.READ_AUDIT})),
    "job:subject_access": Rights(
        reveals=(Reveal(ALL, FORMS, one("subject_access")),),
        vault=frozenset({Action.READ_AUDIT, Action.EXPORT_SUBJECT}),
    ),
    "job:breach_notification": Rights(
        reveals=(
            Reveal(
                one("person_name", "email", "phone", "postal_address"),
                FORMS,
                one("breach_notification"),
            ),
        ),
        vault=frozenset({Action.READ_AUDIT}),
    ),
    "job:chargeback_file": Rights(reveals=(CHARGEBACK,)),
    "job:sanctions_screening": Rights(
        reveals=(Reveal(one("person_name", "date_of_birth"), FORMS, one("regulatory_report")),)
    ),
    "job:audit_verify": READS_LOG,
    "job:audit_seal": READS_LOG,
    "other-merchant": Rights(
        tokenize=PCI, lookup=PCI, describe=PCI, reveals=(CAPTURE_PCI, CHARGEBACK)
    ),
    "load-tester": Rights(
        tokenize=ALL,
        lookup=ALL,
        describe=ALL,
        delete=ALL,
        reveals=(Reveal(ALL, FORMS, one("data_quality")),),
    ),
}

VAULT_ACTIONS = frozenset(
    {
        Action.READ_AUDIT,
        Action.MANAGE_KEYS,
        Action.MANAGE_PRINCIPALS,
        Action.EXPORT_SUBJECT,
        Action.ERASE_SUBJECT,
    }
)
REPORTS = [
    ReportFacts(
        name=name,
        purpose="operations",
        data_classes=frozenset(),
        forms=frozenset(),
        classifications=frozenset({classification}),
        row_cap=1000,
        needs_approval=needs_approval,
        scheduled=scheduled,
        requester=requester,
    )
    for name in ("access_review", "chargeback_file", "another")
    for classification in ("figure", "personal", "cardholder")
    for needs_approval in (True, False)
    for scheduled in (True, False)
    for requester in (None, "compliance-officer", "compliance-lead")
]


def every_question(name: str) -> Iterator[tuple[AccessRequest, bool]]:
    """All questions about one principal, each with the answer of the table."""
    rights = RIGHTS[name]
    principal = BUNDLE.principals[name]
    for action in VAULT_ACTIONS:
        yield AccessRequest(principal, action, at=NOW), action in rights.vault
    for report in REPORTS:
        own = name == f"job:{report.name}" and report.scheduled
        plain = report.classifications & {"personal", "cardholder"}
        runs = (name == "compliance-officer" or own) and (report.needs_approval or not plain)
        yield AccessRequest(principal, Action.RUN_REPORT, at=NOW, report=report), runs
        approves = name == "compliance-lead" and report.requester != name
        yield AccessRequest(principal, Action.APPROVE_REPORT, at=NOW, report=report), approves
    granted = {
        Action.TOKENIZE: rights.tokenize,
        Action.LOOKUP: rights.lookup,
        Action.DESCRIBE_TOKEN: rights.describe,
        Action.DELETE_TOKEN: rights.delete,
    }
    for data_class in CLASSES.values():
        for action, classes in granted.items():
            request = AccessRequest(principal, action, data_class.name, data_class.tags, at=NOW)
            yield request, data_class.name in classes
        yield from every_reveal(name, data_class)


def every_reveal(name: str, data_class: DataClass) -> Iterator[tuple[AccessRequest, bool]]:
    for form in data_class.forms:
        for purpose in (None, *PURPOSES):
            request = AccessRequest(
                BUNDLE.principals[name],
                Action.DETOKENIZE,
                data_class.name,
                data_class.tags,
                purpose=purpose,
                form=form,
                at=NOW,
            )
            allowed = any(
                data_class.name in reveal.classes
                and form in reveal.forms
                and purpose in reveal.purposes
                for reveal in RIGHTS[name].reveals
            )
            yield request, allowed


def test_the_table_names_every_principal_class_and_action() -> None:
    assert set(RIGHTS) == set(BUNDLE.principals)
    assert set(CLASSES) == ALL
    assert {f for c in CLASSES.values() for f in c.forms} <= FORMS
    assert len(VAULT_ACTIONS) + len(ON_VALUES) + len(ON_REPORTS) == len(Action)


@pytest.mark.parametrize("name", sorted(RIGHTS))
def test_a_sample_principal_has_exactly_its_rights(name: str) -> None:
    # PCI-DSS 7.2.2: access by job function and least privilege
    wrong = [
        (request.action.value, request.data_class, request.form, request.purpose, allowed)
        for request, allowed in every_question(name)
        if ENGINE.decide(request).allowed is not allowed
    ]
    assert wrong == []


def test_tenants_and_types_are_those_of_the_contract() -> None:
    tenants = {name: p.tenant for name, p in BUNDLE.principals.items()}
    assert tenants.pop("other-merchant") == "other"
    assert set(tenants.values()) == {"main"}
    for name, principal in BUNDLE.principals.items():
        assert (principal.type.value == "job") is name.startswith("job:")


def test_everyone_who_reveals_has_a_budget_but_the_load_tester() -> None:
    for name, rights in RIGHTS.items():
        purposes = {purpose for reveal in rights.reveals for purpose in reveal.purposes}
        for purpose in purposes:
            budgets = BUNDLE.principals[name].budgets_for(purpose)
            assert bool(budgets) is (name != "load-tester"), (name, purpose)
    (chargeback,) = BUNDLE.principals["chargeback-service"].budgets_for("chargeback")
    assert chargeback.tokens_per_hour == 1000


def test_prod_does_not_load_the_load_tester() -> None:
    directory = BUNDLE.directory
    prod = load_bundle(directory, "prod")
    assert prod.left_out == ("load-tester",)
    assert "load-tester" not in prod.principals
    for environment in ("dev", "test"):
        bundle = load_bundle(directory, environment)
        assert bundle.left_out == ()
        assert "load-tester" in bundle.principals
        assert bundle.hash == prod.hash
