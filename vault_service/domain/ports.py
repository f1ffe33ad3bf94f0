"""What the use cases need from the outside, as protocols that adapters meet.

Storage offers single-purpose primitives; the sequence of steps lives in ``services``.
Every method raises :class:`~vault_service.domain.errors.VaultError` with
``database_unavailable``, ``audit_unavailable`` or ``key_unavailable`` where the
outside is away, and never lets a driver's own error (which may quote values) through.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from vault_service.domain.access import AccessRequest, Decision, Explanation
from vault_service.domain.events import AuditEvent
from vault_service.domain.notes import VerifierKey
from vault_service.domain.principals import Budget
from vault_service.domain.tokens import StoredBatch, StoredToken, TokenBatch, TokenRecord

Clock = Callable[[], datetime]
"""Gives the present time in UTC, with its time zone."""


class KeyWrapper(Protocol):
    """Wraps data keys under a wrapping key (KMS or the local root key)."""

    @property
    def reference(self) -> str:
        """Names the wrapping key: its ARN, or ``local:<fingerprint>``."""

    async def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """The wrapped key, bound to ``context``."""

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The 32 secret bytes; ``KeyUnavailable`` when the key cannot be had now,
        ``IntegrityFailure`` when the blob is damaged or bound to another context."""


class KeyPurpose(StrEnum):
    """What a stored key is for."""

    RECORD = "record"
    BLIND_INDEX = "blind_index"
    SUBJECT = "subject"
    IDEMPOTENCY = "idempotency"


class KeyState(StrEnum):
    """Life of a stored key: used, read-only, gone (NIST SP 800-57 part 1, 7)."""

    ACTIVE = "active"
    RETIRED = "retired"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A wrapped key as the database holds it. ``wrapped_by`` is the id of the parent
    key, ``None`` where the wrapping key of ``wrapper`` (its reference) did it.
    ``epoch`` counts the keys of one tenant, class and purpose from 1. ``id`` is 0
    until the key is stored.
    """

    id: int
    tenant: str
    data_class: str
    purpose: KeyPurpose
    epoch: int
    state: KeyState
    wrapped: bytes = field(repr=False)
    wrapper: str = ""
    wrapped_by: int | None = None
    uses: int = 0
    created_at: datetime = datetime.min


class KeyStore(Protocol):
    """The table of wrapped keys."""

    async def current(self, tenant: str, data_class: str, purpose: KeyPurpose) -> StoredKey | None:
        """The active key of the highest epoch, or ``None``."""

    async def by_id(self, tenant: str, key_id: int) -> StoredKey | None:
        """The key with this id, or ``None``."""

    async def next_id(self) -> int:
        """A fresh key id; part of the wrapping context, so drawn before wrapping."""

    async def create(self, key: StoredKey, event: AuditEvent) -> StoredKey:
        """Store the key and its audit event together, and retire the keys of lower
        epochs; where another worker stored this epoch first, return that one and
        record nothing."""

    async def reserve_uses(self, tenant: str, key_id: int, count: int, limit: int) -> bool:
        """Count ``count`` uses durably, ahead of use; ``False`` (and nothing counted)
        where that would pass ``limit`` or the key is not active."""

    async def list(self, tenant: str | None = None) -> Sequence[StoredKey]:
        """All keys (of one tenant), ordered by tenant, class, purpose, epoch."""


class PolicyEngine(Protocol):
    """Answers access requests from the loaded policy bundle."""

    @property
    def bundle_hash(self) -> str:
        """SHA-256 (hex) of the policy bundle, recorded in every event."""

    def decide(self, request: AccessRequest) -> Decision:
        """Default deny; any evaluation error is a denial."""

    def explain(self, request: AccessRequest) -> Explanation:
        """The decision, where its policies stand, and why other candidates did not apply."""


@dataclass(frozen=True, slots=True)
class BudgetCharge:
    """A draw on the reveal budgets of one principal for one purpose: ``tokens``
    distinct tokens and these ``subjects``, at a time in UTC."""

    tenant: str
    principal: str
    purpose: str
    budgets: tuple[Budget, ...]
    tokens: int
    subjects: frozenset[str]
    at: datetime


@dataclass(frozen=True, slots=True)
class IdempotencyClaim:
    """The right to answer one ``Idempotency-Key`` of one principal, held for a while.

    ``request_digest`` is a keyed HMAC of the request body.
    """

    tenant: str
    principal: str
    key: str
    request_digest: bytes


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a store ends with: its event, for a claimed key the answer to keep, and the
    tokens of known rows that turned out broken, to which nothing may be added."""

    event: AuditEvent
    claim: IdempotencyClaim | None = None
    answer: bytes | None = field(default=None, repr=False)
    withheld: frozenset[str] = frozenset()


