"""Keyrings with everything around them in memory: as many processes as a test wants, two clocks."""

from datetime import UTC, datetime
from typing import Any

from tests.fakes.keys import MemoryKeyStore, MemoryKeyWrapper
from tests.stored import key_event
from vault_service.domain.catalog import DataClass, Domain, TokenFormat
from vault_service.services.keys import Keyring


def data_class(name: str, *tags: str) -> DataClass:
    return DataClass(
        name, frozenset(tags), "text", True, TokenFormat.OPAQUE, ("masked", "plain"), "all"
    )


PAN = data_class("pan", "pci", "restricted")
EMAIL = data_class("email", "pii")


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
                "record": key_event,
                **options,
            },
        )
