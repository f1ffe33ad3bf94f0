"""What goes into a call and what comes back, typed.

Field names are those of the public contract. Fields that an answer does not carry
have defaults, and fields that a newer service adds are ignored. The ``repr`` of
everything here leaves values and masked values out.
"""

from typing import Any, ClassVar, Generic, TypeVar

import msgspec

_REDACTED = "…"


class Redacted(msgspec.Struct, frozen=True):
    """A struct whose ``repr`` hides the fields named in ``hidden``."""

    hidden: ClassVar[frozenset[str]] = frozenset({"value", "masked"})

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        contents = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return [
            (name, _REDACTED if name in self.hidden else content)
            for name, content in contents
            if content is not None
        ]

    def __repr__(self) -> str:
        listed = ", ".join(
            f"{name}={_REDACTED}" if name in self.hidden else f"{name}={content!r}"
            for name, content in self.__rich_repr__()
        )
        return f"{type(self).__name__}({listed})"


class TokenizeItem(Redacted, frozen=True, omit_defaults=True):
    """A value to store. ``expires_in`` is in seconds from now."""

    data_class: str
    value: str
    reference: str | None = None
    subject: str | None = None
    tags: dict[str, str] | None = None
    expires_in: int | None = None


class DetokenizeItem(Redacted, frozen=True, omit_defaults=True):
    """A token to resolve, in one of the forms its class declares."""

    token: str
    form: str = "masked"
    reference: str | None = None


class ItemError(msgspec.Struct, frozen=True):
    """Why an item failed; ``detail`` is constant text, ``rule`` names the broken rule
    and ``field`` the field of the item that broke it, where there is one."""

    code: str
    detail: str = ""
    retryable: bool = False
    rule: str | None = None
    field: str | None = None


class ItemResult(Redacted, frozen=True, kw_only=True):
    """What every item of an answer has. ``index`` is its position in the call."""

    index: int
    status: str
    reference: str | None = None
    data_class: str | None = None
    error: ItemError | None = None

    @property
    def ok(self) -> bool:
        """Whether the item succeeded."""
        return self.status == "ok"

    @property
    def outcome(self) -> str | None:
        """What was asked for; ``None`` where the item failed."""
        return None


class TokenizedItem(ItemResult, frozen=True, kw_only=True):
    """The outcome of one tokenized value. ``stored_tags`` is set where the value was
    stored before with other tags than were asked for: the stored ones hold."""

    token: str | None = None
    masked: str | None = None
    stored_tags: dict[str, str] | None = None

    @property
    def outcome(self) -> str | None:
        """The token."""
        return self.token


class DetokenizedItem(ItemResult, frozen=True, kw_only=True):
    """The outcome of one resolved token; ``value`` is in the form ``form``."""

    form: str | None = None
    value: str | None = None

    @property
    def outcome(self) -> str | None:
        """The value."""
        return self.value


Item = TypeVar("Item", bound=ItemResult)


class Receipt(msgspec.Struct, frozen=True):
    """Names the audit event that recorded a request."""

    event_id: str


class Reply(msgspec.Struct, Generic[Item], frozen=True):
    """One answer of a batch route, as it is on the wire."""

    items: list[Item]
    request_id: str | None = None
    receipt: Receipt | None = None


class BatchResult(msgspec.Struct, Generic[Item], frozen=True):
    """All items of a call in order, over however many requests it took."""

    items: list[Item]
    request_ids: tuple[str, ...] = ()
    event_ids: tuple[str, ...] = ()

    @property
    def ok(self) -> int:
        """How many items succeeded."""
        return sum(item.ok for item in self.items)

    @property
    def failed(self) -> int:
        """How many items failed."""
        return len(self.items) - self.ok


class TokenDescription(msgspec.Struct, frozen=True):
    """What the vault tells about a token without its value. Times are RFC 3339."""

    token: str
    data_class: str
    forms: list[str] = []
    tags: dict[str, str] = {}
    subject: str | None = None
    created_at: str | None = None
    expires_at: str | None = None


class DataClassInfo(msgspec.Struct, frozen=True):
    """A data class as ``GET /v1/catalog`` shows it."""

    name: str
    tags: list[str] = []
    forms: list[str] = []
    deterministic: bool = False
    token_format: str | None = None
    validation: str | None = None
    retention_days: int | None = None


class CatalogInfo(msgspec.Struct, frozen=True):
    """The catalog: data classes by name, and purposes with what they are for."""

    data_classes: dict[str, DataClassInfo]
    purposes: dict[str, str]


class BudgetInfo(msgspec.Struct, frozen=True):
    """A reveal budget; ``None`` is no limit of that kind, for ``purpose`` any purpose."""

    purpose: str | None = None
    tokens_per_hour: int | None = None
    tokens_per_day: int | None = None
    subjects_per_hour: int | None = None
    subjects_per_day: int | None = None


class PrincipalInfo(msgspec.Struct, frozen=True):
    """Who the vault thinks the caller is."""

    principal: str
    tenant: str
    type: str | None = None
    tags: dict[str, str] = {}
    budgets: list[BudgetInfo] = []
    policy_hash: str | None = None


class Explanation(msgspec.Struct, frozen=True):
    """What the policies would decide, and which of them. ``form`` is the form that
    would result, ``budget_left`` the tokens left in the tightest reveal budget,
    ``errors`` the policies that could not be evaluated (which denies)."""

    allowed: bool
    policies: list[str] = []
    errors: list[str] = []
    form: str | None = None
    budget_left: int | None = None
    policy_hash: str | None = None


class Found(msgspec.Struct, frozen=True):
    """The answer to a lookup; ``token`` is ``None`` where nothing is stored."""

    token: str | None


class AuditPage(msgspec.Struct, frozen=True):
    """One page of the audit log; ``next_cursor`` is ``None`` on the last."""

    events: list[dict[str, Any]]
    next_cursor: str | None = None