Conclude = Callable[[Sequence[StoredBatch]], Awaitable[Conclusion]]
"""Makes the conclusion of a store from what became of its batches."""


class TokenStore(Protocol):
    """The token table, with the audit log it writes in the same transaction."""

    async def store(
        self,
        tenant: str,
        batches: Sequence[TokenBatch],
        conclude: "Conclude",
    ) -> None:
        """Find or insert every row, append the event that ``conclude`` makes from the
        outcomes and keep its answer, all in one transaction; returns when all are
        durable. ``conclude`` may be called again where the transaction is run again;
        its last call is the one that holds."""

    async def fetch(self, tenant: str, tokens: Sequence[str]) -> Mapping[str, TokenRecord]:
        """The records that exist in this tenant, by token."""

    async def describe(self, tenant: str, token: str) -> StoredToken | None:
        """The token, if it exists in this tenant, and when it was stored."""

    async def find(
        self, tenant: str, blind_indexes: Sequence[bytes]
    ) -> Mapping[bytes, TokenRecord]:
        """The records with these blind indexes, by blind index."""

    async def append(self, event: AuditEvent, charge: BudgetCharge | None = None) -> None:
        """Make the event durable; with ``charge``, count it in the same transaction and
        raise ``budget_exceeded`` (nothing recorded, nothing counted) where it does not
        fit."""

    async def delete(self, tenant: str, token: str, event: AuditEvent) -> None:
        """Delete the token and append the event in one transaction."""


class BudgetStore(Protocol):
    """What is left of reveal budgets."""

    async def left(
        self,
        tenant: str,
        principal: str,
        purpose: str,
        budgets: tuple[Budget, ...],
        at: datetime,
    ) -> int | None:
        """Tokens left in the tightest window now; ``None`` where no budget counts tokens."""


class IdempotencyStore(Protocol):
    """Claims on ``Idempotency-Key``s and the answers kept for them."""

    async def claim(self, claim: IdempotencyClaim, at: datetime) -> bytes | None:
        """Take the key, or give the answer kept for it. Raises
        ``idempotency_conflict`` where another request holds it or its body differed."""

    async def release(self, claim: IdempotencyClaim) -> None:
        """Give the key back unanswered, so that a repeat may try again."""


class AuditReader(Protocol):
    """Finds recorded events."""

    async def events(self, query: "AuditQuery") -> Sequence[tuple[int, bytes]]:
        """Positions and canonical bytes of matching events, newest first."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which events to find; ``None`` fields do not restrict. ``before`` is a position:
    only older events are given. Times are in UTC, ``since`` inclusive, ``until`` not.
    """

    tenant: str
    limit: int
    principal: str | None = None
    action: str | None = None
    outcome: str | None = None
    data_class: str | None = None
    token: str | None = None
    subject: str | None = None
    purpose: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None


class CheckpointSigner(Protocol):
    """Signs checkpoints of the transparency log with ECDSA P-256 (KMS or a local key)."""

    @property
    def name(self) -> str:
        """The key's name in signature lines."""

    @property
    def key(self) -> VerifierKey:
        """The public key, of the same name; ``KeyUnavailable`` where it was not fetched yet.
        Never waits."""

    async def open(self) -> VerifierKey:
        """The same, fetched where it was not yet; ``KeyUnavailable`` when it cannot be had."""

    async def sign(self, message: bytes) -> bytes:
        """The ASN.1 DER signature over SHA-256 of ``message``; ``KeyUnavailable`` when the
        key cannot be had now."""


class Anchor(Protocol):
    """Keeps copies of signed checkpoints where this service cannot change them
    (PCI-DSS 10.3.3). Raises ``audit_unavailable`` where it cannot be reached."""

    async def newest(self) -> str | None:
        """The signed checkpoint of the largest tree that was kept, if any was."""

    async def keep(self, size: int, signed: str) -> None:
        """Keep the signed checkpoint of ``size`` leaves. To keep it again changes nothing,
        and neither does another signature of the same text; ``CheckpointConflict`` where
        the text of the one that was kept is another."""
