"""What the client can ask the vault about reports, as steps for either transport."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from vault_service.client.exchange import Call, Retry, Steps, Tries, exchange, refusal
from vault_service.client.operations import JSON_HEADERS, T, encode, get, read
from vault_service.client.report_results import (
    Inventory,
    Parts,
    ReportInfo,
    Reports,
    RightsTold,
    RunInfo,
    RunPage,
    TokenPage,
)

RUNS: Final = "/v1/reports/runs"
_SLOW_SECONDS: Final = 300.0
"""An inventory, and a split, read every row there is."""


def reports(retry: Retry) -> Steps[list[ReportInfo]]:
    """``GET /v1/reports``."""
    return (yield from get("/v1/reports", Reports, retry)).reports


def request_run(name: str, fields: Mapping[str, Any], retry: Retry) -> Steps[RunInfo]:
    """``POST /v1/reports/{name}/runs``: a repeat finds the run that is there."""
    return _post(f"/v1/reports/{quote(name, safe='')}/runs", fields, RunInfo, retry)


def run(run_id: str, retry: Retry) -> Steps[RunInfo]:
    """``GET /v1/reports/runs/{id}``."""
    return get(_run(run_id), RunInfo, retry)


def run_page(filters: Mapping[str, Any], retry: Retry) -> Steps[RunPage]:
    """One page of ``GET /v1/reports/runs``."""
    query = urlencode({name: value for name, value in filters.items() if value is not None})
    return get(RUNS + (f"?{query}" if query else ""), RunPage, retry)


def decide(run_id: str, verb: str, fields: Mapping[str, Any], retry: Retry) -> Steps[RunInfo]:
    """``POST …/approve`` or ``…/reject``."""
    return _post(f"{_run(run_id)}/{verb}", fields, RunInfo, retry)


def withdraw(approval_id: str, retry: Retry) -> Steps[None]:
    """``DELETE /v1/reports/approvals/{id}``."""
    tries = Tries(retry)
    path = f"/v1/reports/approvals/{quote(approval_id, safe='')}"
    answer = yield from exchange(Call("DELETE", path, headers=JSON_HEADERS), tries)
    if answer.status != 204 and not (answer.status == 404 and tries.made > 1):
        raise refusal(answer)


def start(run_id: str, order: str, holder: str, retry: Retry) -> Steps[RunInfo]:
    """``POST …/start``."""
    return _post(f"{_run(run_id)}/start", {"order": order, "holder": holder}, RunInfo, retry)


def on_run(run_id: str, verb: str, fields: Mapping[str, Any], retry: Retry) -> Steps[RunInfo]:
    """``POST …/{verb}`` of a job: a repeat by the same holder finds it done."""
    return _post(f"{_run(run_id)}/{verb}", fields, RunInfo, retry)


def split(run_id: str, holder: str, retry: Retry) -> Steps[Parts]:
    """``POST …/split``: a repeat finds the parts that there are."""
    content = encode({"holder": holder})
    call = Call("POST", f"{_run(run_id)}/split", content, JSON_HEADERS, timeout=_SLOW_SECONDS)
    return read((yield from exchange(call, Tries(retry))), Parts)


def token_page(run_id: str, fields: Mapping[str, Any], retry: Retry) -> Steps[TokenPage]:
    """One page of ``POST …/tokens``."""
    return _post(f"{_run(run_id)}/tokens", fields, TokenPage, retry)


def inventory(run_id: str, retry: Retry) -> Steps[Inventory]:
    """``GET …/inventory``."""
    call = Call("GET", f"{_run(run_id)}/inventory", headers=JSON_HEADERS, timeout=_SLOW_SECONDS)
    return read((yield from exchange(call, Tries(retry))), Inventory)


def rights(run_id: str, retry: Retry) -> Steps[RightsTold]:
    """``GET …/rights``."""
    return get(f"{_run(run_id)}/rights", RightsTold, retry)


def output_path(run_id: str, part: int | None = None) -> str:
    """Where the sealed output of a run, or of a part of it, is streamed from."""
    path = f"{_run(run_id)}/output"
    return path if part is None else f"{path}?part={part}"


def _run(run_id: str) -> str:
    return f"{RUNS}/{quote(run_id, safe='')}"


def _post(path: str, fields: Mapping[str, Any], type: type[T], retry: Retry) -> Steps[T]:
    content = encode({name: value for name, value in fields.items() if value is not None})
    answer = yield from exchange(Call("POST", path, content, JSON_HEADERS), Tries(retry))
    return read(answer, type)
