"""Describe and delete single tokens. The value stays where it is, or goes for good."""

from vault_service.domain.access import Action
from vault_service.domain.catalog import Catalog, DataClass
from vault_service.domain.errors import Code, IntegrityFailure, VaultError
from vault_service.domain.events import EventGroup
from vault_service.domain.metadata import check_text
from vault_service.domain.ports import TokenStore
from vault_service.domain.principals import PrincipalType
from vault_service.domain.tokens import StoredToken, TokenRecord, well_formed
from vault_service.services.authorize import Authorizer
from vault_service.services.context import RequestContext
from vault_service.services.items import INTEGRITY
from vault_service.services.keys import Keyring
from vault_service.services.recording import Recorder, outcome_of
from vault_service.services.report_fence import JobFence


class Tokens:
    """The use cases. One instance serves all requests of a process."""

    def __init__(
        self,
        catalog: Catalog,
        authorizer: Authorizer,
        keyring: Keyring,
        store: TokenStore,
        recorder: Recorder,
        fence: JobFence,
    ) -> None:
        self._fence = fence
        self._catalog = catalog
        self._authorizer = authorizer
        self._keyring = keyring
        self._store = store
        self._recorder = recorder

    async def describe(self, context: RequestContext, token: str) -> tuple[StoredToken, DataClass]:
        """The token as it is stored, and its class. ``not_found`` for an unknown token and one of
        another tenant alike, ``access_denied`` where policy says so,
        :class:`IntegrityFailure` where the row was edited: its tags are bound to the
        ciphertext, so it is opened, and the value dropped at once."""
        stored, data_class, policies = await self._fetch(context, Action.DESCRIBE_TOKEN, token)
        record = stored.record
        try:
            tenant = context.principal.tenant
            cipher = await self._keyring.decrypting(tenant, data_class, record.key_id)
            cipher.decrypt(record.ciphertext, record.token, record.tags)
        except IntegrityFailure as failure:
            group = _group(INTEGRITY, record, policies, failure.code)
            event = self._recorder.event(context, Action.DESCRIBE_TOKEN, [group], item_count=1)
            await self._store.append(event)
            failure.event_id = event.id
            raise
        await self._store.append(
            self._recorder.event(
                context,
                Action.DESCRIBE_TOKEN,
                [_group("ok", record, policies)],
                item_count=1,
            )
        )
        return stored, data_class

    async def delete(self, context: RequestContext, token: str) -> None:
        """Delete the token and its value for good. Errors as :meth:`describe`."""
        stored, _, policies = await self._fetch(context, Action.DELETE_TOKEN, token)
        event = self._recorder.event(
            context,
            Action.DELETE_TOKEN,
            [_group("ok", stored.record, policies)],
            item_count=1,
        )
        await self._store.delete(context.principal.tenant, token, event)

    async def _fetch(
        self, context: RequestContext, action: Action, token: str
    ) -> tuple[StoredToken, DataClass, tuple[str, ...]]:
        opened = None
        if context.principal.type is PrincipalType.JOB:
            opened = await self._fence.enter(context, action)
        if not well_formed(token):
            check_text(token, "token")
            stored = None
        else:
            stored = await self._store.describe(context.principal.tenant, token)
        if stored is None:
            error = VaultError(Code.NOT_FOUND, "There is no such token.")
            group = EventGroup(outcome_of(error.code), code=error.code, count=1)
        else:
            record = stored.record
            if opened is not None:
                await opened.check_class(record.data_class)
            data_class = self._catalog.data_class(record.data_class)
            decision = self._authorizer.decide(
                context.principal, action, data_class=data_class, tags=record.tags
            )
            if decision.allowed:
                if opened is not None:
                    await opened.count([token])
                return stored, data_class, decision.policies
            error = VaultError(Code.ACCESS_DENIED, "The policies do not allow this request.")
            group = _group(outcome_of(error.code), record, decision.policies, error.code)
        event = self._recorder.event(context, action, [group], item_count=1)
        await self._store.append(event)
        error.event_id = event.id
        raise error


def _group(
    outcome: str,
    record: TokenRecord,
    policies: tuple[str, ...],
    code: Code | None = None,
) -> EventGroup:
    return EventGroup(
        outcome=outcome,
        data_class=record.data_class,
        tags=record.tags,
        code=code,
        policies=policies,
        tokens=(record.token,),
        subjects=() if record.subject is None else (record.subject,),
        count=1,
    )
