"""The catalog: data classes and purposes, as ``policies/catalog.yml`` declares them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vault_service.domain.errors import Code, VaultError


class TokenFormat(StrEnum):
    """The shapes a token may have."""

    OPAQUE = "opaque"
    DIGITS = "digits"
    EMAIL = "email"
    UUID = "uuid"


class Domain(StrEnum):
    """Sensitivity domains; each has a wrapping key of its own."""

    PCI = "pci"
    PII = "pii"


@dataclass(frozen=True, slots=True)
class DataClass:
    """A kind of sensitive value.

    ``validation`` names a rule of ``domain/validation.py``; ``forms`` are the forms a
    reveal may ask for, of which ``masked`` is always one; ``mask`` names the masking
    rule of ``domain/masking.py``.
    """

    name: str
    tags: frozenset[str]
    validation: str
    deterministic: bool
    token_format: TokenFormat
    forms: tuple[str, ...]
    mask: str
    retention_days: int | None = None

    @property
    def domain(self) -> Domain:
        """The sensitivity domain, which decides the wrapping key."""
        return Domain.PCI if "pci" in self.tags else Domain.PII


@dataclass(frozen=True, slots=True)
class Catalog:
    """All data classes and purposes that this vault knows."""

    data_classes: Mapping[str, DataClass] = field(default_factory=dict)
    purposes: Mapping[str, str] = field(default_factory=dict)

    def data_class(self, name: str) -> DataClass:
        """The class called ``name``; ``unknown_data_class`` where there is none."""
        try:
            return self.data_classes[name]
        except KeyError:
            raise VaultError(
                Code.UNKNOWN_DATA_CLASS,
                "The catalog has no such data class; GET /v1/catalog lists them.",
            ) from None
