"""Tokenize: values in, tokens out.

Validate and normalize, ask the policies, compute blind indexes, encrypt candidates;
then find or insert, record and commit in one transaction. No token leaves before its
event is durable. PCI-DSS 3.5.1, 10.2.1.1.
"""

import os
from collections.abc import Callable, Sequence
from typing import Final

from vault_service.domain.access import Action
from vault_service.domain.catalog import Catalog
from vault_service.domain.ciphertext import NONCE_LENGTH
from vault_service.domain.errors import Code, IntegrityFailure, VaultError
from vault_service.domain.events import new_event_id
from vault_service.domain.ports import Conclusion, IdempotencyClaim, TokenStore
from vault_service.domain.tokens import StoredBatch, TokenBatch, TokenTaken, new_tokens
from vault_service.services.authorize import Authorizer
from vault_service.services.context import RequestContext
from vault_service.services.found_records import holds
from vault_service.services.idempotency import Idempotency, KeptAnswer
from vault_service.services.items import (
    BROKEN,
    ROLLED_BACK,
    ItemError,
    TokenizeCommand,
    Tokenized,
    TokenizedItem,
    check_count,
)
from vault_service.services.keys import Keyring
from vault_service.services.recording import Recorder
from vault_service.services.tokenize_groups import Group, Sorter, event_groups, fail

_DRAWS: Final = 5


class Tokenize:
    """The use case. One instance serves all requests of a process."""

    def __init__(
        self,
        catalog: Catalog,
        authorizer: Authorizer,
        keyring: Keyring,
        store: TokenStore,
        recorder: Recorder,
        idempotency: Idempotency,
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._sorter = Sorter(catalog)
        self._authorizer = authorizer
        self._keyring = keyring
        self._store = store
        self._recorder = recorder
        self._idempotency = idempotency
        self._randomness = randomness

    async def __call__(self, context: RequestContext, command: TokenizeCommand) -> Tokenized:
        """Tokenize the items, in order.

        Item errors are in the answer; a failure of the whole request raises
        :class:`VaultError` and stores nothing.
        """
        check_count(len(command.items))
        if command.idempotency_key is None:
            return await self._run(context, command, None)
        claim, answer = await self._idempotency.claim(
            context, command.idempotency_key, command.digest_source
        )
        if answer is not None:
            return await self._repeat(context, command, answer)
        try:
            tokenized = await self._run(context, command, claim)
        except BaseException:
            await self._idempotency.release(claim)
            raise
        if all(item.error is not None for item in tokenized.items):
            await self._idempotency.release(claim)
        return tokenized

    async def _run(
        self,
        context: RequestContext,
        command: TokenizeCommand,
        claim: IdempotencyClaim | None,
    ) -> Tokenized:
        results, groups = self._sorter(command.items)
        self._decide(context, groups, results)
        if command.atomic and any(result.error is not None for result in results):
            for result in results:
                if result.error is None:
                    fail(result, ROLLED_BACK)
            stored_groups: list[Group] = []
        else:
            stored_groups = [group for group in groups if group.denied is None]
        event_id = new_event_id()

        async def conclude(stored: Sequence[StoredBatch]) -> Conclusion:
            withheld: set[str] = set()
            for group, batch in zip(stored_groups, stored, strict=True):
                broken = await self._broken(context, group, batch) if batch.known else {}
                if broken and command.atomic:
                    raise IntegrityFailure(BROKEN.detail)
                withheld.update(batch.known[row].token for row in broken)
                group.settle(batch, results, broken)
            event = self._recorder.event(
                context,
                Action.TOKENIZE,
                event_groups(groups, results),
                item_count=len(results),
                event_id=event_id,
            )
            answer = None
            if claim is not None:
                answer = await self._idempotency.answer(claim, results, event_id)
            return Conclusion(event, claim, answer, frozenset(withheld))

        if not stored_groups:
            await self._store.append((await conclude([])).event)
            return Tokenized(results, event_id)
        for attempt in range(_DRAWS):
            batches = [await self._encrypt(context, group) for group in stored_groups]
            try:
                await self._store.store(context.principal.tenant, batches, conclude)
                break
            except TokenTaken:
                if attempt == _DRAWS - 1:
                    raise
        return Tokenized(results, event_id)

    async def _repeat(
        self, context: RequestContext, command: TokenizeCommand, answer: KeptAnswer
    ) -> Tokenized:
        """Give the first answer again to one who may still have it; recorded anew."""
        results, groups = self._sorter(command.items)
        self._decide(context, groups, results)
        for kept, result in zip(answer.items, results, strict=True):
            if result.error is None:
                kept.apply(result)
        for group in groups:
            if group.denied is None:
                group.mask(results)
        event = self._recorder.event(
            context,
            Action.TOKENIZE,
            event_groups(groups, results),
            item_count=len(results),
            detail={"repeat_of": answer.event_id},
        )
        await self._store.append(event)
        return Tokenized(results, answer.event_id)

    def _decide(
        self,
        context: RequestContext,
        groups: Sequence[Group],
        results: Sequence[TokenizedItem],
    ) -> None:
        for group in groups:
            decision = self._authorizer.decide(
                context.principal,
                Action.TOKENIZE,
                data_class=group.data_class,
                tags=group.tags,
                item_count=len(results),
            )
            group.policies = decision.policies
            if not decision.allowed:
                group.deny(ItemError.of(_denied()), results)

    async def _broken(
        self, context: RequestContext, group: Group, stored: StoredBatch
    ) -> dict[int, ItemError]:
        """The rows whose known record does not hold the value that it was found by."""
        tenant = context.principal.tenant
        broken: dict[int, ItemError] = {}
        for value, row in dict(zip(group.values, group.rows, strict=True)).items():
            record = stored.known.get(row)
            if record is not None and not await holds(
                self._keyring, tenant, group.data_class, record, value
            ):
                broken[row] = BROKEN
        return broken

    async def _encrypt(self, context: RequestContext, group: Group) -> TokenBatch:
        """The rows of a group: one a distinct value, ascending by blind index."""
        tenant = context.principal.tenant
        data_class = group.data_class
        index_key_id = None
        blind_indexes = None
        values = group.values
        if data_class.deterministic:
            index_key = await self._keyring.index_key(tenant, data_class)
            index_key_id = index_key.id
            digests = index_key.digests(group.values)
            by_index = dict(zip(digests, group.values, strict=True))
            blind_indexes = sorted(by_index)
            values = [by_index[index] for index in blind_indexes]
            row_of = {index: row for row, index in enumerate(blind_indexes)}
            group.rows = [row_of[index] for index in digests]
        else:
            group.rows = list(range(len(values)))
        cipher = await self._keyring.encrypting(tenant, data_class, len(values))
        tokens = new_tokens(data_class.name, data_class.token_format, values, self._randomness)
        nonces = self._randomness(NONCE_LENGTH * len(values))
        batch = TokenBatch(
            data_class.name,
            group.tags,
            cipher.key_id,
            tokens,
            cipher.encrypt_all(values, tokens, group.tags, nonces),
            index_key_id,
            blind_indexes,
        )
        group.place_subjects(batch)
        group.place_expiries(batch, context.at)
        return batch


def _denied() -> VaultError:
    return VaultError(
        Code.ACCESS_DENIED,
        "No policy lets this principal tokenize this data class with these tags;"
        " POST /v1/policy/explain says which policies decided.",
    )
