"""Receipts: an event's id becomes a proof that the event is in the signed log.

The proof stands alone (C2SP tlog-proof@v1): whoever has it and the log's public key can
tell, without asking anyone, that the event was recorded, and what it said. Its ``extra``
field holds the event's canonical bytes, whose hash is the leaf.
"""

import asyncio
import re
from typing import Any, Final

import msgspec

from vault_service.domain.access import Action
from vault_service.domain.archives import Month
from vault_service.domain.errors import Code, FieldError, VaultError
from vault_service.domain.events import time_of
from vault_service.domain.log_proofs import LogProof
from vault_service.domain.merkle import inclusion_proof
from vault_service.domain.ports import CheckpointSigner, TokenStore
from vault_service.domain.tiles import TileNodes, tiles_for_inclusion
from vault_service.domain.transparency import LoggedEvent, LogReader
from vault_service.services.authorize import Authorizer
from vault_service.services.context import RequestContext
from vault_service.services.recording import Recorder
from vault_service.services.signed import POLL_SECONDS, WAIT_SECONDS, signed_tree

VIEW: Final = "proof"
EVENT_ID: Final = re.compile(r"evt_[0-9a-hjkmnp-tv-z]{26}")


class _Owner(msgspec.Struct):
    """Whose event it is."""

    principal: str | None = None


_decode_owner: Final = msgspec.json.Decoder(_Owner).decode


class Proofs:
    """The use case. One instance serves all requests of a process."""

    def __init__(
        self,
        authorizer: Authorizer,
        reader: LogReader,
        store: TokenStore,
        recorder: Recorder,
        signer: CheckpointSigner,
    ) -> None:
        self._authorizer = authorizer
        self._reader = reader
        self._store = store
        self._recorder = recorder
        self._signer = signer

    async def key(self) -> str:
        """The key that checkpoints are verified with, as C2SP signed-note writes it;
        ``key_unavailable`` where it cannot be had now."""
        return (await self._signer.open()).encode()

    async def checkpoint(self) -> str:
        """The newest signed checkpoint; ``not_found`` while nothing was signed."""
        newest = await self._reader.newest_checkpoint()
        if newest is None:
            raise VaultError(Code.NOT_FOUND, "Nothing is sealed yet; ask again in a minute.")
        return newest.note

    async def proof(self, context: RequestContext, event_id: str) -> str:
        """The proof of one event of the caller's tenant, for who made it and for those who
        may read the log. An event is sealed within seconds; until then
        ``audit_unavailable``. That it was read is recorded (PCI-DSS 10.2.1.3)."""
        if EVENT_ID.fullmatch(event_id) is None:
            detail = "An event id is evt_ and 26 characters, as receipts have it."
            raise VaultError(
                Code.INVALID_REQUEST, detail, errors=(FieldError("id", "format", detail),)
            )
        found = await self._reader.event(context.principal.tenant, event_id)
        decision = self._authorizer.decide(context.principal, Action.READ_AUDIT)
        error = None
        if found is None or found.body is None:
            error = await unfound(self._reader, event_id)
        elif not decision.allowed and _owner(found.body) != context.principal.name:
            # As if it did not exist, so that ids of others' events cannot be tried out.
            error = VaultError(Code.NOT_FOUND, "There is no such event.")
        told: dict[str, Any] = {"policies": list(decision.policies), "view": VIEW}
        if error is None:
            # An id that is not one of ours may be anything, and stays out of the log.
            told["event"] = event_id
        event = self._recorder.event(
            context,
            Action.READ_AUDIT,
            code=None if error is None else error.code,
            item_count=0 if error is not None else 1,
            detail=told,
        )
        await self._store.append(event)
        if error is not None:
            error.event_id = event.id
            raise error
        assert found is not None
        return await receipt(self._reader, context.principal.tenant, event_id, found)


async def receipt(reader: LogReader, tenant: str, event_id: str, found: LoggedEvent) -> str:
    """The proof of the event that was ``found``, which is waited for a little where it is
    not sealed and signed yet; then ``audit_unavailable``."""
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    while found.leaf_index is None and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(POLL_SECONDS)
        found = await reader.event(tenant, event_id) or found
    leaf = found.leaf_index
    newest = None if leaf is None else await signed_tree(reader, leaf + 1)
    if leaf is None or newest is None or newest.size <= leaf:
        raise VaultError(
            Code.AUDIT_UNAVAILABLE,
            "The event is recorded but not sealed and signed yet; ask again.",
            retry_after=5,
        )
    tiles = await reader.tiles(tiles_for_inclusion(leaf, newest.size))
    hashes = inclusion_proof(leaf, newest.size, TileNodes(tiles).node)
    return LogProof(leaf, tuple(hashes), newest.note, found.body).encode()


async def unfound(reader: LogReader, event_id: str) -> VaultError:
    """What to say of an event that is not in the database. An id holds a time, so that it
    can be told where an event of that id would be, whether or not there ever was one."""
    month = Month.of(time_of(event_id))
    if not await reader.is_archived(month):
        return VaultError(Code.NOT_FOUND, "There is no such event.")
    return VaultError(
        Code.NOT_FOUND,
        f"There is no such event at hand. Those of {month} are archived: ask for the bundle"
        f" audit-{month}.ndjson, which shows and proves them.",
    )


def _owner(body: bytes) -> str | None:
    return _decode_owner(body).principal
