"""What stands in a run's way, by stable names beside the error codes.

A refusal's ``errors`` hold the rule, and so does the audit event's ``detail``. Names are
part of the contract (docs/reports.md).
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from vault_service.domain.errors import Code, FieldError, VaultError


class _Rule(NamedTuple):
    code: Code
    field: str
    detail: str


RULES: Final[Mapping[str, _Rule]] = {
    "self_approval": _Rule(
        Code.ACCESS_DENIED, "approver", "Nobody approves the run that they asked for."
    ),
    "other_report": _Rule(Code.ACCESS_DENIED, "report", "The approval is of another report."),
    "template_changed": _Rule(
        Code.ACCESS_DENIED,
        "template_hash",
        "The report has changed since; ask for a new run.",
    ),
    "other_parameters": _Rule(
        Code.ACCESS_DENIED, "parameters", "The approval is of other parameters."
    ),
    "other_period": _Rule(Code.ACCESS_DENIED, "period", "The approval is of another period."),
    "other_format": _Rule(Code.ACCESS_DENIED, "format", "The approval is of another format."),
    "other_recipient": _Rule(
        Code.ACCESS_DENIED, "recipient", "The approval is of another recipient."
    ),
    "larger_cap": _Rule(
        Code.ACCESS_DENIED, "row_cap", "The run may have more rows than the approval allows."
    ),
    "other_row_cap": _Rule(Code.ACCESS_DENIED, "row_cap", "The approval is of another row cap."),
    "other_expiry": _Rule(Code.ACCESS_DENIED, "expires_at", "The approval is of another expiry."),
    "approval_expired": _Rule(
        Code.EXPIRED, "expires_at", "The run, or its approval, has expired; ask for a new run."
    ),
    "not_approved": _Rule(Code.ACCESS_DENIED, "state", "The run waits for an approval."),
    "not_waiting": _Rule(
        Code.INVALID_REQUEST, "state", "The run does not wait for an approval (any more)."
    ),
    "ended": _Rule(Code.INVALID_REQUEST, "state", "The run has ended; ask for a new run."),
    "not_running": _Rule(Code.ACCESS_DENIED, "run", "The run is not running; start it first."),
    "no_run": _Rule(
        Code.ACCESS_DENIED, "X-Strongroom-Run", "A job reads for a run alone; name it."
    ),
    "other_job": _Rule(Code.ACCESS_DENIED, "run", "The run is not this principal's to make."),
    "order_altered": _Rule(
        Code.ACCESS_DENIED, "order", "The work order is not as the vault signed it for this run."
    ),
    "leased": _Rule(Code.IDEMPOTENCY_CONFLICT, "run", "Another process makes this run now."),
    "lease_lost": _Rule(Code.ACCESS_DENIED, "holder", "Another process has taken the run over."),
    "no_part": _Rule(Code.ACCESS_DENIED, "part", "The run was not split into such a part."),
    "requester_denied": _Rule(
        Code.ACCESS_DENIED, "requester", "Who asked for the run may no longer run the report."
    ),
    "other_purpose": _Rule(
        Code.ACCESS_DENIED, "purpose", "The report is declared for another purpose."
    ),
    "undeclared_class": _Rule(
        Code.ACCESS_DENIED, "data_class", "The report does not declare this data class."
    ),
    "undeclared_form": _Rule(
        Code.ACCESS_DENIED, "form", "The report does not declare this form of the data class."
    ),
    "undeclared_rights": _Rule(
        Code.ACCESS_DENIED, "run", "The report does not declare that it reads who may do what."
    ),
    "rights_denied": _Rule(
        Code.ACCESS_DENIED, "run", "The policies let the report's job read no log."
    ),
    "undeclared_column": _Rule(
        Code.ACCESS_DENIED, "columns", "The output's columns are not those of the report."
    ),
    "row_cap_exceeded": _Rule(
        Code.ACCESS_DENIED, "row_cap", "The run would read or show more than its caps allow."
    ),
    "other_result": _Rule(
        Code.INVALID_REQUEST, "output_sha256", "The run was finished with another output."
    ),
}

_FIELDS: Final = {
    "tenant": "other_report",
    "report": "other_report",
    "template_hash": "template_changed",
    "parameters": "other_parameters",
    "parameters_sha256": "other_parameters",
    "period": "other_period",
    "format": "other_format",
    "recipient": "other_recipient",
    "expires_at": "other_expiry",
}


def refused(rule: str, *, retry_after: int | None = None) -> VaultError:
    """The error for a rule that was broken."""
    code, field, detail = RULES[rule]
    return VaultError(
        code, detail, errors=(FieldError(field, rule, detail),), retry_after=retry_after
    )


def difference(approved: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The rule that ``now`` breaks where it is not what was ``approved``, both field by
    field; ``None`` where they are the same."""
    for name, rule in _FIELDS.items():
        if approved.get(name) != now.get(name):
            return rule
    cap, wanted = approved.get("row_cap"), now.get("row_cap")
    if cap != wanted:
        larger = isinstance(cap, int) and isinstance(wanted, int) and wanted > cap
        return "larger_cap" if larger else "other_row_cap"
    return None if approved.keys() == now.keys() else "other_report"
