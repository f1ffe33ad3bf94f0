"""Why a run ends without an output: stable codes, and nothing that came from outside.

A code says what to mend; it stands in the run, in its audit event and in log lines, so that
none of them can hold a value.
"""

from enum import StrEnum


class FailureCode(StrEnum):
    """Stable codes of runs that failed."""

    ACCESS_DENIED = "access_denied"
    """It read what its definition does not declare, or the requester may no longer."""
    ROW_CAP_EXCEEDED = "row_cap_exceeded"
    OUTPUT_INVALID = "output_invalid"
    """Rows that the definition does not describe, or that the format cannot hold."""
    RECIPIENT_UNUSABLE = "recipient_unusable"
    """The output cannot be sealed to the recipient's key."""
    STORE_FAILED = "store_failed"
    VAULT_UNAVAILABLE = "vault_unavailable"
    REPORT_FAILED = "report_failed"
    """The report's own code failed."""
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"


class RunFailed(Exception):
    """The run cannot succeed. ``passing`` says whether another attempt may; ``detail`` is
    constant text."""

    def __init__(self, code: FailureCode, detail: str, *, passing: bool = False) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.passing = passing


class OrderRefused(Exception):
    """A work order that is not one, or was changed; ``reason`` is a constant name."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the order is refused: {reason}")
        self.reason = reason


class OutOfTime(Exception):
    """The time that this process has left is not enough; another attempt goes on."""


class LeaseLost(Exception):
    """Another process has taken the run over, or it has ended; this one publishes nothing."""
