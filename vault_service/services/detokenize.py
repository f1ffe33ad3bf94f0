"""Detokenize: tokens in, values in the form that policy allows out.

Fetch, ask the policies once a group, decrypt in memory, then draw on the budget and
record in one transaction; only then is anything answered (PCI-DSS 7.2, 10.2.1.1).
"""

from collections.abc import Mapping, Sequence
from itertools import compress
from operator import attrgetter
from typing import Final

from vault_service.domain.access import Action, Tags
from vault_service.domain.catalog import Catalog
from vault_service.domain.errors import Code, IntegrityFailure, VaultError
from vault_service.domain.masking import reveal_form
from vault_service.domain.metadata import check_text, fit_to_ask
from vault_service.domain.ports import BudgetCharge, BudgetStore, TokenStore
from vault_service.domain.principals import PrincipalType
from vault_service.domain.tokens import TokenRecord
from vault_service.services.authorize import Authorizer
from vault_service.services.context import RequestContext
from vault_service.services.detokenize_groups import Group, event_groups, fail, shown
from vault_service.services.items import (
    BROKEN,
    INTEGRITY,
    DetokenizeCommand,
    DetokenizeItem,
    ItemError,
    Revealed,
    RevealedItem,
    check_count,
)
from vault_service.services.keys import Keyring
from vault_service.services.recording import Recorder
from vault_service.services.report_fence import JobFence

_KEY_ID: Final = attrgetter("key_id")
_CIPHERTEXT: Final = attrgetter("ciphertext")
_TOKEN: Final = attrgetter("token")
_NOT_FOUND = ItemError(Code.NOT_FOUND, "There is no such token.", False)
_EXPIRED = ItemError(Code.EXPIRED, "The token has expired.", False)


