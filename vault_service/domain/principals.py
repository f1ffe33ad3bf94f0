"""Who calls: services, people and jobs, with their tags and reveal budgets.

Everything here comes from ``policies/principals.yml`` and the credential, never from
a request (PCI-DSS 7.2, 8.2.1).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class PrincipalType(StrEnum):
    """What kind of caller a principal is."""

    SERVICE = "service"
    PERSON = "person"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a principal may reveal for ``purpose`` (``None``: any purpose).

    ``tokens_per_hour`` and ``tokens_per_day`` count distinct tokens of a request,
    ``subjects_per_hour`` and ``subjects_per_day`` distinct subjects in the window.
    ``None`` means no limit of that kind.
    """

    purpose: str | None = None
    tokens_per_hour: int | None = None
    tokens_per_day: int | None = None
    subjects_per_hour: int | None = None
    subjects_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Authentication:
    """How a principal may prove who it is; an empty field closes that way in."""

    api_key_max_age_days: int | None = None
    oidc_subject: str | None = None
    aws_role_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. ``name`` is unique over all tenants."""

    name: str
    type: PrincipalType
    tenant: str
    tags: Mapping[str, str] = field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()
    authentication: Authentication = Authentication()
    environments: frozenset[str] = frozenset({"dev", "test", "prod"})

    def __hash__(self) -> int:
        return hash(self.name)

    def budgets_for(self, purpose: str) -> tuple[Budget, ...]:
        """The budgets that a reveal for ``purpose`` draws on."""
        return tuple(b for b in self.budgets if b.purpose in (None, purpose))
