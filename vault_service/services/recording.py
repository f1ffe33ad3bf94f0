"""Makes audit events: what each must hold is decided here, once (PCI-DSS 10.2.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import structlog

from vault_service.domain.access import Action
from vault_service.domain.errors import Code, IntegrityFailure, VaultError
from vault_service.domain.events import AuditEvent, EventGroup, new_event_id
from vault_service.domain.ports import Clock, PolicyEngine
from vault_service.domain.principals import PrincipalType
from vault_service.services.context import RequestContext
from vault_service.services.items import INTEGRITY

SYSTEM = "system"
NO_TENANT = "-"
HONEYTOKEN: Final = "honeytoken"
"""The tag of tokens that nobody has a reason to ask for: whoever does has them from where
they were planted. Tags are bound to the record, so that none can be disarmed."""
_log = structlog.get_logger("strongroom.recording")

_DENIALS = frozenset(
    {
        Code.ACCESS_DENIED,
        Code.BUDGET_EXCEEDED,
        Code.PURPOSE_REQUIRED,
        Code.UNAUTHENTICATED,
    }
)


def outcome_of(code: Code) -> str:
    """The outcome an error code is recorded under: ``denied`` or ``failed``."""
    return "denied" if code in _DENIALS else "failed"


class Recorder:
    """Builds events; every event names the policy bundle in force."""

    def __init__(self, engine: PolicyEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def event(
        self,
        context: RequestContext,
        action: Action | str,
        groups: Sequence[EventGroup] = (),
        *,
        item_count: int = 0,
        purpose: str | None = None,
        case: str | None = None,
        code: Code | None = None,
        detail: Mapping[str, Any] | None = None,
        event_id: str | None = None,
    ) -> AuditEvent:
        """The event of one request of an authenticated principal."""
        principal = context.principal
        inputs: dict[str, Any] = {"type": principal.type.value}
        if principal.tags:
            inputs["tags"] = dict(principal.tags)
        identity = event_id or new_event_id()
        if action != Action.TOKENIZE and principal.type is not PrincipalType.JOB:
            _tell_of_honeytokens(groups, str(action), principal.name, identity)
        if context.run is not None:
            detail = {"run": context.run, **(detail or {})}
        return AuditEvent(
            id=identity,
            occurred_at=context.at,
            tenant=principal.tenant,
            principal=principal.name,
            action=str(action),
            outcome=_outcome(groups, code),
            request_id=context.request_id,
            policy_hash=self._engine.bundle_hash,
            purpose=purpose,
            case=case,
            code=code,
            groups=tuple(groups),
            item_count=item_count,
            inputs=inputs,
            detail=detail or {},
        )

    @staticmethod
    def other_end(event: AuditEvent, groups: Sequence[EventGroup]) -> AuditEvent:
        """``event``, which could not be recorded, with what came of the items in the end."""
        return replace(event, outcome=_outcome(groups, None), groups=tuple(groups))

    def refusal(
        self,
        context: RequestContext,
        action: Action | str,
        error: VaultError,
        item_count: int = 0,
    ) -> AuditEvent:
        """The event of a request that was refused as a whole."""
        event = self.event(context, action, code=error.code, item_count=item_count)
        return replace(event, outcome=INTEGRITY) if isinstance(error, IntegrityFailure) else event

    def system_event(
        self,
        action: str,
        *,
        principal: str | None = SYSTEM,
        tenant: str = NO_TENANT,
        request_id: str = "",
        code: Code | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> AuditEvent:
        """The event of something that no authenticated principal asked for: a key that
        was made, an operator's command, a failed authentication."""
        at: datetime = self._clock()
        return AuditEvent(
            id=new_event_id(),
            occurred_at=at,
            tenant=tenant,
            principal=principal,
            action=action,
            outcome="ok" if code is None else outcome_of(code),
            request_id=request_id,
            policy_hash=self._engine.bundle_hash,
            code=code,
            detail=detail or {},
        )

    def key_event(
        self,
        tenant: str,
        principal: str,
        action: str,
        data_class: str | None,
        detail: Mapping[str, Any],
    ) -> AuditEvent:
        """The event of a data key that was made or rotated (PCI-DSS 10.2.1.7)."""
        event = self.system_event(action, principal=principal, tenant=tenant, detail=detail)
        if data_class is None:
            return event
        return replace(event, groups=(EventGroup("ok", data_class),))


def _tell_of_honeytokens(
    groups: Sequence[EventGroup], action: str, principal: str, event_id: str
) -> None:
    """Call people, whether or not the request is allowed. Jobs are not told of: they read
    whole classes, and only what a run was approved for (PCI-DSS 11.5.1)."""
    touched = sum(
        group.count for group in groups if any(name == HONEYTOKEN for name, _ in group.tags)
    )
    if touched:
        _log.critical(
            "honeytoken_touched",
            action=action,
            principal=principal,
            event_id=event_id,
            tokens=touched,
        )


def _outcome(groups: Sequence[EventGroup], code: Code | None) -> str:
    if code is not None:
        return outcome_of(code)
    outcomes = {group.outcome for group in groups}
    if outcomes <= {"ok"}:
        return "ok"
    if "ok" in outcomes:
        return "partial"
    if INTEGRITY in outcomes:
        return INTEGRITY
    return "denied" if outcomes == {"denied"} else "failed"
