"""What waits to be written or read, and what belongs into its transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

from vault_service.domain.errors import VaultError
from vault_service.domain.events import AuditEvent
from vault_service.domain.ports import BudgetCharge, Conclude, Conclusion
from vault_service.domain.tokens import StoredBatch, TokenBatch


@dataclass(slots=True)
class Write:
    """Rows to store, an event to append, or a token to delete, with its event."""

    tenant: str
    weight: int
    batches: Sequence[TokenBatch] = ()
    conclude: Conclude | None = None
    event: AuditEvent | None = None
    charge: BudgetCharge | None = None
    delete: str | None = None

    async def conclusion(self, stored: Sequence[StoredBatch]) -> Conclusion:
        """What the transaction ends with, given what became of the batches."""
        if self.conclude is not None:
            return await self.conclude(stored)
        assert self.event is not None
        return Conclusion(self.event)


@dataclass(slots=True)
class Read:
    """Tokens to fetch."""

    tenant: str
    tokens: Sequence[str]

    @property
    def weight(self) -> int:
        """How many rows it may find."""
        return len(self.tokens)


async def conclusions(
    works: Sequence[Write],
    stored: Sequence[StoredBatch],
    results: Sequence[VaultError | None],
) -> list[Conclusion]:
    """The conclusions of the works that did not fail. ``stored`` runs along all their
    batches, in order."""
    found: list[Conclusion] = []
    at = 0
    for work, result in zip(works, results, strict=True):
        share = stored[at : at + len(work.batches)]
        at += len(work.batches)
        if result is None:
            found.append(await work.conclusion(share))
    return found
