"""Why a job cannot make a run: stable codes that service and jobs agree on.

A code stands in the run (as its ``rule``), in its audit event and in log lines. The list is
closed, so that none of them can hold anything that came from outside.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from vault_service.domain.errors import Code


class FailureCode(StrEnum):
    """Stable codes of attempts that failed, and of runs that failed by them."""

    ACCESS_DENIED = "access_denied"
    """It read what its definition does not declare, or the requester may no longer."""
    ROW_CAP_EXCEEDED = "row_cap_exceeded"
    OUTPUT_INVALID = "output_invalid"
    """Rows that the definition does not describe, or that the format cannot hold."""
    TEMPLATE_CHANGED = "template_changed"
    """The job has another version of the report than the one that was ordered."""
    RECIPIENT_UNUSABLE = "recipient_unusable"
    """The output cannot be sealed to the recipient's key."""
    STORE_FAILED = "store_failed"
    QUEUE_FAILED = "queue_failed"
    """The parts of a run cannot be handed on."""
    VAULT_UNAVAILABLE = "vault_unavailable"
    OUT_OF_TIME = "out_of_time"
    """The process had not enough time left."""
    REPORT_FAILED = "report_failed"
    """The report's own code failed."""
    PARAMETERS_INVALID = "parameters_invalid"
    """Parameters that do not go together."""
    INPUT_MISSING = "input_missing"
    INPUT_INVALID = "input_invalid"
    INPUT_CHANGED = "input_changed"
    """The input is another than the one asked for."""
    DEFINITION_INCOMPLETE = "definition_incomplete"
    """The catalog has classes that a report that must miss nothing does not read."""


VAULT_CODES: Final[Mapping[str, Code]] = {
    FailureCode.ACCESS_DENIED: Code.ACCESS_DENIED,
    FailureCode.ROW_CAP_EXCEEDED: Code.TOO_MANY_ITEMS,
    FailureCode.OUTPUT_INVALID: Code.INVALID_VALUE,
    FailureCode.TEMPLATE_CHANGED: Code.INVALID_REQUEST,
    FailureCode.RECIPIENT_UNUSABLE: Code.KEY_UNAVAILABLE,
    FailureCode.PARAMETERS_INVALID: Code.INVALID_REQUEST,
}
"""The vault's code for a failure, where it has one; for the others it is ``internal``."""
