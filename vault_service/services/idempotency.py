"""``Idempotency-Key``: a repeat gets the first answer, for 24 hours.

Kept are tokens and error codes, never a masked or plain value: a repeat brings its
values along, so masks are made again from them. The request is remembered as an HMAC
under a key of the tenant, so that the table is no dictionary to try card numbers on.
"""

from collections.abc import Sequence

import msgspec

from vault_service.domain.errors import Code
from vault_service.domain.ports import IdempotencyClaim, IdempotencyStore
from vault_service.services.context import RequestContext
from vault_service.services.items import ItemError, TokenizedItem
from vault_service.services.keys import Keyring


class KeptItem(msgspec.Struct, array_like=True):
    """One item of a kept answer."""

    token: str | None
    stored_tags: dict[str, str] | None = None
    code: str | None = None
    detail: str = ""
    retryable: bool = False
    rule: str | None = None

    def apply(self, result: TokenizedItem) -> None:
        """Make ``result`` say what was said the first time."""
        result.token = self.token
        result.stored_tags = self.stored_tags
        if self.code is not None:
            result.status = "error"
            result.error = ItemError(Code(self.code), self.detail, self.retryable, self.rule)


class KeptAnswer(msgspec.Struct, array_like=True):
    """The first answer to a key."""

    event_id: str
    items: list[KeptItem]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(KeptAnswer).decode


class Idempotency:
    """Claims keys and keeps answers."""

    def __init__(self, store: IdempotencyStore, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def claim(
        self, context: RequestContext, key: str, body: bytes
    ) -> tuple[IdempotencyClaim, KeptAnswer | None]:
        """Take ``key`` for this request, or find the answer it had.

        Raises ``idempotency_conflict`` where the first request still runs or had
        another body.
        """
        tenant = context.principal.tenant
        digest_key = await self._keyring.idempotency_key(tenant)
        claim = IdempotencyClaim(tenant, context.principal.name, key, digest_key.digest(body))
        kept = await self._store.claim(claim, context.at)
        return claim, None if kept is None else _decode(kept)

    async def release(self, claim: IdempotencyClaim) -> None:
        """Give the key back, so that a repeat may try again."""
        await self._store.release(claim)

    @staticmethod
    def answer(results: Sequence[TokenizedItem], event_id: str) -> bytes:
        """What to keep of an answer."""
        return _encode(
            KeptAnswer(
                event_id,
                [
                    KeptItem(result.token, result.stored_tags)
                    if result.error is None
                    else KeptItem(
                        None,
                        None,
                        result.error.code,
                        result.error.detail,
                        result.error.retryable,
                        result.error.rule,
                    )
                    for result in results
                ],
            )
        )
