"""Runs of reports: their states, what the service keeps of them, and what an approval binds."""

import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from vault_service.domain.detection import looks_like_card_number
from vault_service.domain.events import crockford
from vault_service.domain.reports import Format, canonical

RUN_ID: Final = re.compile(r"run_[0-9a-hjkmnp-tv-z]{26}")
RUN_HEADER: Final = "x-strongroom-run"
"""A job names the run that it works on in this header; what it reads is held against it."""


class RunState(StrEnum):
    """The life of a run. The last four are its ends."""

    REQUESTED = "requested"
    APPROVED = "approved"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    REJECTED = "rejected"


LIVE: Final = frozenset({RunState.REQUESTED, RunState.APPROVED, RunState.RUNNING})
ENDS: Final = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.EXPIRED, RunState.REJECTED})
NEXT: Final[Mapping[RunState, frozenset[RunState]]] = {
    RunState.REQUESTED: frozenset(
        {
            *(RunState.APPROVED, RunState.REJECTED, RunState.EXPIRED),
            # A report without plain values needs nobody's approval.
            *(RunState.RUNNING, RunState.FAILED),
        }
    ),
    RunState.APPROVED: frozenset({RunState.RUNNING, RunState.EXPIRED, RunState.FAILED}),
    RunState.RUNNING: frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.EXPIRED}),
}
"""Where a run may go from each state; from an end, nowhere."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the service keeps it. ``parameters`` is canonical JSON; ``period`` tells apart
    the runs that a schedule asks for (an ISO date or time, empty on request). ``recipient``
    names the key that the output is sealed to: a KMS key ARN, or ``rsa:`` and the SHA-256
    (hex) of a DER public key. ``order`` is the signed work order, ``manifest`` the signed
    manifest, both signed notes (``domain/report_notes.py``).

    ``code`` and ``rule`` say why it ended otherwise than well. ``lease_holder`` works on it
    until ``lease_until``; ``attempts`` counts leases, ``revealed`` the tokens that were read
    for it. ``first_event`` is the audit event of the request. ``version`` counts its changes
    of state.

    What its job has sealed stands in ``rows`` and ``output_…`` before it has succeeded, and
    counts only then. A run that was split has ``parts``, ``parts_done`` of them done; their
    outputs are the run's, which has no digest and location of its own."""

    id: str
    tenant: str
    report: str
    template_hash: str
    parameters: str
    period: str
    format: Format
    recipient: str
    row_cap: int
    requester: str
    state: RunState
    requested_at: datetime
    expires_at: datetime
    updated_at: datetime
    approver: str | None = None
    approved_at: datetime | None = None
    code: str | None = None
    rule: str | None = None
    attempts: int = 0
    lease_holder: str | None = None
    lease_until: datetime | None = None
    revealed: int = 0
    first_event: str = ""
    version: int = 0
    rows: int | None = None
    output_sha256: str | None = None
    output_bytes: int | None = None
    output_location: str | None = field(default=None, repr=False)
    parts: int = 0
    parts_done: int = 0
    order: str | None = field(default=None, repr=False)
    manifest: str | None = field(default=None, repr=False)

    @property
    def parameters_sha256(self) -> str:
        """SHA-256 (hex) of the parameters, which may be long."""
        return hashlib.sha256(self.parameters.encode()).hexdigest()

    def bound(self) -> dict[str, Any]:
        """What an approval binds, field by field."""
        return {
            "tenant": self.tenant,
            "report": self.report,
            "template_hash": self.template_hash,
            "parameters": self.parameters,
            "period": self.period,
            "format": self.format,
            "recipient": self.recipient,
            "row_cap": self.row_cap,
            "expires_at": self.expires_at,
        }

    def binding(self) -> bytes:
        """What an approval binds, as canonical JSON: change any of it, and it is void."""
        return canonical(self.bound())

    def standing_binding(self) -> bytes:
        """What a standing approval binds: the same for every period, each run of which
        expires by itself."""
        bound = self.bound()
        del bound["period"], bound["expires_at"]
        return canonical(bound)


def new_run_id() -> str:
    """``run_`` + 26 characters: 48 bits of milliseconds, then 82 random bits. Drawn again
    where it looks like a card number, which no path may hold."""
    while True:
        number = (time.time_ns() // 1_000_000) << 82 | secrets.randbits(82)
        found = "run_" + crockford(number)
        if not looks_like_card_number(found):
            return found
