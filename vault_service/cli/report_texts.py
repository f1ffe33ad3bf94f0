"""Reports and runs in words, and parameters from the command line."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from vault_service.cli.operation import stop
from vault_service.client.report_results import ReportInfo, RunInfo
from vault_service.domain.report_runs import RunState
from vault_service.domain.reports import ParameterType

_BOUND: Final = {
    "tenant": "tenant",
    "report": "report",
    "template_hash": "report and code (SHA-256)",
    "parameters": "parameters",
    "period": "period",
    "format": "format",
    "recipient": "sealed to",
    "row_cap": "rows at the most",
    "expires_at": "to be made before",
}


def parameters_of(report: ReportInfo, pairs: Sequence[str]) -> dict[str, Any]:
    """Parameters from ``NAME=VALUE`` texts, by the types that the report gives them; tokens
    are separated by commas. Exit 2 for a text that is none."""
    kinds = {parameter.name: parameter.type for parameter in report.parameters}
    found: dict[str, Any] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not name or not separator or name in found:
            stop("Write -p NAME=VALUE, each name once.")
        if name not in kinds:
            known = ", ".join(sorted(kinds)) or "none"
            stop(f"The report {report.name} has no such parameter; it has: {known}.")
        found[name] = _value(name, kinds[name], value)
    return found


def _value(name: str, kind: str, text: str) -> Any:
    if kind == ParameterType.INTEGER:
        if not text.lstrip("-").isdigit() or not text.isascii():
            stop(f"{name} must be a whole number.")
        return int(text)
    if kind == ParameterType.TOKENS:
        return [token.strip() for token in text.split(",") if token.strip()]
    return text


def report_lines(report: ReportInfo) -> list[str]:
    """A report for people: what it is, needs and gives, and what the caller may do."""
    rights = {"run": report.may_run, "approve": report.may_approve}
    may = [word for word, right in rights.items() if right]
    lines = [
        f"{report.name}: {report.title}",
        f"  {report.description}",
        f"  you may {' and '.join(may) or 'neither run nor approve it'}"
        f"; {'needs an approval' if report.needs_approval else 'needs no approval'}"
        f"; up to {report.row_cap} rows; {', '.join(report.formats)}",
    ]
    lines += [
        f"  -p {p.name}=…  {p.type}{'' if p.required else ', optional'}: {p.description}"
        for p in report.parameters
    ]
    if report.schedule is not None:
        lines.append(f"  scheduled: {report.schedule}")
    lines += [
        f"  standing approval {s.id} by {s.approver} until {s.until[:19]}Z"
        for s in report.standing_approvals
    ]
    return lines


def binding_lines(run: RunInfo, until: datetime | None) -> list[str]:
    """What an approval of the run is of, field by field."""
    bound = dict(run.binding)
    lines = [f"{run.id}, asked for by {run.requester}, for {run.purpose}:"]
    for name, title in _BOUND.items():
        lines.append(f"  {title + ':':<27}{shown(bound.pop(name, None))}")
    lines += [f"  {name + ':':<27}{shown(value)}" for name, value in sorted(bound.items())]
    if until is not None:
        lines.append(f"And runs alike of any period until {until:%Y-%m-%d %H:%M:%S} UTC.")
    return lines


def run_lines(run: RunInfo) -> list[str]:
    """A run for people."""
    lines = [
        f"{run.id}  {run.report}  {run.state}",
        f"  asked for by {run.requester} on {run.requested_at[:19]}Z",
        f"  parameters {shown(json.dumps(run.parameters, ensure_ascii=False))}"
        + (f", period {run.period}" if run.period else ""),
        f"  {run.format}, up to {run.row_cap} rows, sealed to {shown(run.recipient)}",
    ]
    if run.approver is not None:
        lines.append(f"  approved by {run.approver} on {(run.approved_at or '')[:19]}Z")
    elif run.needs_approval and run.state == "requested":
        lines.append(f"  waits for an approval: strongroom report approve {run.id}")
    if run.code is not None:
        why = run.code if run.rule is None else f"{run.code} ({run.rule})"
        lines.append(f"  {run.state} by {why}")
    if run.parts:
        lines.append(f"  {run.parts_done} of {run.parts} parts are done")
    if run.state == RunState.SUCCEEDED:
        what = f"SHA-256 {run.output_sha256}" if run.output_sha256 else "each as the manifest says"
        lines.append(f"  {run.rows} rows in {run.output_bytes} sealed bytes, {what}")
        lines.append(f"  strongroom report output {run.id} -o FILE")
    return lines


def shown(value: Any) -> str:
    """A value from the vault on one line of a terminal, whatever it holds."""
    text = str(value)
    return "".join(character if character.isprintable() else "?" for character in text) or "none"
