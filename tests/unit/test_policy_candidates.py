"""Why a policy did not decide: the part of it that Cedar finds not to hold."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vault_service.adapters.cedar import CedarEngine
from vault_service.adapters.policy_cases import load_cases
from vault_service.adapters.policy_files import load_bundle
from vault_service.domain.access import AccessRequest, Action, Candidate, PolicySource

BUNDLE = load_bundle(Path(__file__).parents[2] / "policies", None)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
SOURCE = PolicySource("p", "own.cedar", 1)
ALL = '@id("all") permit (principal, action, resource);\n'


def asked(**changes: Any) -> AccessRequest:
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


def candidates(text: str, request: AccessRequest | None = None) -> tuple[Candidate, ...]:
    engine = CedarEngine(replace(BUNDLE, policies_text={"own.cedar": text}))
    return engine.explain(request or asked()).candidates


def policy(scope: str, conditions: str = "", effect: str = "permit") -> str:
    return f'@id("p")\n{effect} ({scope}) {conditions};\n'


@pytest.mark.parametrize(
    ("scope", "unmatched"),
    [
        ('principal == Principal::"crm", action, resource', ("principal",)),
        ('principal, action, resource == Data::"email"', ("resource",)),
        ('principal, action == Action::"detokenize", resource == Data::"iban"', ("resource",)),
        (
            'principal == Principal::"crm", action, resource == Data::"iban"',
            ("principal", "resource"),
        ),
        (
            'principal == Principal::"chargeback-service", action == Action::"lookup", resource',
            ("action",),
        ),
        (
            'principal in Principal::"chargeback-service", action == Action::"lookup",'
            ' resource == Data::"email"',
            ("action", "resource"),
        ),
    ],
)
def test_the_parts_of_a_scope_that_do_not_match_are_named(
    scope: str, unmatched: tuple[str, ...]
) -> None:
    # Scope goes before conditions: the false one is not told.
    text = policy(scope, 'when { context has form && context.form == "masked" }')
    assert candidates(text) == (Candidate(SOURCE, "permit", unmatched),)


@pytest.mark.parametrize(
    "scope",
    [
        'principal, action == Action::"lookup", resource',
        'principal == Principal::"crm", action == Action::"lookup", resource',
        'principal, action in [Action::"lookup", Action::"tokenize"], resource',
    ],
)
def test_a_policy_on_another_action_of_others_is_no_candidate(scope: str) -> None:
    assert candidates(policy(scope)) == ()


@pytest.mark.parametrize(
    ("conditions", "kind", "clause", "part", "text"),
    [
        ('when { principal.type == "person" }', "when", 1, 1, '(principal.type) == "person"'),
        ("when { true && false && true }", "when", 1, 2, "false"),
        ("when { true && (false && true) }", "when", 1, 2, "false && true"),
        ("when { true || false } when { true && true && false }", "when", 2, 3, "false"),
        ("unless { true && context has form }", "unless", 1, 1, "true && (context has form)"),
        ("unless { false } when { true } unless { true }", "unless", 3, 1, "true"),
        ("unless { false } when { false }", "when", 2, 1, "false"),
        # Were it not for the guard, the budget that is not there could not be read.
        (
            "when { context has budget_left && context.budget_left > 3 }",
            *("when", 1, 1, "context has budget_left"),
        ),
    ],
)
@pytest.mark.parametrize("effect", ["permit", "forbid"])
def test_the_first_term_that_does_not_hold_is_named(
    effect: str, conditions: str, kind: str, clause: int, part: int, text: str
) -> None:
    found = candidates(policy("principal, action, resource", conditions, effect))
    assert found == (Candidate(SOURCE, effect, (), kind, clause, part, text),)


def test_a_permit_that_a_forbid_outweighs_did_apply() -> None:
    text = policy("principal, action, resource", "when { true }", "forbid") + ALL
    assert candidates(text) == (Candidate(PolicySource("all", "own.cedar", 3), "permit"),)


def test_who_decided_or_failed_is_no_candidate() -> None:
    overflow = "when { context.item_count + 9223372036854775807 > 0 }"
    assert candidates(ALL) == ()
    assert candidates(ALL + policy("principal, action, resource", overflow, "forbid")) == ()


def test_a_request_that_fits_no_schema_was_put_to_no_policy() -> None:
    explanation = CedarEngine(BUNDLE).explain(asked(data_class=None))
    assert explanation.decision.errors == ("schema",)
    assert (explanation.sources, explanation.candidates) == ((), ())


_CASES: Mapping[str, AccessRequest] = {case.name: case.request for case in load_cases(BUNDLE)}
_ENGINE = CedarEngine(BUNDLE)


@given(st.sampled_from(sorted(_CASES)))
@settings(max_examples=200)
def test_every_policy_on_the_action_decides_or_says_why_not(name: str) -> None:
    request = _CASES[name]
    explanation = _ENGINE.explain(request)
    about = {
        policy.source.id
        for policy in _ENGINE.policies.values()
        if f"'{request.action.value}'" in str(policy.body["action"])
    }
    decided = set(explanation.decision.policies)
    others = {candidate.source.id for candidate in explanation.candidates}
    assert decided | others == about
    assert not decided & others
    outweighed = {c.source.id for c in explanation.candidates if not (c.unmatched or c.kind)}
    forbidden = {_ENGINE.policies[name].body["effect"] for name in decided} == {"forbid"}
    assert not outweighed or forbidden
