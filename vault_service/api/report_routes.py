"""The routes of reports, as the table in ``app`` takes them."""

from typing import Final

from vault_service.api import report_bodies, report_jobs, report_messages, reports
from vault_service.api.endpoint import Endpoint, Handler
from vault_service.api.openapi import ALWAYS, Operation
from vault_service.domain.access import Action

_RUN: Final = "/v1/reports/runs/{id}"
_REFUSABLE: Final = (200, *ALWAYS, 403, 404, 409, 410, 422)


def _on_run(
    handler: Handler,
    verb: str,
    action: str,
    summary: str,
    request: type | None,
    answer: type = report_messages.RunAnswer,
) -> Operation:
    route = f"{_RUN}/{verb}" if verb else _RUN
    method = "GET" if request is None and verb in ("", "inventory", "rights") else "POST"
    endpoint = Endpoint(handler, route=route, method=method, action=action)
    return Operation(endpoint, summary, _REFUSABLE, request, answer)


OPERATIONS: Final = (
    Operation(
        Endpoint(reports.reports, route="/v1/reports", method="GET"),
        "Reports, with what the caller may do",
        (200, *ALWAYS),
        answer=report_messages.ReportsAnswer,
    ),
    Operation(
        Endpoint(
            reports.request_run,
            route="/v1/reports/{name}/runs",
            method="POST",
            action=Action.RUN_REPORT,
        ),
        "Ask for a run; the same request finds the run that is there",
        (201, *_REFUSABLE),
        report_bodies.RunBody,
        report_messages.RunAnswer,
    ),
    Operation(
        Endpoint(
            reports.runs,
            route="/v1/reports/runs",
            method="GET",
            action="read_report_run",
            parameters=reports.PARAMETERS,
        ),
        "Runs that the caller has a part in, newest first",
        (200, *ALWAYS, 422),
        answer=report_messages.RunsAnswer,
    ),
    _on_run(reports.run, "", "read_report_run", "One run", None),
    _on_run(
        reports.approve,
        "approve",
        Action.APPROVE_REPORT,
        "Approve a run as it was seen",
        report_bodies.ApproveBody,
    ),
    _on_run(
        reports.reject,
        "reject",
        Action.APPROVE_REPORT,
        "Reject a run that waits for an approval",
        None,
    ),
    Operation(
        Endpoint(
            reports.output,
            route=f"{_RUN}/output",
            method="GET",
            action="report_output_read",
            parameters=frozenset({"part"}),
        ),
        "The sealed output of a run, or one of its parts, for who asked for it and who approved it",
        _REFUSABLE,
        text=reports.SEALED.decode(),
    ),
    Operation(
        Endpoint(
            reports.withdraw,
            route="/v1/reports/approvals/{id}",
            method="DELETE",
            action="report_approval_withdrawn",
        ),
        "Withdraw a standing approval",
        (204, *ALWAYS, 404, 422),
    ),
    _on_run(
        report_jobs.start,
        "start",
        "report_started",
        "Lease a run, or a part of one, by its signed order, for its job",
        report_bodies.StartBody,
    ),
    _on_run(
        report_jobs.heartbeat,
        "heartbeat",
        "report_refused",
        "Keep the lease of a run",
        report_bodies.HeartbeatBody,
    ),
    _on_run(
        report_jobs.release,
        "release",
        "report_refused",
        "Give the lease back",
        report_bodies.ReleaseBody,
    ),
    _on_run(
        report_jobs.split,
        "split",
        "report_refused",
        "Cut a heavy run into parts, and tell them",
        report_bodies.SplitBody,
        report_messages.PartsAnswer,
    ),
    _on_run(
        report_jobs.run_tokens,
        "tokens",
        "report_tokens_read",
        "Tokens of a class that the report declares, without values",
        report_bodies.RunTokensBody,
        report_messages.RunTokensAnswer,
    ),
    _on_run(
        report_jobs.inventory,
        "inventory",
        "report_inventory_read",
        "What is stored, by class and key",
        None,
        report_messages.InventoryAnswer,
    ),
    _on_run(
        report_jobs.rights,
        "rights",
        "report_rights_read",
        "Policies in force and their principals, for a report that declares that it reads them",
        None,
        report_messages.RightsAnswer,
    ),
    _on_run(
        report_jobs.seal,
        "seal",
        "report_refused",
        "Tell what is sealed and about to be published",
        report_bodies.ResultBody,
    ),
    _on_run(
        report_jobs.finish,
        "finish",
        "report_refused",
        "End a run well, or a part of one; the run's answer has its signed manifest",
        report_bodies.ResultBody,
    ),
    _on_run(
        report_jobs.fail,
        "fail",
        "report_refused",
        "End a run as failed",
        report_bodies.FailBody,
    ),
)
