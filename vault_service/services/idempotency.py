"""``Idempotency-Key``: a repeat gets the first answer, for 24 hours.

Kept are tokens and error codes, never a masked or plain value: a repeat brings its
values along, so masks are made again from them. The request is remembered as an HMAC
under a key of the tenant, so that the table is no dictionary to try card numbers on.
The kept answer is authenticated under the same key: an edited or moved one would hand
out another value's token.
"""

import hmac
from collections.abc import Sequence
from typing import Final

import msgspec

from vault_service.domain.ciphertext import length_prefixed
from vault_service.domain.errors import Code, IntegrityFailure
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


# No request body begins like this: it is neither JSON nor an Arrow stream.
_LABEL: Final = b"\0strongroom-answer-v1"
_MAC_LENGTH: Final = 32
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
        another body, and :class:`IntegrityFailure` where the answer is not the one that
        was kept for this request.
        """
        tenant = context.principal.tenant
        digest_key = await self._keyring.idempotency_key(tenant)
        claim = IdempotencyClaim(tenant, context.principal.name, key, digest_key.digest(body))
        kept = await self._store.claim(claim, context.at)
        if kept is None:
            return claim, None
        mac, answer = kept[:_MAC_LENGTH], kept[_MAC_LENGTH:]
        if not hmac.compare_digest(mac, digest_key.digest(_bound(claim, answer))):
            raise IntegrityFailure("The answer kept for this Idempotency-Key is not intact.")
        return claim, _decode(answer)

    async def release(self, claim: IdempotencyClaim) -> None:
        """Give the key back, so that a repeat may try again."""
        await self._store.release(claim)

    async def answer(
        self, claim: IdempotencyClaim, results: Sequence[TokenizedItem], event_id: str
    ) -> bytes:
        """What to keep of an answer: a 32-byte HMAC, then the answer as MessagePack."""
        answer = _encode(
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
        key = await self._keyring.idempotency_key(claim.tenant)
        return key.digest(_bound(claim, answer)) + answer


def _bound(claim: IdempotencyClaim, answer: bytes) -> bytes:
    """What the HMAC is over: the answer, and the request that it belongs to."""
    return _LABEL + length_prefixed(
        claim.principal.encode(), claim.key.encode(), claim.request_digest, answer
    )
