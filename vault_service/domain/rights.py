"""Who may do what: the policies in force and the principals they are about.

What a review of rights is told (PCI-DSS 7.2.4). Neither holds a credential or a value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vault_service.domain.access import PolicySource
from vault_service.domain.principals import Principal


@dataclass(frozen=True, slots=True)
class HeldPolicy:
    """A policy in force: its ``@id``, where it stands, and its Cedar JSON form."""

    source: PolicySource
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rights:
    """The policies in force, the SHA-256 (hex) of their files, and the tenant's principals
    (name, type, tenant and tags)."""

    policy_hash: str
    policies: Sequence[HeldPolicy]
    principals: Sequence[Principal]
