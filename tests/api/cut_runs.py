"""Runs that are cut into parts, up to where a test begins, and what a job tells of each part."""

import hashlib
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.reporting import RSA_KEY, job, people, refusal
from tests.serving import Server
from vault_service.client import RequestRefused
from vault_service.client.report_results import PartInfo, RunInfo

REPORT: Final = "sanctions_screening"
NAMES: Final = [f"Anna Muster{chr(97 + number)}" for number in range(10)]


def ordered(server: Server, period: str, **fields: Any) -> RunInfo:
    """An approved run."""
    wanted = {"recipient": RSA_KEY, "format": "csv", "period": period} | fields
    run = people(server, "compliance-officer").request_run(REPORT, **wanted)
    return people(server, "compliance-lead").approve(run.id, binding=run.binding)


def cut(server: Server, period: str, **fields: Any) -> tuple[RunInfo, list[PartInfo]]:
    """A run and its parts."""
    run = ordered(server, period, **fields)
    client = job(server, REPORT)
    client.start(run.order or "")
    return run, client.split()


def result(server: Server, run: RunInfo, number: int, rows: int = 1) -> dict[str, Any]:
    """What a job tells of a part that it made."""
    content = f"sealed {number}".encode()
    location = f"{REPORT}/{run.id}/part-{number:04}/1.sealed"
    path = server.home / "reports" / location
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {
        "rows": rows,
        "columns": ["token"],
        "output_sha256": hashlib.sha256(content).hexdigest(),
        "output_bytes": len(content),
        "output_location": location,
    }


def made(server: Server, run: RunInfo, part: PartInfo, rows: int = 1) -> RunInfo:
    """A part from its start to its end."""
    client = job(server, REPORT)
    client.start(part.order)
    client.seal(**result(server, run, part.number, rows))
    return client.finish(**result(server, run, part.number, rows))


def rule(attempt: Callable[[], Any]) -> tuple[str, str]:
    """Code and rule by which it is refused."""
    with pytest.raises(RequestRefused) as caught:
        attempt()
    return refusal(caught)


def actions(server: Server, run: RunInfo) -> list[str]:
    """What the log has of a run, oldest first."""
    events = server.caller("auditor").events()
    return [e["action"] for e in reversed(events) if e.get("detail", {}).get("run") == run.id]
