"""Reading the access log; who reads it is recorded in it (PCI-DSS 10.2.1.3)."""

from collections.abc import Sequence

from vault_service.domain.access import Action
from vault_service.domain.errors import Code, FieldError, VaultError
from vault_service.domain.ports import AuditQuery, AuditReader, TokenStore
from vault_service.services.authorize import Authorizer
from vault_service.services.context import RequestContext
from vault_service.services.recording import Recorder

MAX_LIMIT = 1000


class ReadAudit:
    """The use case. One instance serves all requests of a process."""

    def __init__(
        self,
        authorizer: Authorizer,
        reader: AuditReader,
        store: TokenStore,
        recorder: Recorder,
    ) -> None:
        self._authorizer = authorizer
        self._reader = reader
        self._store = store
        self._recorder = recorder

    async def __call__(
        self, context: RequestContext, query: AuditQuery
    ) -> Sequence[tuple[int, bytes]]:
        """Positions and canonical bytes of matching events of the caller's tenant,
        newest first. Raises ``access_denied``, ``invalid_request`` for a limit over 1000.
        """
        if not 0 < query.limit <= MAX_LIMIT:
            detail = "Ask for 1 to 1000 events and page on with the cursor."
            raise VaultError(
                Code.INVALID_REQUEST,
                detail,
                errors=(FieldError("limit", "range", detail),),
            )
        decision = self._authorizer.decide(context.principal, Action.READ_AUDIT)
        code = None if decision.allowed else Code.ACCESS_DENIED
        found: Sequence[tuple[int, bytes]] = []
        if decision.allowed:
            found = await self._reader.events(query)
        event = self._recorder.event(
            context,
            Action.READ_AUDIT,
            code=code,
            item_count=len(found),
            detail={"policies": list(decision.policies)},
        )
        await self._store.append(event)
        if not decision.allowed:
            error = VaultError(Code.ACCESS_DENIED, "No policy lets this principal read the log.")
            error.event_id = event.id
            raise error
        return found
