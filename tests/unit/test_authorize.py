"""The authorizer: purposes, decisions, and which error a denial becomes."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from vault_service.adapters.cedar import CedarEngine
from vault_service.adapters.policy_files import load_bundle
from vault_service.domain.access import Action, Decision
from vault_service.domain.errors import Code, VaultError
from vault_service.services.authorize import Authorizer

BUNDLE = load_bundle(Path(__file__).parents[2] / "policies", None)
NOW = datetime(2026, 1, 5, 12, 0, 0, 987654, tzinfo=UTC)
AUTHORIZER = Authorizer(CedarEngine(BUNDLE), BUNDLE.catalog, lambda: NOW)
CHARGEBACK = BUNDLE.principals["chargeback-service"]
PAN = BUNDLE.catalog.data_classes["pan"]


def test_a_purpose_of_the_catalog_passes() -> None:
    assert AUTHORIZER.check_purpose("chargeback") == "chargeback"


def test_a_missing_purpose_is_asked_for() -> None:
    with pytest.raises(VaultError) as refused:
        AUTHORIZER.check_purpose(None)
    assert refused.value.code is Code.PURPOSE_REQUIRED


@pytest.mark.parametrize("purpose", ["", "Chargeback", "because 4111111111111111"])
def test_another_purpose_is_refused_and_not_echoed(purpose: str) -> None:
    with pytest.raises(VaultError) as refused:
        AUTHORIZER.check_purpose(purpose)
    assert refused.value.code is Code.INVALID_REQUEST
    (error,) = refused.value.errors
    assert error.field == "purpose"
    assert "4111" not in f"{refused.value.detail}{refused.value.errors}"


def test_the_question_holds_what_the_policies_see() -> None:
    request = AUTHORIZER.request(
        CHARGEBACK,
        Action.DETOKENIZE,
        data_class=PAN,
        tags=(("region", "eu"),),
        purpose="chargeback",
        form="plain",
        item_count=7,
        budget_left=9,
    )
    assert (request.data_class, request.class_tags) == ("pan", PAN.tags)
    assert request.token_tags == (("region", "eu"),)
    assert (request.item_count, request.budget_left) == (7, 9)
    assert request.at == NOW.replace(microsecond=0)


def test_a_permitted_reveal_is_decided_by_its_policy() -> None:
    expected = Decision(True, ("disputes-reveal-pan",))
    for ask in (AUTHORIZER.decide, AUTHORIZER.require):
        decision = ask(
            CHARGEBACK, Action.DETOKENIZE, data_class=PAN, purpose="chargeback", form="plain"
        )
        assert decision == expected


def test_an_action_about_no_value_is_decided() -> None:
    assert AUTHORIZER.decide(BUNDLE.principals["auditor"], Action.READ_AUDIT).allowed
    assert not AUTHORIZER.decide(CHARGEBACK, Action.READ_AUDIT).allowed


@pytest.mark.parametrize(
    ("purpose", "item_count", "budget_left", "code"),
    [
        ("payout", 1, None, Code.ACCESS_DENIED),
        ("chargeback", 2, 1, Code.BUDGET_EXCEEDED),
        ("chargeback", 1, 0, Code.BUDGET_EXCEEDED),
        # Out of budget and not allowed besides: the budget must not be blamed.
        ("payout", 2, 1, Code.ACCESS_DENIED),
    ],
)
def test_a_denial_becomes_the_right_error(
    purpose: str, item_count: int, budget_left: int | None, code: Code
) -> None:
    with pytest.raises(VaultError) as refused:
        AUTHORIZER.require(
            CHARGEBACK,
            Action.DETOKENIZE,
            data_class=PAN,
            purpose=purpose,
            form="plain",
            item_count=item_count,
            budget_left=budget_left,
        )
    assert refused.value.code is code
