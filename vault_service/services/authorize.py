"""Puts access questions to the policies: one door for every use case.

What a request may do is decided here and nowhere else (PCI-DSS 7.2.1, OWASP ASVS 5
8.2.1): the use cases ask once per distinct data class, token tags and form.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from vault_service.domain.access import (
    AccessRequest,
    Action,
    Decision,
    Explanation,
    ReportFacts,
    Tags,
)
from vault_service.domain.catalog import Catalog, DataClass
from vault_service.domain.errors import Code, FieldError, VaultError
from vault_service.domain.ports import Clock, PolicyEngine
from vault_service.domain.principals import Principal

_NO_TAGS: Final[frozenset[str]] = frozenset()


def _unobserved(action: str, allowed: bool) -> None:
    """Nobody counts."""


class Authorizer:
    """Asks the policy engine on behalf of a principal, at the clock's present."""

    def __init__(
        self,
        engine: PolicyEngine,
        catalog: Catalog,
        clock: Clock,
        observe: Callable[[str, bool], None] = _unobserved,
    ) -> None:
        """``observe`` is told the action and the outcome of every decision."""
        self._engine = engine
        self._catalog = catalog
        self._clock = clock
        self._observe = observe

    @property
    def bundle_hash(self) -> str:
        """SHA-256 (hex) of the policies that decide, for the audit event."""
        return self._engine.bundle_hash

    def check_purpose(self, purpose: str | None) -> str:
        """The purpose, if it is one of the catalog's closed list.

        ``purpose_required`` where there is none, ``invalid_request`` naming the field
        ``purpose`` for any other text.
        """
        if purpose is None:
            raise VaultError(
                Code.PURPOSE_REQUIRED,
                "Every reveal names its purpose; GET /v1/catalog lists them.",
            )
        if purpose not in self._catalog.purposes:
            raise VaultError(
                Code.INVALID_REQUEST,
                "The request breaks a rule; see errors.",
                errors=(
                    FieldError(
                        "purpose",
                        "unknown_purpose",
                        "Use a purpose that GET /v1/catalog lists.",
                    ),
                ),
            )
        return purpose

    def request(
        self,
        principal: Principal,
        action: Action,
        *,
        data_class: DataClass | None = None,
        tags: Tags = (),
        purpose: str | None = None,
        form: str | None = None,
        item_count: int = 1,
        budget_left: int | None = None,
        report: ReportFacts | None = None,
    ) -> AccessRequest:
        """The question as the policies get it. ``data_class``, the stored token's
        ``tags`` and ``form`` are those of the group of items it is about, ``item_count``
        and ``budget_left`` (tokens) those of the whole request."""
        return AccessRequest(
            principal=principal,
            action=action,
            data_class=None if data_class is None else data_class.name,
            class_tags=_NO_TAGS if data_class is None else data_class.tags,
            token_tags=tags,
            purpose=purpose,
            form=form,
            item_count=item_count,
            budget_left=budget_left,
            at=self._clock().replace(microsecond=0),
            report=report,
        )

    def ask(self, request: AccessRequest) -> Decision:
        """The decision on a question made by :meth:`request`."""
        decision = self._engine.decide(request)
        self._observe(request.action, decision.allowed)
        return decision

    def decide(
        self,
        principal: Principal,
        action: Action,
        *,
        data_class: DataClass | None = None,
        tags: Tags = (),
        purpose: str | None = None,
        form: str | None = None,
        item_count: int = 1,
        budget_left: int | None = None,
    ) -> Decision:
        """The decision for one group of items; see :meth:`request` for the arguments."""
        # Built here rather than by `request`: this is the hot path.
        return self.ask(
            AccessRequest(
                principal,
                action,
                None if data_class is None else data_class.name,
                _NO_TAGS if data_class is None else data_class.tags,
                tags,
                purpose,
                form,
                item_count,
                budget_left,
                self._clock().replace(microsecond=0),
            )
        )

    def explain(self, request: AccessRequest) -> Explanation:
        """The decision on a question made by :meth:`request`, and why it is so."""
        explanation = self._engine.explain(request)
        self._observe(request.action, explanation.decision.allowed)
        return explanation

    def refusal(self, request: AccessRequest) -> VaultError:
        """The error to answer a denied request with: ``budget_exceeded`` where the
        policies would allow it but for the budget, else ``access_denied``.

        The detail never says which policy denied: that is for the audit event.
        """
        unbudgeted = replace(request, budget_left=None)
        if request.budget_left is not None and self._engine.decide(unbudgeted).allowed:
            return VaultError(
                Code.BUDGET_EXCEEDED,
                "The reveal budget for this purpose does not cover the request.",
            )
        return VaultError(Code.ACCESS_DENIED, "The policies do not allow this request.")

    def require(
        self,
        principal: Principal,
        action: Action,
        *,
        data_class: DataClass | None = None,
        tags: Tags = (),
        purpose: str | None = None,
        form: str | None = None,
        item_count: int = 1,
        budget_left: int | None = None,
    ) -> Decision:
        """Like :meth:`decide`, but a denial raises what :meth:`refusal` says."""
        request = self.request(
            principal,
            action,
            data_class=data_class,
            tags=tags,
            purpose=purpose,
            form=form,
            item_count=item_count,
            budget_left=budget_left,
        )
        decision = self.ask(request)
        if not decision.allowed:
            raise self.refusal(request)
        return decision
