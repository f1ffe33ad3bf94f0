"""Alarms look for what the service does say: event names, metrics, its log's JSON."""

import re
from pathlib import Path
from typing import Any, Final

import pytest

CODE: Final = Path(__file__).parents[2]
MONITORING: Final = "module.vault.module.monitoring"


def planned(plan: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """What the plan makes of a type, by address below the module."""
    return {
        each["address"].removeprefix(f"{MONITORING}."): each["change"]["after"]
        for each in plan["resource_changes"]
        if each["type"] == kind and each["address"].startswith(MONITORING)
    }


def source(folder: str) -> str:
    return "\n".join(path.read_text() for path in (CODE / folder).rglob("*.py"))


def test_every_event_that_rings_is_logged_somewhere(production_plan: dict[str, Any]) -> None:
    filters = planned(production_plan, "aws_cloudwatch_log_metric_filter")
    patterns = [
        each["pattern"] for each in filters.values() if each["log_group_name"].endswith("/service")
    ]
    events = {
        name for pattern in patterns for name in re.findall(r'\$\.event = "([^"]+)"', pattern)
    }
    code = source("vault_service")
    assert not {name for name in events if f'"{name}"' not in code}
    assert {
        "honeytoken_touched",
        "audit_unsealed",
        "audit_log_broken",
        "audit_write_failed",
    } <= events


def test_every_metric_that_rings_is_counted_and_carried_out(
    production_plan: dict[str, Any],
) -> None:
    alarms = planned(production_plan, "aws_cloudwatch_metric_alarm")
    metrics = {each["metric_name"] for each in alarms.values() if each["namespace"] == "Strongroom"}
    counted = source("vault_service/adapters/telemetry")
    carried = (CODE / "infra/terraform/modules/service/metrics.tf").read_text()
    assert {
        "strongroom_audit_unsealed_seconds",
        "strongroom_authentication_failures_total",
    } <= metrics
    for name in metrics:
        assert f'"{name}"' in counted
        assert f'"^{name}$"' in carried


@pytest.mark.parametrize("silence", ["trail_silent", "tail_age", "tasks_missing"])
def test_silence_rings(production_plan: dict[str, Any], silence: str) -> None:
    alarms = planned(production_plan, "aws_cloudwatch_metric_alarm")
    assert alarms[f'aws_cloudwatch_metric_alarm.measured["{silence}"]']["treat_missing_data"] == (
        "breaching"
    )
