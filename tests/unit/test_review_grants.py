"""Whom a policy may apply to: held against Cedar itself, and by example."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.adapters.cedar import CedarEngine
from vault_service.adapters.policy_files import load_bundle
from vault_service.domain.access import AccessRequest, Action
from vault_service.domain.principals import Principal, PrincipalType
from vault_service.domain.review_grants import may_apply

POLICIES = Path(__file__).parents[2] / "policies"
ENGINE = CedarEngine(load_bundle(POLICIES, None))
BUNDLE = ENGINE.bundle
CHECKOUT = Principal(
    "checkout", PrincipalType.SERVICE, "main", {"duty": "capture", "clearance": "pci"}
)
DATA = {
    *(Action.TOKENIZE, Action.DETOKENIZE, Action.LOOKUP),
    *(Action.DESCRIBE_TOKEN, Action.DELETE_TOKEN),
}


@st.composite
def requests(draw: st.DrawFn) -> AccessRequest:
    action = draw(st.sampled_from(Action))
    data_class = None
    if action in DATA:
        data_class = draw(st.sampled_from(sorted(BUNDLE.catalog.data_classes.values(), key=str)))
    tags = {
        name: draw(st.sampled_from(sorted(values)))
        for name, values in sorted(BUNDLE.vocabulary.items())
        if draw(st.booleans())
    }
    kind = draw(st.sampled_from(PrincipalType))
    principal = Principal(draw(st.sampled_from(sorted(BUNDLE.principals))), kind, "main", tags)
    return AccessRequest(
        principal,
        action,
        None if data_class is None else data_class.name,
        frozenset() if data_class is None else data_class.tags,
        draw(st.sampled_from([(), (("region", "eu"),), (("region", "us"),)])),
        draw(st.none() | st.sampled_from(sorted(BUNDLE.catalog.purposes))),
        draw(st.none() | st.sampled_from(["masked", "plain"])),
        draw(st.integers(1, 100)),
        draw(st.none() | st.integers(0, 100)),
        datetime(2026, 1, 5, 12, tzinfo=UTC),
    )


@given(requests())
def test_no_principal_is_left_out_that_a_policy_decides_for(request: AccessRequest) -> None:
    for name in ENGINE.decide(request).policies:
        assert may_apply(ENGINE.policies[name].body, request.principal), name


def matched(name: str) -> list[str]:
    body = ENGINE.policies[name].body
    return sorted(p.name for p in BUNDLE.principals.values() if may_apply(body, p))


@pytest.mark.parametrize(
    ("policy", "principals"),
    [
        ("capture-reveals-masked", ["checkout", "crm", "other-merchant"]),
        ("payouts-reveal-iban", ["payout-service"]),
        ("job-exports-a-subject", ["job:subject_access"]),
        ("auditors-read-the-log", ["auditor"]),
        ("reveal-stays-within-budget", sorted(BUNDLE.principals)),
    ],
)
def test_the_sample_policies_name_whom_they_mean(policy: str, principals: list[str]) -> None:
    assert matched(policy) == principals


def body_of(text: str) -> Any:
    parsed = json.loads(cedarpy.policies_to_json_str(f'@id("p") {text};'))
    return parsed["staticPolicies"]["policy0"]


def conditions() -> Iterator[tuple[str, bool]]:
    """A condition, and whether some request of checkout may satisfy it."""
    mine = 'principal.hasTag("duty") && principal.getTag("duty") == '
    yield 'when { principal.name == "checkout" }', True
    yield 'when { principal.name != "checkout" }', False
    yield 'when { principal == Principal::"checkout" }', True
    yield 'when { principal == Principal::"crm" }', False
    yield 'when { principal in Principal::"crm" }', False
    yield 'when { principal.type == "person" }', False
    yield 'when { principal.tenant == "main" }', True
    yield "when { principal has name }", True
    yield "when { principal has surname }", False
    yield f'when {{ {mine} "capture" }}', True
    yield f'when {{ {mine} "load" }}', False
    yield f'unless {{ {mine} "capture" }}', False
    yield f'unless {{ {mine} "load" }}', True
    yield 'when { principal.hasTag("region") }', False
    yield 'when { !principal.hasTag("region") }', True
    yield 'when { ["pci", "pii"].contains(principal.getTag("clearance")) }', True
    yield 'when { ["pii"].contains(principal.getTag("clearance")) }', False
    yield 'when { context.form == "masked" && principal.type == "person" }', False
    yield 'when { context.form == "masked" || principal.type == "person" }', True
    yield 'when { principal.type == "person" || principal.type == "job" }', False
    yield 'when { !(context.form == "masked") }', True
    yield 'unless { context.form == "masked" || principal.type == "service" }', False
    yield 'unless { context.form == "masked" && principal.type == "service" }', True
    yield 'when { if principal.type == "person" then true else false }', False
    yield 'when { if principal.type == "service" then context.item_count > 1 else false }', True
    yield "when { if context.item_count > 1 then false else false }", True  # not read so far
    yield 'when { principal.name like "check*" && context.item_count + 1 == 2 }', True
    yield "when { [1, 2].contains(context.item_count) }", True
    yield "when { [principal.name, context.form].contains(context.purpose) }", True
    yield "when { false }", False
    yield "", True


@pytest.mark.parametrize(("condition", "expected"), list(conditions()))
def test_conditions(condition: str, expected: bool) -> None:
    body = body_of(f"permit (principal, action, resource) {condition}")
    assert may_apply(body, CHECKOUT) is expected


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("principal", True),
        ('principal == Principal::"checkout"', True),
        ('principal == Principal::"crm"', False),
        ('principal in Principal::"checkout"', True),
        ('principal in Principal::"crm"', False),
        ("principal is Principal", True),
        ("principal is Data", False),
        ('principal is Principal in Principal::"checkout"', True),
        ('principal is Principal in Principal::"crm"', False),
    ],
)
def test_scopes(scope: str, expected: bool) -> None:
    body = body_of(f'permit ({scope}, action == Action::"tokenize", resource)')
    assert may_apply(body, CHECKOUT) is expected
