"""Keyrings with everything around them in memory: as many processes as a test wants, two clocks."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tests.fakes.keys import MemoryKeyStore, MemoryKeyWrapper
from vault_service.domain.catalog import DataClass, Domain, TokenFormat
from vault_service.domain.events import AuditEvent, EventGroup, new_event_id
from vault_service.services.keys import Keyring


def data_class(name: str, *tags: str) -> DataClass:
    return DataClass(
        name, frozenset(tags), "text", True, TokenFormat.OPAQUE, ("masked", "plain"), "all"
    )


PAN = data_class("pan", "pci", "restricted")
EMAIL = data_class("email", "pii")


def record(
    tenant: str, principal: str, action: str, data_class: str | None, detail: Mapping[str, Any]
) -> AuditEvent:
    return AuditEvent(
        id=new_event_id(),
        occurred_at=datetime.now(UTC),
        tenant=tenant,
        principal=principal,
        action=action,
        outcome="ok",
        request_id="",
        policy_hash="",
        groups=() if data_class is None else (EventGroup("ok", data_class),),
        detail=detail,
    )


class World:
    """Fakes around keyrings; ``seconds`` and ``now`` are the two clocks."""

    def __init__(self) -> None:
        self.store: Any = MemoryKeyStore()
        self.pci = MemoryKeyWrapper("pci")
        self.pii = MemoryKeyWrapper("pii")
        self.seconds = 0.0
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def keyring(self, **options: Any) -> Keyring:
        """A keyring as one more process would have."""
        return Keyring(
            self.store,
            {Domain.PCI: self.pci, Domain.PII: self.pii},
            **{
                "environment": "test",
                "clock": lambda: self.now,
                "monotonic": lambda: self.seconds,
                "record": record,
                **options,
            },
        )
