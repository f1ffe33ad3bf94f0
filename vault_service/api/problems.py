"""Errors as ``application/problem+json`` (RFC 9457), and the only table of statuses.

Nothing from a request stands in a problem: details are constant texts, fields are
names of the contract.
"""

from typing import Final

import msgspec

from vault_service.domain.errors import Code, IdempotencyMismatch, VaultError

MEDIA_TYPE: Final = b"application/problem+json"
_DEFAULT_RETRY_AFTER: Final = 2

STATUS: Final[dict[Code, int]] = {
    Code.INVALID_REQUEST: 400,
    Code.INVALID_VALUE: 422,
    Code.UNKNOWN_DATA_CLASS: 422,
    Code.SENSITIVE_AUTHENTICATION_DATA: 422,
    Code.SENSITIVE_VALUE_IN_METADATA: 422,
    Code.UNAUTHENTICATED: 401,
    Code.CREDENTIAL_EXPIRED: 401,
    Code.ACCESS_DENIED: 403,
    Code.PURPOSE_REQUIRED: 422,
    Code.BUDGET_EXCEEDED: 429,
    Code.NOT_FOUND: 404,
    Code.EXPIRED: 410,
    Code.ERASED: 410,
    Code.IDEMPOTENCY_CONFLICT: 409,
    Code.PAYLOAD_TOO_LARGE: 413,
    Code.TOO_MANY_ITEMS: 413,
    Code.RATE_LIMITED: 429,
    Code.KEY_UNAVAILABLE: 503,
    Code.AUDIT_UNAVAILABLE: 503,
    Code.DATABASE_UNAVAILABLE: 503,
    Code.INTERNAL: 500,
}

_TITLES: Final[dict[Code, str]] = {
    Code.INVALID_REQUEST: "The request breaks a rule",
    Code.INVALID_VALUE: "A value breaks a rule of its data class",
    Code.UNKNOWN_DATA_CLASS: "Unknown data class",
    Code.SENSITIVE_AUTHENTICATION_DATA: "Sensitive authentication data is never accepted",
    Code.SENSITIVE_VALUE_IN_METADATA: "A sensitive value stands where clear text is kept",
    Code.UNAUTHENTICATED: "Not authenticated",
    Code.CREDENTIAL_EXPIRED: "The credential has expired",
    Code.ACCESS_DENIED: "Access denied",
    Code.PURPOSE_REQUIRED: "A purpose is required",
    Code.BUDGET_EXCEEDED: "Reveal budget exceeded",
    Code.NOT_FOUND: "Not found",
    Code.EXPIRED: "Expired",
    Code.ERASED: "Erased",
    Code.IDEMPOTENCY_CONFLICT: "Idempotency conflict",
    Code.PAYLOAD_TOO_LARGE: "The body is too large",
    Code.TOO_MANY_ITEMS: "Too many items",
    Code.RATE_LIMITED: "Too many attempts",
    Code.KEY_UNAVAILABLE: "A key is unavailable",
    Code.AUDIT_UNAVAILABLE: "The audit log is unavailable",
    Code.DATABASE_UNAVAILABLE: "The database is unavailable",
    Code.INTERNAL: "Internal error",
}


class ProblemField(msgspec.Struct):
    """One broken rule: where, which, and what to do."""

    field: str
    rule: str
    detail: str


class Problem(msgspec.Struct, omit_defaults=True):
    """The body of an error answer. ``items`` holds what became of each item where a
    batch failed as a whole, ``receipt`` the audit event where there is one."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    retryable: bool = False
    errors: list[ProblemField] = []
    items: msgspec.Raw | None = None
    receipt: dict[str, str] | None = None


_encode = msgspec.json.Encoder().encode


def status_of(error: VaultError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, IdempotencyMismatch):
        return 422
    return STATUS[error.code]


def problem(
    error: VaultError, request_id: str, items: bytes | None = None, status: int | None = None
) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Status, body and extra headers of the answer to ``error``. ``items``: the JSON of
    the per-item results of a batch; ``status``: another than the code's own."""
    status = status or status_of(error)
    body = Problem(
        type=f"urn:strongroom:problem:{error.code.value}",
        title=_TITLES[error.code],
        status=status,
        code=error.code.value,
        detail=error.detail,
        request_id=request_id,
        retryable=error.retryable,
        errors=[ProblemField(e.field, e.rule, e.detail) for e in error.errors],
        items=None if items is None else msgspec.Raw(items),
        receipt=None if error.event_id is None else {"event_id": error.event_id},
    )
    headers: list[tuple[bytes, bytes]] = []
    retry_after = error.retry_after
    if retry_after is None and status == 503:
        retry_after = _DEFAULT_RETRY_AFTER
    if retry_after is not None:
        headers.append((b"retry-after", str(retry_after).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="strongroom"'))
    return status, _encode(body), headers
