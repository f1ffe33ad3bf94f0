"""Lookup: the token of a value, if it is stored. An action of its own, since it is an
oracle for who can guess values; every question is recorded."""

from vault_service.domain.access import Action
from vault_service.domain.catalog import Catalog
from vault_service.domain.errors import Code, FieldError, IntegrityFailure, VaultError
from vault_service.domain.events import EventGroup
from vault_service.domain.ports import TokenStore
from vault_service.domain.principals import PrincipalType
from vault_service.domain.sensitive import Sensitive
from vault_service.domain.validation import normalizer
from vault_service.services.authorize import Authorizer
from vault_service.services.context import RequestContext
from vault_service.services.found_records import holds
from vault_service.services.items import BROKEN, INTEGRITY
from vault_service.services.keys import Keyring
from vault_service.services.recording import Recorder, outcome_of
from vault_service.services.report_fence import JobFence


class Lookup:
    """The use case. One instance serves all requests of a process."""

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
        self._normalizers = {
            name: normalizer(c.validation) for name, c in catalog.data_classes.items()
        }

    async def __call__(
        self, context: RequestContext, name: str, value: Sensitive
    ) -> tuple[str | None, str]:
        """The value's token, or ``None``; and the id of the event.

        Raises ``unknown_data_class``, ``invalid_value``, ``invalid_request`` for a class
        that is not deterministic, ``access_denied``, and :class:`IntegrityFailure` where
        the record that the value leads to is not its own.
        """
        data_class = self._catalog.data_class(name)
        if context.principal.type is PrincipalType.JOB:
            opened = await self._fence.enter(context, Action.LOOKUP)
            await opened.check_class(name)
        decision = self._authorizer.decide(context.principal, Action.LOOKUP, data_class=data_class)
        if not decision.allowed:
            denial = VaultError(
                Code.ACCESS_DENIED,
                "No policy lets this principal look up this data class.",
            )
            group = EventGroup(
                outcome_of(denial.code),
                name,
                code=denial.code,
                policies=decision.policies,
                count=1,
            )
            event = self._recorder.event(context, Action.LOOKUP, [group], item_count=1)
            await self._store.append(event)
            denial.event_id = event.id
            raise denial
        if not data_class.deterministic:
            detail = "Values of this class have no one token: it is not deterministic."
            raise VaultError(
                Code.INVALID_REQUEST,
                detail,
                errors=(FieldError("data_class", "deterministic", detail),),
            )
        normalized = self._normalizers[name](value.reveal())
        index_key = await self._keyring.index_key(context.principal.tenant, data_class)
        blind_index = index_key.digest(normalized)
        tenant = context.principal.tenant
        found = await self._store.find(tenant, [blind_index])
        record = found.get(blind_index)
        if record is not None and not await holds(
            self._keyring, tenant, data_class, record, normalized
        ):
            raise await self._broken(context, name, decision.policies, record.token)
        if record is not None and record.expires_at is not None:
            record = record if record.expires_at > context.at else None
        token = None if record is None else record.token
        event = self._recorder.event(
            context,
            Action.LOOKUP,
            [
                EventGroup(
                    "ok",
                    name,
                    policies=decision.policies,
                    tokens=() if token is None else (token,),
                    count=1,
                )
            ],
            item_count=1,
        )
        await self._store.append(event)
        return token, event.id

    async def _broken(
        self, context: RequestContext, name: str, policies: tuple[str, ...], token: str
    ) -> IntegrityFailure:
        """The failure, recorded under the token that must not be given out."""
        failure = IntegrityFailure(BROKEN.detail)
        group = EventGroup(
            INTEGRITY,
            name,
            code=failure.code,
            policies=policies,
            tokens=(token,),
            count=1,
        )
        event = self._recorder.event(context, Action.LOOKUP, [group], item_count=1)
        await self._store.append(event)
        failure.event_id = event.id
        return failure