class Detokenize:
    """The use case. One instance serves all requests of a process."""

    def __init__(
        self,
        catalog: Catalog,
        authorizer: Authorizer,
        keyring: Keyring,
        store: TokenStore,
        budgets: BudgetStore,
        recorder: Recorder,
        fence: JobFence,
    ) -> None:
        self._fence = fence
        self._catalog = catalog
        self._authorizer = authorizer
        self._keyring = keyring
        self._store = store
        self._budgets = budgets
        self._recorder = recorder

    async def __call__(self, context: RequestContext, command: DetokenizeCommand) -> Revealed:
        """Reveal the items, in order.

        Item errors are in the answer; a failure of the whole request raises
        :class:`VaultError` and reveals nothing.
        """
        check_count(len(command.items))
        purpose = self._authorizer.check_purpose(command.purpose)
        if command.case is not None:
            check_text(command.case, "case")
        principal = context.principal
        tenant = principal.tenant
        opened = None
        if principal.type is PrincipalType.JOB:
            opened = await self._fence.enter(context, Action.DETOKENIZE)
            await opened.check_purpose(purpose)
        budgets = principal.budgets_for(purpose)
        tokens = {item.token for item in command.items}
        # A card number in a token's place is refused below; the database's log, which may
        # hold parameters, must not get it before.
        wanted = fit_to_ask(tokens)
        records = await self._store.fetch(tenant, wanted) if wanted else {}
        left = None
        if budgets:
            left = await self._budgets.left(tenant, principal.name, purpose, budgets, context.at)
        results, groups = self._sort(context, command.items, records)
        if opened is not None:
            await opened.check_readings((group.data_class.name, group.form) for group in groups)
        count = len({record.token for group in groups for record in group.records})
        for group in groups:
            self._decide(context, group, purpose, count, left)
        for group in groups:
            if group.denied is None:
                await self._decrypt(tenant, group)
        if opened is not None:
            await opened.count([record.token for record in shown(groups)])
        charge = self._charge(context, purpose, groups) if budgets else None
        event = self._recorder.event(
            context,
            Action.DETOKENIZE,
            event_groups(groups, results, left),
            item_count=len(command.items),
            purpose=purpose,
            case=command.case,
        )
        try:
            await self._store.append(event, charge)
        except VaultError as error:
            if charge is None or error.code is not Code.BUDGET_EXCEEDED:
                raise
            # Others drew on the budget since it was read: the refusal is an event with
            # its tokens like any other (PCI-DSS 10.2.1.4).
            over = ItemError.of(error)
            for result in results:
                if result.error is None:
                    fail(result, over)
            event = self._recorder.other_end(event, event_groups(groups, results, left))
            await self._store.append(event)
            error.event_id = event.id
            raise
        return Revealed(results, event.id)

    def _charge(
        self, context: RequestContext, purpose: str, groups: Sequence[Group]
    ) -> BudgetCharge | None:
        revealed = shown(groups)
        if not revealed:
            return None
        principal = context.principal
        return BudgetCharge(
            principal.tenant,
            principal.name,
            purpose,
            principal.budgets_for(purpose),
            len({record.token for record in revealed}),
            frozenset(r.subject for r in revealed if r.subject is not None),
            context.at,
        )

    def _sort(
        self,
        context: RequestContext,
        items: Sequence[DetokenizeItem],
        records: Mapping[str, TokenRecord],
    ) -> tuple[list[RevealedItem], list[Group]]:
        results: list[RevealedItem] = []
        groups: dict[tuple[str, Tags, str], Group] = {}
        for index, item in enumerate(items):
            result = RevealedItem(index, "ok")
            results.append(result)
            try:
                if item.reference is not None:
                    check_text(item.reference, "reference")
                    result.reference = item.reference
                record = records.get(item.token)
                if record is None:
                    fail(result, _NOT_FOUND)
                    check_text(item.token, "token")
                    continue
                if record.expires_at is not None and record.expires_at <= context.at:
                    fail(result, _EXPIRED)
                    continue
                data_class, form = record.data_class, item.form
                group = groups.get((data_class, record.tags, form))
                if group is None:
                    group = self._group(record, form)
                    groups[data_class, record.tags, form] = group
            except VaultError as error:
                fail(result, ItemError.of(error))
                continue
            result.data_class = data_class
            result.form = form
            group.results.append(result)
            group.records.append(record)
        return results, list(groups.values())

    def _group(self, record: TokenRecord, form: str) -> Group:
        data_class = self._catalog.data_class(record.data_class)
        return Group(data_class, record.tags, form, reveal_form(data_class, form))

    def _decide(
        self,
        context: RequestContext,
        group: Group,
        purpose: str,
        item_count: int,
        left: int | None,
    ) -> None:
        request = self._authorizer.request(
            context.principal,
            Action.DETOKENIZE,
            data_class=group.data_class,
            tags=group.tags,
            purpose=purpose,
            form=group.form,
            item_count=item_count,
            budget_left=left,
        )
        decision = self._authorizer.ask(request)
        group.policies = decision.policies
        if not decision.allowed:
            group.denied = ItemError.of(self._authorizer.refusal(request))
            for result in group.results:
                fail(result, group.denied)

    async def _decrypt(self, tenant: str, group: Group) -> None:
        key_ids = dict.fromkeys(map(_KEY_ID, group.records))
        for key_id in key_ids:
            results, records = group.results, group.records
            # Most batches were encrypted under one key, all under a few.
            if len(key_ids) > 1:
                own = [record.key_id == key_id for record in group.records]
                results = list(compress(results, own))
                records = list(compress(records, own))
            try:
                cipher = await self._keyring.decrypting(tenant, group.data_class, key_id)
            except VaultError as error:
                failure = ItemError.of(error)
                if isinstance(error, IntegrityFailure):
                    failure = ItemError(error.code, error.detail, error.retryable, INTEGRITY)
                for result in results:
                    fail(result, failure)
                continue
            # All tokens of a group have the same tags.
            values = cipher.decrypt_all(
                list(map(_CIPHERTEXT, records)), list(map(_TOKEN, records)), group.tags
            )
            show = group.show
            for result, value in zip(results, values, strict=True):
                if value is None:
                    fail(result, BROKEN)
                else:
                    result.value = show(value)
