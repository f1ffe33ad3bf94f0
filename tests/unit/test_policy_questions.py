"""Equal questions have equal decisions, and what no policy reads makes no question new."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.adapters import policy_questions
from vault_service.adapters.cedar import SCHEMA_REFUSAL, CedarEngine
from vault_service.adapters.policy_files import load_bundle
from vault_service.adapters.policy_questions import RememberedDecisions
from vault_service.domain.access import AccessRequest, Action, Decision

BUNDLE = load_bundle(Path(__file__).parents[2] / "policies", None)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)  # a Monday
ALL = '@id("all") permit (principal, action, resource)'
VALUES = (
    '@id("all") permit (principal, action in [Action::"detokenize", Action::"tokenize"], resource)'
)
REVEALS = '@id("p") permit (principal, action == Action::"detokenize", resource)'
DATE = 'datetime("2026-01-05T12:00:01Z")'


def engine(text: str) -> CedarEngine:
    return CedarEngine(replace(BUNDLE, policies_text={"own.cedar": text + ";"}))


def remembered(text: str) -> RememberedDecisions:
    return RememberedDecisions(engine(text))


def ask(**changes: Any) -> AccessRequest:
    request = AccessRequest(
        BUNDLE.principals["chargeback-service"],
        Action.DETOKENIZE,
        "pan",
        BUNDLE.catalog.data_classes["pan"].tags,
        purpose="chargeback",
        form="plain",
        item_count=3,
        budget_left=5,
        at=NOON,
    )
    return replace(request, **changes)


_VARIED = st.builds(
    ask,
    action=st.sampled_from([Action.DETOKENIZE, Action.TOKENIZE]),
    token_tags=st.sampled_from([(), (("region", "eu"),), (("order", "1"), ("region", "us"))]),
    purpose=st.sampled_from([None, "chargeback"]),
    form=st.sampled_from([None, "masked", "plain"]),
    item_count=st.sampled_from([1, 3, 4, 5, 6, 2**63]),
    budget_left=st.sampled_from([None, 0, 3, 5, 6, 2**63]),
    at=st.sampled_from(
        [NOON, NOON.replace(hour=7), NOON.replace(day=6), NOON + timedelta(seconds=1)]
    ),
)
_TEXTS = [
    ALL,
    *(
        f"{VALUES} when {{ {condition} }}"
        for condition in (
            "context has budget_left && context.item_count > context.budget_left",
            "context has budget_left",
            "context has budget_left && [3, 5].contains(context.budget_left)",
            "context has budget_left && context.budget_left + context.item_count > 8",
            "context has budget_left && -context.budget_left < -3",
            "context.item_count == 4 || context.item_count >= 6",
            "4 == context.item_count || 5 < context.item_count",
            "context.item_count != 4",
            "context.item_count * 4611686018427387904 > 0",
            "context.hour < 8",
            "8 <= context.hour",
            "context.weekday == 1",
            f"context.now < {DATE}",
            f"{DATE} > context.now",
            'context.now < datetime("2026-01-05T13:00:00+0100")',
            'context.now.toTime() < duration("8h")',
            f"context.now.durationSince({DATE}).toSeconds() < 0",
            "(if true then context else context).item_count < 4",
            'resource.hasTag("region")',
            'resource.hasTag("region") && resource.getTag("region") == "eu"',
            "principal.hasTag(resource.data_class) || resource.hasTag(principal.name)",
            "context has purpose && resource.hasTag(context.purpose)",
            'resource == Data::"pan" && resource.hasTag("order")',
            'if resource.hasTag("order") then context.hour < 8 else context.item_count < 4',
        )
    ),
    f"{REVEALS} when {{ context.hour < 8 }}",
    f"{REVEALS} unless {{ context.hour < 8 }}",
    '@id("p") forbid (principal, action in [Action::"tokenize"], resource)'
    f" when {{ context.item_count > 4 }};\n{ALL}",
]
_BOTH = [(engine(text), remembered(text)) for text in _TEXTS]


@pytest.mark.parametrize("number", range(len(_TEXTS)))
@given(requests=st.lists(_VARIED, min_size=2, max_size=20))
def test_a_remembered_decision_is_the_engines(number: int, requests: list[AccessRequest]) -> None:
    plain, memory = _BOTH[number]
    for request in requests:
        assert memory.decide(request) == plain.decide(request)


@pytest.mark.parametrize(
    ("condition", "changes"),
    [
        ("true", {"item_count": 9, "budget_left": 1, "at": NOON.replace(day=7, hour=2)}),
        ("true", {"token_tags": (("order", "77"),)}),
        ("context.item_count < 5", {"item_count": 4}),
        ("context has budget_left", {"budget_left": 77}),
        ("context.item_count > 0", {"budget_left": 77}),
        (
            "context has budget_left && context.item_count > context.budget_left",
            {"item_count": 70, "budget_left": 77},
        ),
        ("context.hour < 8", {"at": NOON.replace(day=6, hour=13, minute=5)}),
        (f"context.now < {DATE}", {"at": NOON.replace(hour=3)}),
        ('resource.hasTag("region")', {"token_tags": (("order", "77"),)}),
    ],
)
def test_what_the_policies_cannot_tell_apart_is_one_question(
    condition: str, changes: dict[str, Any]
) -> None:
    memory = remembered(f"{VALUES} when {{ {condition} }}")
    assert memory.question(ask()) == memory.question(ask(**changes))


def test_what_policies_on_other_actions_read_makes_no_question_new() -> None:
    memory = remembered(f"{REVEALS} when {{ [1, 4].contains(context.item_count) }}")
    tokenize = ask(action=Action.TOKENIZE)
    assert memory.question(tokenize) == memory.question(replace(tokenize, item_count=9))
    assert memory.question(ask()) != memory.question(ask(item_count=9))


def test_the_schemas_groups_of_actions_may_hold_any_action() -> None:
    schema = BUNDLE.schema_text.replace(
        "action tokenize, detokenize", "action on_values;\naction tokenize, detokenize"
    ).replace("delete_token appliesTo", "delete_token in [on_values] appliesTo")
    text = '@id("p") permit (principal, action in Action::"on_values", resource) '
    grouped = replace(
        BUNDLE,
        schema_text=schema,
        policies_text={"own.cedar": text + "when { context.hour < 8 };"},
    )
    memory = RememberedDecisions(CedarEngine(grouped))
    assert not memory.decide(ask()).allowed
    assert memory.question(ask()) != memory.question(ask(at=NOON.replace(hour=7)))


def test_the_sample_policies_ask_one_question_of_any_budget_that_suffices() -> None:
    memory = RememberedDecisions(CedarEngine(BUNDLE))
    questions = {
        memory.question(ask(item_count=n % 7 + 1, budget_left=1000 - n, at=NOON + hour * n))
        for hour in [timedelta(hours=1)]
        for n in range(500)
    }
    assert len(questions) == 1


def test_a_number_that_no_long_holds_fits_no_schema() -> None:
    memory = remembered(
        f"{ALL} when {{ context has budget_left && context.item_count < context.budget_left }}"
    )
    assert memory.decide(ask()).allowed
    assert not memory.decide(ask(item_count=9)).errors
    refused = Decision(allowed=False, errors=(SCHEMA_REFUSAL,))
    assert memory.decide(ask(item_count=2**63)) == refused
    assert memory.decide(ask(budget_left=2**63)) == refused


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_questions, "MEMO_SIZE", 10)
    memory = remembered(f"{ALL} when {{ [1, 4].contains(context.item_count) }}")
    for number in range(25):
        memory.decide(ask(item_count=number))
        assert len(memory._memo) <= 10
    assert memory.decide(ask(item_count=4)).allowed
    assert not memory.decide(ask(item_count=5)).allowed
