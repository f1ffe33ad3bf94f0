"""The Cedar engine: default deny, errors deny, exact memo, ids and places."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vault_service.adapters.cedar import SCHEMA_REFUSAL, CedarEngine
from vault_service.adapters.policy_cases import load_cases, run_cases, undecided
from vault_service.adapters.policy_files import PolicyBundle, load_bundle
from vault_service.domain.access import AccessRequest, Action, Decision, PolicySource
from vault_service.domain.errors import ConfigurationError
from vault_service.domain.principals import Principal, PrincipalType

BUNDLE = load_bundle(Path(__file__).parents[2] / "policies", None)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)  # a Monday
PERMIT_ALL = '@id("all") permit (principal, action, resource);\n'


def with_policies(text: str) -> CedarEngine:
    return CedarEngine(replace(BUNDLE, policies_text={"own.cedar": text}))


def reveal(**changes: Any) -> AccessRequest:
    request = AccessRequest(
        BUNDLE.principals["chargeback-service"],
        Action.DETOKENIZE,
        "pan",
        BUNDLE.catalog.data_classes["pan"].tags,
        purpose="chargeback",
        form="plain",
        at=NOON,
    )
    return replace(request, **changes)


def test_an_empty_policy_set_denies() -> None:
    # PCI-DSS 7.3.3: deny all by default
    assert with_policies("").decide(reveal()) == Decision(allowed=False)


def test_a_permit_allows_and_is_named_by_its_id() -> None:
    assert with_policies(PERMIT_ALL).decide(reveal()) == Decision(True, ("all",))


def test_a_forbid_outweighs_a_permit_and_alone_is_named() -> None:
    engine = with_policies(
        PERMIT_ALL + '@id("no") forbid (principal, action, resource) when { true };'
    )
    assert engine.decide(reveal()) == Decision(False, ("no",))


OVERFLOW = "context.item_count + 9223372036854775807 > 0"


def test_a_forbid_that_cannot_be_evaluated_denies() -> None:
    # Cedar by itself would skip the forbid and allow.
    engine = with_policies(
        PERMIT_ALL + f'@id("broken") forbid (principal, action, resource) when {{ {OVERFLOW} }};'
    )
    assert engine.decide(reveal()) == Decision(False, ("all",), ("broken",))


def test_a_permit_that_cannot_be_evaluated_denies_what_others_allow() -> None:
    engine = with_policies(
        PERMIT_ALL + f'@id("broken") permit (principal, action, resource) when {{ {OVERFLOW} }};'
    )
    decision = engine.decide(reveal())
    assert not decision.allowed
    assert decision.errors == ("broken",)


@pytest.mark.parametrize(
    "request_",
    [
        reveal(data_class=None),
        AccessRequest(BUNDLE.principals["auditor"], Action.READ_AUDIT, "pan", at=NOON),
        reveal(budget_left=2**63),
        reveal(token_tags=(("region", "\ud800"),)),
        reveal(purpose="\ud800"),
        reveal(data_class="\ud800"),
    ],
    ids=["no class", "class on a vault action", "too large", "tag", "purpose", "class name"],
)
def test_a_request_that_does_not_fit_the_schema_is_denied(request_: AccessRequest) -> None:
    engine = with_policies(
        PERMIT_ALL + '@id("b") permit (principal, action, resource) when '
        "{ context has budget_left };"
    )
    decision = engine.decide(request_)
    assert not decision.allowed
    assert decision.errors == (SCHEMA_REFUSAL,)


@pytest.mark.parametrize(
    ("condition", "inside", "outside"),
    [
        ("context.hour < 8", {"at": NOON.replace(hour=7)}, {"at": NOON.replace(hour=8)}),
        ("context.weekday == 1", {}, {"at": NOON.replace(day=6)}),
        (
            'context.now < datetime("2026-01-05T12:00:01Z")',
            {},
            {"at": NOON.replace(second=1)},
        ),
        ("context.item_count < 5", {"item_count": 4}, {"item_count": 5}),
        (
            "context has budget_left && context.budget_left > 9",
            {"budget_left": 10},
            {"budget_left": 9},
        ),
        ('context has form && context.form == "plain"', {}, {"form": "masked"}),
        ('context has purpose && context.purpose == "chargeback"', {}, {"purpose": "payout"}),
        ('resource.hasTag("region")', {"token_tags": (("region", "eu"),)}, {}),
        ('resource.class_tags.contains("restricted")', {}, {"class_tags": frozenset({"pci"})}),
        ('resource.data_class == "pan"', {}, {"data_class": "email"}),
        ('principal.type == "service"', {}, {"principal": BUNDLE.principals["support-agent"]}),
        ('principal.tenant == "main"', {}, {"principal": BUNDLE.principals["other-merchant"]}),
        ('principal.name like "chargeback*"', {}, {"principal": BUNDLE.principals["checkout"]}),
    ],
)
def test_policies_see_every_input(
    condition: str, inside: Mapping[str, object], outside: Mapping[str, object]
) -> None:
    engine = with_policies(
        f'@id("p") permit (principal, action == Action::"detokenize", resource) '
        f"when {{ {condition} }};"
    )
    # Asked twice and in turn, so that a memo that forgot the input would show.
    for _ in range(2):
        assert engine.decide(reveal(**inside)).allowed
        assert not engine.decide(reveal(**outside)).allowed


def test_a_principal_with_other_tags_is_another_question() -> None:
    # An OIDC token may carry other tags for the same name.
    engine = CedarEngine(BUNDLE)
    plain = reveal()
    demoted = replace(plain.principal, tags={**plain.principal.tags, "duty": "load"})
    assert engine.decide(plain).allowed
    assert not engine.decide(replace(plain, principal=demoted)).allowed
    assert engine.decide(plain).allowed


_PRINCIPALS = st.builds(
    Principal,
    name=st.sampled_from(["a", "b"]),
    type=st.sampled_from(list(PrincipalType)),
    tenant=st.sampled_from(["main", "other"]),
    tags=st.fixed_dictionaries(
        {}, optional={"duty": st.sampled_from(["capture", "disputes"]), "region": st.just("eu")}
    ),
)
_REQUESTS = st.builds(
    AccessRequest,
    principal=_PRINCIPALS,
    action=st.sampled_from([Action.DETOKENIZE, Action.TOKENIZE, Action.READ_AUDIT]),
    data_class=st.sampled_from(["pan", "email"]),
    class_tags=st.sampled_from([frozenset({"pci"}), frozenset({"pii"})]),
    token_tags=st.sampled_from([(), (("region", "us"),)]),
    purpose=st.sampled_from([None, "chargeback"]),
    form=st.sampled_from(["masked", "plain"]),
    item_count=st.integers(1, 3),
    budget_left=st.sampled_from([None, 0, 2]),
    at=st.sampled_from([NOON, NOON.replace(hour=23)]),
)
_WORKED = CedarEngine(BUNDLE)


@given(_REQUESTS)
@settings(max_examples=100, deadline=None)
def test_a_remembered_decision_is_the_fresh_one(request_: AccessRequest) -> None:
    _WORKED.decide(request_)
    assert _WORKED.decide(request_) == CedarEngine(BUNDLE).decide(request_)


def test_explain_says_where_the_deciding_policies_stand() -> None:
    text = "// a comment\n\n" + PERMIT_ALL
    engine = with_policies(text)
    explanation = engine.explain(reveal())
    assert explanation.decision == Decision(True, ("all",))
    assert explanation.sources == (PolicySource("all", "own.cedar", 3),)


def test_the_bundle_hash_is_the_engines() -> None:
    assert CedarEngine(BUNDLE).bundle_hash == BUNDLE.hash


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("permit (principal, action, resource);", "has no @id"),
        ('@id("") permit (principal, action, resource);', "unusable @id"),
        ('@id("Über") permit (principal, action, resource);', "unusable @id"),
        (PERMIT_ALL * 2, "given twice"),
        ('@id("x") permit (principal, action, resource', "does not parse"),
        ('@id("x") permit (principal == ?principal, action, resource);', "template"),
        (
            '@id("x") permit (principal, action, resource) when { context.purpose == "payout" };',
            "line 1",
        ),
        ('@id("x") permit (principal, action == Action::"steal", resource);', "line 1"),
    ],
)
def test_policies_that_are_unsound_do_not_load(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        with_policies(text)


def test_a_schema_that_does_not_parse_does_not_load() -> None:
    with pytest.raises(ConfigurationError, match=r"schema\.cedarschema: does not parse"):
        CedarEngine(replace(BUNDLE, schema_text="entity ;"))


def _without(bundle: PolicyBundle, name: str) -> CedarEngine:
    engine = CedarEngine(bundle)
    source = engine.policies[name].source
    text = bundle.policies_text[source.file]
    start = text.index(f'@id("{name}")')
    end = text.find("\n@id(", start)
    rest = text[:start] + (text[end:] if end > 0 else "")
    return CedarEngine(replace(bundle, policies_text={**bundle.policies_text, source.file: rest}))


CASES = load_cases(BUNDLE)


def test_all_cases_are_answered_as_expected_and_use_every_policy() -> None:
    engine = CedarEngine(BUNDLE)
    results = run_cases(engine, CASES)
    assert [r.case.name for r in results if not r.passed] == []
    assert undecided(engine.policies, results) == []
    assert {case.request.principal.name for case in CASES} == set(BUNDLE.principals)
    assert {case.request.action for case in CASES} == set(Action)
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", sorted(CedarEngine(BUNDLE).policies))
def test_the_loss_of_any_policy_changes_a_case(name: str) -> None:
    engine = _without(BUNDLE, name)
    assert set(engine.policies) == set(CedarEngine(BUNDLE).policies) - {name}
    assert not all(result.passed for result in run_cases(engine, CASES))
