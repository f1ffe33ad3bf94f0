"""Entries of Lambda: one a report, and the worker of the queue.

A report's function takes what EventBridge sends on a schedule, ``{"order": …}`` with a
signed work order, or a request ``{"report", "parameters", "recipient", "format",
"period"}``, which it makes in its own name and runs at once where nobody has to approve it.
The period of a schedule is the time of its event, which a repeated delivery carries again.

Lambda tries an event three times within minutes. So a run that is not to be made now, for
want of time or of a service, or as another process has it, is left to the queue, which comes
back to it when that may have passed, fails it in the end, and can be redriven.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Final

from reporting_jobs import queue, wiring
from reporting_jobs.failures import LeaseLost, OrderRefused, OutOfTime, RunFailed
from reporting_jobs.runner import Outcome, Runner
from reporting_jobs.settings import JobSettings, load
from vault_service.client.report_lease import work_of
from vault_service.client.report_results import RunInfo
from vault_service.domain.report_notes import order_in
from vault_service.domain.report_runs import RunState
from vault_service.memory import forbid_core_dumps

Handler = Callable[[Mapping[str, Any], Any], dict[str, Any]]
_REQUEST: Final = frozenset({"report", "parameters", "recipient", "format", "period"})


def handler(report: str) -> Handler:
    """The entry of one report's function."""
    return partial(_report, report)


def queue_worker(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """The entry of the queue's worker."""
    return queue.process(
        event, _runner(), receives=_settings().receives, remaining=_remaining(context)
    )


def _report(report: str, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    if "order" in event:
        order = event["order"]
        if event.keys() != {"order"} or not isinstance(order, str):
            raise OrderRefused("an event with an order has nothing else")
    else:
        run = _requested(report, event)
        if run.order is None:
            return _told(Outcome(run.id, run.report, run.state, run.code, run.rows))
        order = run.order
    try:
        return _told(_runner().run(order, only=report, remaining=_remaining(context)))
    except (LeaseLost, OutOfTime, RunFailed):
        url = _settings().queue
        if not url:
            raise
        queue.sender(url)([order])
        return _told(Outcome(order_in(work_of(order)).run, report, RunState.RUNNING))


def _requested(report: str, event: Mapping[str, Any]) -> RunInfo:
    if event.get("source") == "aws.events":
        asked: dict[str, Any] = {"period": event["time"]}
    else:
        if not event.keys() <= _REQUEST or event.get("report", report) != report:
            raise OrderRefused("not a request for this report")
        asked = {name: event[name] for name in event if name != "report"}
    return wiring.request_run(_settings(), report, asked)


def _told(outcome: Outcome) -> dict[str, Any]:
    return {
        "run": outcome.run_id,
        "report": outcome.report,
        "state": str(outcome.state),
        "code": outcome.code,
        "rows": outcome.rows,
    }


def _remaining(context: Any) -> Callable[[], float]:
    return lambda: context.get_remaining_time_in_millis() / 1000


@cache
def _settings() -> JobSettings:
    # Before anything is read that a dump could leave behind.
    forbid_core_dumps()
    return load()


@cache
def _runner() -> Runner:
    return wiring.runner(_settings())


access_review = handler("access_review")
pci_inventory = handler("pci_inventory")
retention_purge = handler("retention_purge")
subject_access = handler("subject_access")
breach_notification = handler("breach_notification")
chargeback_file = handler("chargeback_file")
sanctions_screening = handler("sanctions_screening")
audit_verify = handler("audit_verify")
audit_seal = handler("audit_seal")
