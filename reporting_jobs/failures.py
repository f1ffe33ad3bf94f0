"""How an attempt to make a run ends without an output.

What the vault is told of it is a code of ``vault_service/domain/report_failures.py``, so
that nothing that came from outside can stand in a run, an event or a log line.
"""

from reporting_jobs.context import ReportRefused
from vault_service.client.errors import RequestRefused, StrongroomError
from vault_service.domain.errors import RETRYABLE, Code
from vault_service.domain.report_failures import VAULT_CODES, FailureCode


class RunFailed(Exception):
    """The run cannot succeed. ``passing`` says whether another attempt may; ``detail`` is
    constant text."""

    def __init__(self, code: FailureCode, detail: str, *, passing: bool = False) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.passing = passing

    @property
    def vault_code(self) -> Code:
        """The code that the vault is told."""
        return VAULT_CODES.get(self.code, Code.INTERNAL)


class OrderRefused(Exception):
    """A work order that is not one, or was changed; ``reason`` is a constant name."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the order is refused: {reason}")
        self.reason = reason


class OutOfTime(Exception):
    """The time that this process has left is not enough; another attempt goes on."""


class LeaseLost(Exception):
    """Another process has taken the run over, or it has ended; this one publishes nothing."""


def rules_of(error: RequestRefused) -> list[str]:
    """The names of the rules that a refused request broke."""
    return [field.rule for field in error.errors]


def failure_of(error: Exception) -> RunFailed:
    """What an exception of the vault's client, or of a report's own code, makes of the run.
    Of the exception, its code alone is taken over."""
    if isinstance(error, RunFailed):
        return error
    if isinstance(error, ReportRefused):
        return RunFailed(error.code, str(error))
    if isinstance(error, RequestRefused):
        if FailureCode.ROW_CAP_EXCEEDED in rules_of(error):
            return RunFailed(
                FailureCode.ROW_CAP_EXCEEDED, "The run reads or shows more than it may."
            )
        if error.code == Code.ACCESS_DENIED:
            return RunFailed(
                FailureCode.ACCESS_DENIED,
                "The run asked for what its definition does not declare, or whoever asked for it"
                " may not have it any more.",
            )
        if error.code not in RETRYABLE:
            return RunFailed(FailureCode.REPORT_FAILED, "The vault refused what the report asked.")
    if isinstance(error, StrongroomError):
        return RunFailed(
            FailureCode.VAULT_UNAVAILABLE, "The vault cannot be asked now.", passing=True
        )
    return RunFailed(FailureCode.REPORT_FAILED, "The report's own code failed.")
