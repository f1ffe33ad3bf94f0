"""Reports, for the people who run and approve them. Their jobs: ``report_run``.

with Client() as vault:
    run = Reporting(vault).request_run("access_review", recipient="arn:aws:kms:…")
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from vault_service.client import report_operations
from vault_service.client.report_results import ReportInfo, RunInfo
from vault_service.client.sync import Client

SEALED: Final = "application/octet-stream"


class Reporting:
    """Reports as people see them. Methods raise what :class:`Client`'s do; a refusal's
    ``errors`` name the rule that was broken."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def reports(self) -> list[ReportInfo]:
        """Every report, with what the caller may do."""
        return self._client.run(report_operations.reports(self._client.retry))

    def request_run(
        self,
        name: str,
        *,
        recipient: str,
        parameters: Mapping[str, Any] | None = None,
        format: str | None = None,
        period: str | None = None,
        row_cap: int | None = None,
        expires_at: str | None = None,
    ) -> RunInfo:
        """Ask for a run. The same request again finds the run that is there
        (``created`` is false then). ``recipient`` names the key that the output is sealed
        to; ``format``, ``row_cap`` and ``expires_at`` (RFC 3339) have the report's
        defaults."""
        fields = {
            "parameters": dict(parameters or {}),
            "recipient": recipient,
            "format": format,
            "period": period,
            "row_cap": row_cap,
            "expires_at": expires_at,
        }
        steps = report_operations.request_run(name, fields, self._client.retry)
        return self._client.run(steps)

    def run(self, run_id: str) -> RunInfo:
        """One run; ``not_found`` for those that the caller has no part in."""
        return self._client.run(report_operations.run(run_id, self._client.retry))

    def runs(
        self, *, report: str | None = None, state: str | None = None, limit: int = 100
    ) -> Iterator[RunInfo]:
        """Runs, newest first, page by page as they are asked for (``limit`` a page)."""
        query: dict[str, Any] = {"report": report, "state": state, "limit": limit}
        while True:
            page = self._client.run(report_operations.run_page(query, self._client.retry))
            yield from page.runs
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    def approve(
        self,
        run_id: str,
        *,
        binding: Mapping[str, Any] | None = None,
        until: str | None = None,
    ) -> RunInfo:
        """Approve a run. ``binding``, as :class:`RunInfo` has it, is what the approver saw:
        where the run is another, nothing is approved. With ``until`` (RFC 3339), runs alike
        of other periods are approved too until then."""
        fields = {"binding": None if binding is None else dict(binding), "until": until}
        steps = report_operations.decide(run_id, "approve", fields, self._client.retry)
        return self._client.run(steps)

    def reject(self, run_id: str) -> RunInfo:
        """Reject a run that waits for an approval."""
        steps = report_operations.decide(run_id, "reject", {}, self._client.retry)
        return self._client.run(steps)

    def withdraw(self, approval_id: str) -> None:
        """Withdraw a standing approval."""
        self._client.run(report_operations.withdraw(approval_id, self._client.retry))

    def output(self, run_id: str, path: Path, *, part: int | None = None) -> int:
        """Write the sealed output, or that of one ``part``, to ``path``; its length in
        bytes. Only the recipient's key opens it. What is written is complete only where
        this returns."""
        written = 0
        with path.open("wb") as file:
            for piece in self._client.stream(report_operations.output_path(run_id, part), SEALED):
                written += file.write(piece)
        return written
