"""The one error taxonomy of Strongroom.

Every failure that a caller may see is a :class:`VaultError` with a stable
:class:`Code`. ``detail`` is always constant text written in this code base, never
anything that came from outside, so that an error can be logged, returned and
recorded without carrying a value (OWASP ASVS 5 16.5.1). Which HTTP status a code
has is known to ``api/problems.py`` alone.
"""

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Stable error codes of the public contract."""

    INVALID_REQUEST = "invalid_request"
    INVALID_VALUE = "invalid_value"
    UNKNOWN_DATA_CLASS = "unknown_data_class"
    SENSITIVE_AUTHENTICATION_DATA = "sensitive_authentication_data"
    SENSITIVE_VALUE_IN_METADATA = "sensitive_value_in_metadata"
    UNAUTHENTICATED = "unauthenticated"
    CREDENTIAL_EXPIRED = "credential_expired"
    ACCESS_DENIED = "access_denied"
    PURPOSE_REQUIRED = "purpose_required"
    BUDGET_EXCEEDED = "budget_exceeded"
    NOT_FOUND = "not_found"
    EXPIRED = "expired"
    ERASED = "erased"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    TOO_MANY_ITEMS = "too_many_items"
    RATE_LIMITED = "rate_limited"
    KEY_UNAVAILABLE = "key_unavailable"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    DATABASE_UNAVAILABLE = "database_unavailable"
    INTERNAL = "internal"


RETRYABLE = frozenset(
    {
        Code.RATE_LIMITED,
        Code.BUDGET_EXCEEDED,
        Code.KEY_UNAVAILABLE,
        Code.AUDIT_UNAVAILABLE,
        Code.DATABASE_UNAVAILABLE,
    }
)
"""Codes after which the same request may succeed later, unchanged."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One broken rule: where (``items[3].value``), which rule, and what to do.

    Never holds the offending input.
    """

    field: str
    rule: str
    detail: str


class VaultError(Exception):
    """A failure with a stable code and a constant, value-free explanation.

    ``retry_after`` is in seconds and only set where waiting helps. ``event_id`` is set
    once the failure is in the audit log.
    """

    event_id: str | None = None

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(code.value)
        self.code = code
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later, unchanged."""
        return self.code in RETRYABLE


class InvalidValue(VaultError):
    """A value broke a rule of its data class; ``rule`` names the rule, e.g. ``luhn``."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(Code.INVALID_VALUE, detail)
        self.rule = rule


class SensitiveAuthenticationData(VaultError):
    """CVV/CVC, track data or a PIN block was offered. PCI-DSS 3.3.1: never stored."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(Code.SENSITIVE_AUTHENTICATION_DATA, detail)
        self.rule = rule


class IntegrityFailure(VaultError):
    """A ciphertext or wrapped key did not verify against what it is bound to.

    To callers it is ``internal``; the audit event says ``integrity_failure``.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(Code.INTERNAL, detail)


class DamagedKey(IntegrityFailure):
    """A wrapped key did not verify: damaged, moved to another row, or answered wrongly
    by the key service.

    It is recorded as ``integrity_failure`` like its parent, but to callers it is
    ``key_unavailable``: once the key is mended, the same request succeeds.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.args = (Code.KEY_UNAVAILABLE.value,)
        self.code = Code.KEY_UNAVAILABLE
        self.retry_after = 30


class KeyUnavailable(VaultError):
    """A key could not be fetched or used now; cached keys may still serve others."""

    def __init__(self, detail: str, *, retry_after: int = 5) -> None:
        super().__init__(Code.KEY_UNAVAILABLE, detail, retry_after=retry_after)


class CheckpointConflict(VaultError):
    """Another checkpoint of the same size was kept elsewhere before: the log was rewritten
    since, or two of them are kept in one place."""

    def __init__(self) -> None:
        super().__init__(
            Code.AUDIT_UNAVAILABLE,
            "Another checkpoint of this size was kept before; compare both before anything"
            " else is done with this log.",
            retry_after=30,
        )


class IdempotencyMismatch(VaultError):
    """An ``Idempotency-Key`` came again with another body."""

    def __init__(self) -> None:
        super().__init__(
            Code.IDEMPOTENCY_CONFLICT,
            "This Idempotency-Key was used with another body; use a new key.",
        )


class ConfigurationError(Exception):
    """Settings or policy files are unusable; the message says how to mend them."""
