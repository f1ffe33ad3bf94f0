"""The items of batch requests and what became of each.

Values stand in them as plain strings, since wrapping each of ten thousand costs more than
encrypting it; the items themselves never show them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from vault_service.domain.errors import Code, FieldError, VaultError

MAX_ITEMS = 10_000


class TokenizeItem(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One value to tokenize. ``expires_in`` is in seconds.

    ``value`` is a plain string because that is what the decoder makes without a detour
    that a hostile body could blow up; the item itself never shows it.
    """

    data_class: str
    value: str
    reference: str | None = None
    subject: str | None = None
    tags: dict[str, str] | None = None
    expires_in: int | None = None

    def __repr__(self) -> str:
        return "TokenizeItem(…)"


class DetokenizeItem(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One token to reveal, in ``form`` (``masked`` by default)."""

    token: str
    form: str = "masked"
    reference: str | None = None


_FIELDS: Final = {
    Code.INVALID_VALUE: "value",
    Code.SENSITIVE_AUTHENTICATION_DATA: "value",
    Code.UNKNOWN_DATA_CLASS: "data_class",
}


class ItemError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why one item failed; the same object serves all items that failed alike."""

    code: Code
    detail: str
    retryable: bool
    rule: str | None = None
    field: str | None = None

    @classmethod
    def of(cls, error: VaultError) -> "ItemError":
        """The item's error for an exception."""
        if error.errors:
            first = error.errors[0]
            return cls(error.code, error.detail, error.retryable, first.rule, first.field)
        rule = getattr(error, "rule", None)
        return cls(error.code, error.detail, error.retryable, rule, _FIELDS.get(error.code))


INTEGRITY: Final = "integrity_failure"
"""The outcome, and the rule, where stored data is not what it is bound to."""
BROKEN: Final = ItemError(
    Code.INTERNAL,
    "The stored record failed its integrity check; the audit log tells the operators.",
    False,
    INTEGRITY,
)


ROLLED_BACK: Final = ItemError(
    Code.INVALID_REQUEST,
    "Another item of this atomic request failed, so this one was not stored.",
    False,
    "atomic",
)


class TokenizedItem(msgspec.Struct, omit_defaults=True, gc=False):
    """What became of one value: a token and its masked value, or an error.

    ``stored_tags`` is set where the value was stored before with other tags than the
    request gave: the stored ones hold.
    """

    index: int
    status: str
    reference: str | None = None
    token: str | None = None
    data_class: str | None = None
    masked: str | None = None
    stored_tags: dict[str, str] | None = None
    error: ItemError | None = None

    def __repr__(self) -> str:
        return f"TokenizedItem({self.index}, {self.status})"


class RevealedItem(msgspec.Struct, omit_defaults=True, gc=False):
    """What became of one token: its value in the form asked for, or an error."""

    index: int
    status: str
    reference: str | None = None
    data_class: str | None = None
    form: str | None = None
    value: str | None = None
    error: ItemError | None = None

    def __repr__(self) -> str:
        return f"RevealedItem({self.index}, {self.status})"


@dataclass(slots=True)
class Tokenized:
    """The answer to a tokenize request, in the order of its items."""

    items: list[TokenizedItem]
    event_id: str


@dataclass(slots=True)
class Revealed:
    """The answer to a detokenize request, in the order of its items."""

    items: list[RevealedItem]
    event_id: str


@dataclass(slots=True)
class TokenizeCommand:
    """A tokenize request. ``digest_source`` is the raw body, needed only with an
    ``idempotency_key``."""

    items: Sequence[TokenizeItem]
    atomic: bool = False
    idempotency_key: str | None = None
    digest_source: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class DetokenizeCommand:
    """A detokenize request."""

    items: Sequence[DetokenizeItem]
    purpose: str | None
    case: str | None = None


def no_items() -> VaultError:
    """The refusal of a request without items."""
    return VaultError(
        Code.INVALID_REQUEST,
        "The request holds no items.",
        errors=(FieldError("items", "min_length", "Send at least one item."),),
    )


def check_count(count: int) -> None:
    """``too_many_items`` above the limit, ``invalid_request`` for none at all."""
    if count == 0:
        raise no_items()
    if count > MAX_ITEMS:
        raise VaultError(
            Code.TOO_MANY_ITEMS,
            "A request takes at most 10,000 items; split it.",
            errors=(FieldError("items", "max_length", "Send at most 10,000 items."),),
        )
